// Who is measured, and how each is told to forward to the upstream with the same headers put on.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { find, root } from './machine.ts'
import { nginxHead, nginxHttp } from './upstream.ts'

/** What a contender is started with. */
export interface Setting {
  readonly port: number
  /** Origin of the API. */
  readonly api: string
  readonly login: string
  readonly caFile: string
  /** Its own, for configuration and rubbish. */
  readonly folder: string
}

export interface Launch {
  readonly command: readonly string[]
  readonly env?: Record<string, string>
}

export interface Contender {
  readonly id: string
  readonly title: string
  /** Why it can't be measured here; undefined where it can. */
  missing(): string | undefined
  launch(setting: Setting): Launch
  /** Only its throughput is measured: it stands for one feature, or for nothing that forwards. */
  readonly throughputOnly?: true
  readonly plainOnly?: true
  /** It is compiled while it runs, and cheaper after some seconds of load. */
  readonly warmsUp?: true
}

const CLIENT_KEY = 'bench-client-key-0123456789abcdef'

/** What every caller sends, so that every contender parses the same; procore-proxy judges by it. */
export const CALLER_HEADERS: Record<string, string> = {
  Accept: 'application/json',
  'User-Agent': 'procore-proxy-bench',
  'Procore-Company-Id': '7656',
  'Procore-Proxy-Request': 'true',
  'Procore-Proxy-Key': CLIENT_KEY,
}

/** What the others put on: the shape of what procore-proxy puts on, but always the same. */
const STATIC_HEADERS: Record<string, string> = {
  authorization: `Bearer ${'bench'.repeat(60)}`,
  'procore-company-id': '7656',
}

/** Overrides of procore-proxy's settings; merged one level deep. */
export type Settings = Record<string, unknown>

const account = { clientId: 'bench-client', clientSecret: 'bench-secret' }
const rules = [{ deny: '/rest/**/users' }, { allow: '/rest/**' }]

/** Everything that can be switched on, is. */
export const ALL_ON: Settings = {
  companies: {
    acme: { id: '7656', serviceAccount: account, rules },
    globex: { id: '7657', serviceAccount: account, access: 'read-only' },
    initech: { id: '562949953443325', serviceAccount: account },
  },
  guard: { requireHeader: true, clientKeys: [CLIENT_KEY] },
  upstream: { compression: 'auto' },
  rateLimit: { whenExhausted: 'wait' },
  log: { level: 'info', format: 'json' },
  inspector: { enabled: true },
}

/** Everything that can be switched off, is; the metrics can't. */
export const ALL_OFF: Settings = {
  companies: { acme: { id: '7656', serviceAccount: account } },
  guard: {},
  upstream: { compression: 'off' },
  rateLimit: { whenExhausted: 'pass' },
  log: { level: 'silent' },
  inspector: { enabled: false },
}

/** Writes a configuration and gives the command that runs the built program with it. */
export function launchProcoreProxy(
  { port, api, login, caFile, folder }: Setting,
  settings: Settings,
): Launch {
  const config = {
    listen: `127.0.0.1:${port}`,
    environment: 'bench',
    environments: { bench: { apiUrl: api, loginUrl: login } },
    network: { caFile },
    ...settings,
  }
  const file = join(folder, 'procore-proxy.yaml')
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 })
  const main = join(root, 'dist', 'bin', 'procore-proxy.cjs')
  return { command: [process.execPath, main, 'start', '-c', file] }
}

function launchNode(script: string): (setting: Setting) => Launch {
  return ({ port, api, caFile }) => ({
    command: [process.execPath, join(import.meta.dirname, 'contenders', script)],
    env: {
      BENCH: JSON.stringify({ port, upstream: api, headers: STATIC_HEADERS }),
      NODE_EXTRA_CA_CERTS: caFile,
    },
  })
}

function debian(program: string): () => string | undefined {
  return () => (find(program) === undefined ? `not installed: apt-get install ${program}` : undefined)
}

function write(folder: string, name: string, text: string): string {
  const file = join(folder, name)
  writeFileSync(file, text)
  return file
}

const nginxHeaders = Object.entries(STATIC_HEADERS)
  .map(([name, value]) => `proxy_set_header ${name} "${value}";`)
  .join('\n')

