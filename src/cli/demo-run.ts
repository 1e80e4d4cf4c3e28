// What `demo` does: a fake Procore, the proxy, a handful of plain requests, and what became of each.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import closeWithGrace from 'close-with-grace'
import { Client } from 'undici'
import { ConfigError } from '../config/problems.ts'
import { type FakeProcore, startFakeProcore } from '../fake/procore.ts'
import { createLogger } from '../observe/log.ts'
import { buildServer, loadConfig, type ProxyServer } from '../server.ts'
import { CommandError, EXIT } from './exit.ts'
import { whenUnread } from './output.ts'

const CLIENT = { clientId: 'demo-client', clientSecret: 'demo-secret' }
const DEFAULT_PORT = 8377

export async function demo(options: { once?: boolean; listen?: string }): Promise<void> {
  if (options.listen?.startsWith('unix:')) {
    throw new CommandError('demo calls the proxy by TCP: write --listen 127.0.0.1:PORT', EXIT.badConfig)
  }
  const fake = await startFakeProcore()
  const listen = options.listen ?? `127.0.0.1:${(await isFree(DEFAULT_PORT)) ? DEFAULT_PORT : 0}`
  const server = await startProxy(fake, listen).catch(async (error: Error) => {
    await fake.close()
    throw new CommandError(error.message, error instanceof ConfigError ? EXIT.badConfig : EXIT.failure)
  })
  const base = server.addresses()[0]?.url ?? ''
  const print = (text: string) => process.stdout.write(`${text}\n`)
  print(`A fake Procore: login ${fake.loginUrl}, API ${fake.apiUrl}`)
  print(
    `The proxy:      ${base}   (companies acme, globex (read-only), initech; no account of yours is used)\n`,
  )
  const logins = fake.journal.tokenRequests()
  print(
    `At start the proxy logged in, once for all three: ${logins.map(({ method, url }) => `${method} ${url}`).join(', ')}\n`,
  )
  const close = async () => {
    await server.drain()
    await fake.close()
  }
  const client = new Client(base)
  let told = false
  try {
    for (const call of CALLS) print(await show(fake, client, call))
    told = true
  } finally {
    await client.destroy()
    if (options.once || !told) await close()
  }
  if (options.once) return
  print(`It stays up; see ${base}/_proxy/ in a browser, try it from another terminal, or press Ctrl-C to end it:

  curl ${base}/acme/rest/v1.0/projects
  curl -i ${base}/globex/rest/v1.0/me
  curl -X DELETE ${base}/globex/rest/v1.0/projects/1
`)
  whenUnread(closeWithGrace({ skip: ['SIGHUP', 'beforeExit'] }, close).close)
}

/** Writes a configuration as a user would, reads it and runs the proxy with it. */
async function startProxy(fake: FakeProcore, listen: string): Promise<ProxyServer> {
  const folder = await mkdtemp(join(tmpdir(), 'procore-proxy-demo-'))
  try {
    const file = join(folder, 'procore-proxy.yaml')
    const settings = {
      listen,
      environment: 'fake',
      environments: { fake: { apiUrl: fake.apiUrl, loginUrl: fake.loginUrl } },
      serviceAccounts: { app: CLIENT },
      companies: {
        acme: { id: '7656', serviceAccount: 'app' },
        globex: { id: '562949953443325', serviceAccount: 'app', access: 'read-only' },
        initech: { id: '90210', serviceAccount: 'app' },
      },
    }
    // JSON is YAML.
    await writeFile(file, JSON.stringify(settings), { mode: 0o600 })
    const config = await loadConfig({ flags: { config: file }, env: {}, cwd: folder })
    const server = await buildServer(config, { log: createLogger({ level: 'silent', format: 'json' }) })
    try {
      await server.listen()
    } catch (error) {
      await server.drain()
      throw error
    }
    await Promise.all([...server.tokens.sources()].map((source) => source.get()))
    return server
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

interface Call {
  readonly say: string
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly headers?: Record<string, string>
  readonly body?: string
}

const CALLS: readonly Call[] = [
  {
    say: 'A plain request; the company stands in front of the path',
    method: 'GET',
    path: '/acme/rest/v1.0/me',
  },
  {
    say: 'Paging: the Link header points back at the proxy',
    method: 'GET',
    path: '/acme/rest/v1.0/projects?per_page=2',
  },
  {
    say: 'The company by its header; the same token serves it',
    method: 'GET',
    path: '/rest/v1.0/me',
    headers: { 'Procore-Company-Id': '562949953443325' },
  },
  {
    say: 'A write',
    method: 'POST',
    path: '/acme/rest/v1.0/projects',
    headers: { 'Content-Type': 'application/json' },
    body: '{"project":{"name":"New Town Hall"}}',
  },
  {
    say: 'A write to a read-only company never leaves',
    method: 'DELETE',
    path: '/globex/rest/v1.0/projects/1',
  },
  {
    say: 'Two companies in one request: nobody guesses which was meant',
    method: 'GET',
    path: '/acme/rest/v1.0/companies/562949953443325/projects',
  },
  { say: "Procore's own refusals pass through", method: 'GET', path: '/initech/rest/v1.0/projects' },
]

async function show(fake: FakeProcore, client: Client, call: Call): Promise<string> {
  fake.journal.clear()
  const { statusCode, headers, body } = await client.request({
    path: call.path,
    method: call.method,
    ...(call.headers && { headers: call.headers }),
    ...(call.body !== undefined && { body: call.body }),
  })
  const text = await body.text()
  const lines = [`── ${call.say}`]
  lines.push(`   you       ${call.method} ${call.path}${headerText(call.headers)}`)
  const arrived = fake.journal.api()
  for (const { method, url, headers: sent } of arrived) {
    const bearer = sent['authorization']?.startsWith('Bearer ') ? 'Bearer …' : '(none)'
    lines.push(
      `   Procore   ${method} ${url}  Authorization: ${bearer}  Procore-Company-Id: ${sent['procore-company-id']}`,
    )
  }
  if (arrived.length === 0) lines.push('   Procore   (nothing arrived)')
  lines.push(`   answer    ${statusCode} ${shorten(text)}`)
  const { link } = headers
  if (typeof link === 'string') lines.push(`             Link: ${shorten(link)}`)
  if (headers['procore-proxy-error'] !== undefined) {
    lines.push(`             Procore-Proxy-Error: ${headers['procore-proxy-error']}`)
  }
  return `${lines.join('\n')}\n`
}

function headerText(headers: Record<string, string> | undefined): string {
  return Object.entries(headers ?? {})
    .map(([name, value]) => `  ${name}: ${value}`)
    .join('')
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ')
  return line.length > 140 ? `${line.slice(0, 140)}…` : line
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
