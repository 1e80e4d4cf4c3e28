// The commands `demo` (a fake Procore, the proxy and a few plain requests) and `fake` (the fake Procore alone).
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:net'
import closeWithGrace from 'close-with-grace'
import { ConfigError } from '../config/problems.ts'
import { DEMO_COMPANIES, type FakeProcore, startFakeProcore } from '../fake/procore.ts'
import { createLogger } from '../observe/log.ts'
import { buildServer, loadConfig, type ProxyServer } from '../server.ts'
import type { Options } from './commands.ts'
import { CommandError, usageError } from './exit.ts'

/** What each call shows, its method and path, and what else it sends. */
const DEMO_CALLS: readonly [say: string, line: string, more?: RequestInit][] = [
  ['A plain request, with the company in front of the path', 'GET /acme/rest/v1.0/me'],
  ['Paging: the Link header points back at the proxy', 'GET /acme/rest/v1.0/projects?per_page=2'],
  [
    'A whole list as CSV: the proxy reads all pages (docs/lists.md)',
    'GET /acme/_proxy/csv/rest/v1.0/projects?_columns=id,name,city',
  ],
  [
    'The company by its header; the same token works for it',
    'GET /rest/v1.0/me',
    { headers: { 'Procore-Company-Id': '562949953443325' } },
  ],
  [
    'A write',
    'POST /acme/rest/v1.0/projects',
    { headers: { 'Content-Type': 'application/json' }, body: '{"project":{"name":"New Town Hall"}}' },
  ],
  ['A write to a read-only company is refused here', 'DELETE /globex/rest/v1.0/projects/1'],
  [
    'Two companies in one request: the proxy does not guess which is meant',
    'GET /acme/rest/v1.0/companies/562949953443325/projects',
  ],
  ["Procore's own refusals pass through", 'GET /initech/rest/v1.0/projects'],
]

const DEFAULT_PORT = 8377

export async function demo({ listen: [wanted] = [], once }: Options): Promise<void> {
  if (wanted?.startsWith('unix:')) {
    throw usageError('demo calls the proxy by TCP: write --listen 127.0.0.1:PORT')
  }
  const fake = await startFakeProcore()
  const logins: string[] = []
  fake.servers.login.on('request', ({ method, url }) => logins.push(`${method} ${url}`))
  const listen = wanted ?? `127.0.0.1:${(await isFree(DEFAULT_PORT)) ? DEFAULT_PORT : 0}`
  let server: ProxyServer | undefined
  const close = async () => {
    await server?.drain()
    await fake.close()
  }
  const print = (text: string) => process.stdout.write(`${text}\n`)
  try {
    server = await buildProxy(fake, listen)
    await server.listen().catch(({ message }: Error) => {
      throw new CommandError(message)
    })
    await Promise.all([...server.tokens.sources()].map((source) => source.get()))
    const base = server.addresses()[0]?.url ?? ''
    print(introduction(fake, base, logins))
    for (const call of DEMO_CALLS) print(await showCall(fake, base, call))
    if (!once) print(invitation(base))
  } catch (error) {
    await close()
    throw error instanceof ConfigError ? usageError(error.message) : error
  }
  if (once) return close()
  closeWithGrace({ skip: ['SIGHUP', 'beforeExit'] }, close)
}

function introduction({ loginUrl, apiUrl }: FakeProcore, base: string, logins: readonly string[]): string {
  return `The proxy:      ${base}   (companies acme, globex (read-only), initech; no account of yours is used)
A fake Procore: login ${loginUrl}, API ${apiUrl}

At start the proxy logged in, once for all three companies: ${logins.join(', ')}
`
}

function invitation(base: string): string {
  return `The proxy stays up. See ${base}/_proxy/ in a browser, or try it from another terminal; Ctrl-C ends it:

  curl ${base}/acme/rest/v1.0/projects
  curl -i ${base}/globex/rest/v1.0/me
  curl -X DELETE ${base}/globex/rest/v1.0/projects/1
`
}

/** A proxy with a configuration as a user would write it. */
async function buildProxy({ apiUrl, loginUrl }: FakeProcore, listen: string): Promise<ProxyServer> {
  const settings = {
    environment: 'fake',
    environments: { fake: { apiUrl, loginUrl } },
    serviceAccounts: { app: { clientId: 'demo-client', clientSecret: 'demo-secret' } },
    companies: {
      acme: { id: '7656', serviceAccount: 'app' },
      globex: { id: '562949953443325', serviceAccount: 'app', access: 'read-only' },
      initech: { id: '90210', serviceAccount: 'app' },
    },
  }
  // JSON is valid YAML.
  const text = JSON.stringify(settings)
  const config = await loadConfig({ flags: { listen: [listen] }, env: {}, cwd: process.cwd(), text })
  return buildServer(config, { log: createLogger({ level: 'silent', format: 'json' }) })
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

/** Makes a call to the proxy at `base`, and says what was sent, what Procore received and what came back. */
async function showCall(
  { servers }: FakeProcore,
  base: string,
  [say, line, more = {}]: (typeof DEMO_CALLS)[number],
): Promise<string> {
  const arrived: string[] = []
  const note = ({ method, url, headers }: IncomingMessage) => {
    const bearer = headers.authorization?.startsWith('Bearer ') ? 'Bearer …' : '(none)'
    const company = headers['procore-company-id']
    arrived.push(`${method} ${url}  Authorization: ${bearer}  Procore-Company-Id: ${company}`)
  }
  servers.api.on('request', note)
  const [method = '', path] = line.split(' ')
  const response = await fetch(base + path, { method, ...more })
  const sent = Object.entries(more.headers ?? {}).map(([name, value]) => `  ${name}: ${value}`)
  const body = await response.text()
  servers.api.off('request', note)
  const lines = [
    `── ${say}`,
    `   you       ${line}${sent.join('')}`,
    ...(arrived.length > 0 ? arrived : ['(nothing arrived)']).map((text) => `   Procore   ${text}`),
    `   answer    ${response.status} ${shorten(body)}`,
  ]
  for (const name of ['Link', 'Procore-Proxy-Error']) {
    const value = response.headers.get(name)
    if (value !== null) lines.push(`             ${name}: ${shorten(value)}`)
  }
  return `${lines.join('\n')}\n`
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return line.length > 140 ? `${line.slice(0, 140)}…` : line
}

export async function fake({ loginPort = 0, apiPort = 0 }: Options): Promise<void> {
  const running = await startFakeProcore({ loginPort, apiPort }).catch((error: Error) => {
    throw new CommandError(`the fake Procore cannot start: ${error.message}`)
  })
  closeWithGrace({ skip: ['SIGHUP', 'beforeExit'] }, () => running.close())
  process.stdout.write(`A fake Procore, for a proxy with

  PROCORE_LOGIN_URL=${running.loginUrl}
  PROCORE_API_URL=${running.apiUrl}
  PROCORE_CLIENT_ID=demo-client
  PROCORE_CLIENT_SECRET=demo-secret
  PROCORE_COMPANY_ID=${DEMO_COMPANIES[0]?.id}
`)
}