function launchNginx(tuned: boolean): (setting: Setting) => Launch {
  return ({ port, api, caFile, folder }) => {
    const { protocol, host } = new URL(api)
    const text = tuned
      ? `${nginxHead(folder, 'nginx')}
        http {
          ${nginxHttp(folder)}
          keepalive_requests 1000000000;
          upstream api { server ${host}; keepalive 64; keepalive_requests 1000000000; }
          server {
            listen 127.0.0.1:${port};
            client_max_body_size 0;
            location / {
              proxy_pass ${protocol}//api;
              proxy_http_version 1.1;
              proxy_set_header Connection "";
              proxy_set_header Host ${host};
              ${nginxHeaders}
              proxy_request_buffering off;
              proxy_max_temp_file_size 0;
              proxy_ssl_name localhost;
              proxy_ssl_verify on;
              proxy_ssl_trusted_certificate ${caFile};
            }
          }
        }`
      : `${nginxHead(folder, 'nginx')}
        http {
          ${nginxHttp(folder)}
          server {
            listen 127.0.0.1:${port};
            client_max_body_size 0;
            location / { proxy_pass ${api}; ${nginxHeaders} }
          }
        }`
    return { command: [find('nginx')!, '-c', write(folder, 'nginx.conf', text), '-p', folder] }
  }
}

function launchHaproxy({ port, api, caFile, folder }: Setting): Launch {
  const { protocol, host } = new URL(api)
  const tls = protocol === 'https:' ? ` ssl verify required ca-file ${caFile} verifyhost localhost` : ''
  const headers = Object.entries(STATIC_HEADERS)
    .map(([name, value]) => `  http-request set-header ${name} "${value}"`)
    .join('\n')
  const text = `global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:${port}
${headers}
  default_backend api
backend api
  server api ${host}${tls}
`
  return { command: [find('haproxy')!, '-db', '-f', write(folder, 'haproxy.cfg', text)] }
}

function launchCaddy({ port, api, caFile, folder }: Setting): Launch {
  const headers = Object.entries(STATIC_HEADERS)
    .map(([name, value]) => `header_up ${name} "${value}"`)
    .join('\n')
  const tls = api.startsWith('https:') ? `transport http {\ntls_trusted_ca_certs ${caFile}\n}` : ''
  const text = `{
  admin off
  auto_https off
}
http://127.0.0.1:${port} {
  bind 127.0.0.1
  reverse_proxy ${api} {
    header_up Host {upstream_hostport}
    ${headers}
    ${tls}
  }
}
`
  const file = write(folder, 'Caddyfile', text)
  return {
    command: [find('caddy')!, 'run', '--adapter', 'caddyfile', '--config', file],
    env: { HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
  }
}

const here = () => undefined

export const CONTENDERS: readonly Contender[] = [
  {
    id: 'procore-proxy',
    title: 'procore-proxy, all features on',
    warmsUp: true,
    missing: here,
    launch: (setting) => launchProcoreProxy(setting, ALL_ON),
  },
  {
    id: 'procore-proxy-off',
    title: 'procore-proxy, features off',
    warmsUp: true,
    missing: here,
    launch: (setting) => launchProcoreProxy(setting, ALL_OFF),
    throughputOnly: true,
  },
  {
    id: 'procore-proxy-no-recorder',
    title: 'procore-proxy, all but the recorder',
    warmsUp: true,
    missing: here,
    launch: (setting) => launchProcoreProxy(setting, { ...ALL_ON, inspector: { enabled: false } }),
    throughputOnly: true,
    plainOnly: true,
  },
  { id: 'nginx', title: 'nginx, tuned', missing: debian('nginx'), launch: launchNginx(true) },
  {
    id: 'nginx-default',
    title: 'nginx, its default proxy_pass',
    missing: debian('nginx'),
    launch: launchNginx(false),
  },
  { id: 'haproxy', title: 'HAProxy', missing: debian('haproxy'), launch: launchHaproxy },
  { id: 'caddy', title: 'Caddy', missing: debian('caddy'), launch: launchCaddy },
  {
    id: 'fastify-http-proxy',
    title: '@fastify/http-proxy',
    warmsUp: true,
    missing: here,
    launch: launchNode('fastify-http-proxy.mjs'),
  },
  {
    id: 'http-proxy-middleware',
    title: 'http-proxy-middleware',
    warmsUp: true,
    missing: here,
    launch: launchNode('http-proxy-middleware.mjs'),
  },
  {
    id: 'node',
    title: 'Node answering by itself',
    warmsUp: true,
    missing: here,
    launch: launchNode('node.mjs'),
    throughputOnly: true,
    plainOnly: true,
  },
]

/** A folder for one contender's files. */
export function folderFor(parent: string, name: string): string {
  const folder = join(parent, name)
  mkdirSync(folder, { recursive: true })
  return folder
}
