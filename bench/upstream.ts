// What stands behind every contender: nginx that answers 1 KB at once (plain and TLS), issues tokens and holds a large file; and a sink.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Child, freePort, start } from './children.ts'
import type { Cores } from './cores.ts'
import { find } from './machine.ts'
import { waitFor } from './requests.ts'

export interface Upstream {
  readonly plain: string
  readonly tls: string
  readonly login: string
  /** Reads bodies and throws them away. */
  readonly sink: string
  /** Of the CA that signed the certificate for TLS. */
  readonly caFile: string
  /** For configurations; gone at the end. */
  readonly folder: string
  /** Of GET /rest/v1.0/large. */
  readonly largeBytes: number
  /** From now on BYTES and this number is the path of such a body. */
  offer(bytes: number): void
  stop(): Promise<void>
}

/** Where the 1 KB lies; a company's path, so that what judges paths has something to judge. */
export const SMALL = '/rest/v1.0/projects/123456/rfis?page=2&per_page=20'
export const LARGE = '/rest/v1.0/large'
/** A body of so many bytes; see {@link Upstream.offer}. */
export const BYTES = '/rest/v1.0/bytes/'
export const UPLOAD = '/rest/v1.0/uploads'

/** 1 KB of JSON as a list of Procore's looks. */
function smallBody(): string {
  const items = []
  for (let id = 1; JSON.stringify(items).length < 900; id++) {
    items.push({ id, name: `Item ${id}`, status: 'open', updated_at: '2025-01-01T00:00:00Z' })
  }
  return JSON.stringify(items).padEnd(1024)
}

export async function startUpstream(cores: Cores, largeBytes: number): Promise<Upstream> {
  const nginx = find('nginx')
  if (nginx === undefined) throw new Error('nginx is the upstream and is not here: apt-get install nginx')
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'procore-proxy-bench-'))
  // Started by root, nginx works as nobody.
  chmodSync(folder, 0o755)
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  makeCertificates(folder)
  mkdirSync(join(folder, 'rest', 'v1.0', 'bytes'), { recursive: true })
  makeSparse(join(folder, LARGE), largeBytes)
  const [plain, tls, login, sink] = [await freePort(), await freePort(), await freePort(), await freePort()]
  const token = JSON.stringify({
    access_token: 'bench'.repeat(60),
    token_type: 'Bearer',
    expires_in: 5400,
    created_at: 1_700_000_000,
  })
  const api = `
      root ${folder};
      default_type application/json;
      add_header X-Rate-Limit-Limit 1000000000;
      add_header X-Rate-Limit-Remaining 999999999;
      add_header X-Rate-Limit-Reset 4000000000;
      location /rest/ { return 200 '${smallBody()}'; }
      location = ${LARGE} { default_type application/octet-stream; }
      location ${BYTES} { default_type application/octet-stream; }
      location = ${UPLOAD} {
        proxy_pass http://127.0.0.1:${sink};
        proxy_http_version 1.1;
        proxy_request_buffering off;
        client_max_body_size 0;
      }`
  writeFileSync(
    join(folder, 'upstream.conf'),
    `${nginxHead(folder, 'upstream')}
    http {
      ${nginxHttp(folder)}
      keepalive_requests 1000000000;
      server { listen 127.0.0.1:${plain} backlog=4096; ${api} }
      server {
        listen 127.0.0.1:${tls} ssl backlog=4096;
        ssl_certificate ${folder}/server.crt;
        ssl_certificate_key ${folder}/server.key;
        ssl_session_cache shared:tls:10m;
        ${api}
      }
      server { listen 127.0.0.1:${login}; default_type application/json; location / { return 200 '${token}'; } }
    }`,
  )
  const children: Child[] = [
    start([nginx, '-c', join(folder, 'upstream.conf'), '-p', folder], { core: cores.upstream }),
    start([process.execPath, join(import.meta.dirname, 'load', 'sink.ts'), String(sink)], {
      core: cores.upstream,
    }),
  ]
  await waitFor(`http://127.0.0.1:${plain}${SMALL}`, children[0]!)
  await waitFor(`http://127.0.0.1:${sink}${SMALL}`, children[1]!)
  return {
    plain: `http://127.0.0.1:${plain}`,
    tls: `https://127.0.0.1:${tls}`,
    login: `http://127.0.0.1:${login}`,
    sink: `http://127.0.0.1:${sink}`,
    caFile: join(folder, 'ca.crt'),
    folder,
    largeBytes,
    offer: (bytes) => makeSparse(join(folder, BYTES, String(bytes)), bytes),
    stop: async () => {
      for (const child of children) await child.stop()
    },
  }
}

/** A file of zeros that takes no memory, however large. */
function makeSparse(path: string, bytes: number): void {
  const file = openSync(path, 'w')
  ftruncateSync(file, bytes)
  closeSync(file)
}

/** Whatever nginx would otherwise write elsewhere goes to the folder. */
export function nginxHead(folder: string, name: string): string {
  return `daemon off; pid ${folder}/${name}.pid; error_log stderr error; worker_processes 1; worker_rlimit_nofile 20000;
    events { worker_connections 8192; }`
}

export function nginxHttp(folder: string): string {
  return ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${folder}/temp-${kind};`)
    .concat('access_log off;', 'sendfile on;', 'tcp_nopush on;')
    .join('\n')
}

function makeCertificates(folder: string): void {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
    '-days',
    '2',
    '-subj',
    '/CN=bench CA',
  )
  openssl('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=localhost')
  writeFileSync(join(folder, 'names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
  const signed = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names']
  openssl('x509', '-req', '-in', 'server.csr', '-out', 'server.crt', ...signed)
}
