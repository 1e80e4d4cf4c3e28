// The proxies that are measured, and how each is told to forward to the upstream with the same headers added.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { find, ROOT } from './programs.ts'

/** What a contender is started with. */
export interface Setting {
  readonly port: number
  /** Origin of the API. */
  readonly api: string
  readonly login: string
  /** The certificate that the API's TLS address shows. */
  readonly caFile: string
  /** A folder of its own. */
  readonly folder: string
}

export interface Launch {
  readonly command: readonly string[]
  readonly env?: Record<string, string>
}

export interface Contender {
  readonly title: string
  /** False where it is not installed. */
  readonly isHere: boolean
  launch(setting: Setting): Launch
}

/** Settings of procore-proxy, laid over those that name the addresses. */
export type Settings = Record<string, unknown>

const KEY = 'bench-client-key-0123456789abcdef'

/** Sent by every caller, so that every contender parses the same request. */
export const CALLER_HEADERS: Record<string, string> = {
  Accept: 'application/json',
  'User-Agent': 'procore-proxy-bench',
  'Procore-Company-Id': '7656',
  'Procore-Proxy-Request': 'true',
  'Procore-Proxy-Key': KEY,
}

/** Added by the other proxies: as many bytes as procore-proxy adds, but always the same ones. */
const ADDED_HEADERS: Record<string, string> = {
  authorization: `Bearer ${'bench'.repeat(60)}`,
  'procore-company-id': '7656',
}

const serviceAccount = { clientId: 'bench-client', clientSecret: 'bench-client-secret' }
const rules = [{ deny: '/rest/**/users' }, { allow: '/rest/**' }]

/** Switches on every feature that has a cost for each request. */
export const ALL_ON: Settings = {
  companies: {
    acme: { id: '7656', serviceAccount, rules },
    globex: { id: '7657', serviceAccount, access: 'read-only' },
  },
  guard: { requireHeader: true, clientKeys: [KEY] },
  upstream: { compression: 'auto' },
  rateLimit: { whenExhausted: 'wait' },
  log: { level: 'info', format: 'json' },
  inspector: { enabled: true },
}

/** Writes a configuration, and returns the command that runs the built program with it. */
export function launchProgram(
  { port, api, login, caFile, folder }: Setting,
  settings: Settings = ALL_ON,
): Launch {
  const file = join(folder, 'procore-proxy.yaml')
  const environments = { bench: { apiUrl: api, loginUrl: login } }
  const addresses = { listen: `127.0.0.1:${port}`, environment: 'bench', environments, network: { caFile } }
  writeFileSync(file, JSON.stringify({ ...addresses, ...settings }), { mode: 0o600 })
  return { command: [process.execPath, join(ROOT, 'dist/bin/procore-proxy.cjs'), 'start', '-c', file] }
}

function bare(kind: string): Contender {
  const script = join(import.meta.dirname, 'bare.mjs')
  const launch = ({ port, api, caFile }: Setting): Launch => ({
    command: [process.execPath, script, kind],
    env: {
      BENCH: JSON.stringify({ port, upstream: api, headers: ADDED_HEADERS }),
      NODE_EXTRA_CA_CERTS: caFile,
    },
  })
  return { title: kind, isHere: true, launch }
}

function launchCaddy({ port, api, caFile, folder }: Setting): Launch {
  const headers = Object.entries(ADDED_HEADERS).map(([name, value]) => `header_up ${name} "${value}"`)
  const tls = api.startsWith('https:') ? `transport http {\ntls_trusted_ca_certs ${caFile}\n}` : ''
  const file = join(folder, 'Caddyfile')
  writeFileSync(
    file,
    `{\nadmin off\nauto_https off\n}\nhttp://127.0.0.1:${port} {\nbind 127.0.0.1\nreverse_proxy ${api} {
header_up Host {upstream_hostport}\n${headers.join('\n')}\n${tls}\n}\n}\n`,
  )
  return {
    command: [find('caddy')!, 'run', '--adapter', 'caddyfile', '--config', file],
    env: { HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
  }
}

/** nginx with its default `proxy_pass`: a connection to the API for each request. */
function launchNginx({ port, api, folder }: Setting): Launch {
  const headers = Object.entries(ADDED_HEADERS).map(([name, value]) => `proxy_set_header ${name} "${value}";`)
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const temporary = folders.map((kind) => `${kind}_temp_path ${folder}/${kind};`)
  const file = join(folder, 'nginx.conf')
  writeFileSync(
    file,
    `daemon off; pid ${folder}/pid; error_log stderr error; worker_processes 1; events { worker_connections 8192; }
http { access_log off; ${temporary.join(' ')} server { listen 127.0.0.1:${port}; client_max_body_size 0;
location / { proxy_pass ${api}; ${headers.join(' ')} } } }`,
  )
  return { command: [find('nginx')!, '-c', file, '-p', folder] }
}

/** All that is compared; `procore-proxy` comes first, and {@link BASE} is what the others are held against. */
export const CONTENDERS: readonly Contender[] = [
  { title: 'procore-proxy', isHere: true, launch: (setting) => launchProgram(setting) },
  bare('fastify-http-proxy'),
  bare('http-proxy-middleware'),
  { title: 'Caddy', isHere: find('caddy') !== undefined, launch: launchCaddy },
  { title: 'nginx', isHere: find('nginx') !== undefined, launch: launchNginx },
]
