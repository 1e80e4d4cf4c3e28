// The command `demo`: starts a fake Procore and the proxy, makes a few plain requests, and shows the results.
import { createServer } from 'node:net'
import closeWithGrace from 'close-with-grace'
import { ConfigError } from '../config/problems.ts'
import { type FakeProcore, startFakeProcore } from '../fake/procore.ts'
import { createLogger } from '../observe/log.ts'
import { buildServer, loadConfig, type ProxyServer } from '../server.ts'
import { withDraft } from './config.ts'
import { DEMO_CALLS, showCall } from './demo-calls.ts'
import { CommandError, EXIT, usageError } from './exit.ts'
import type { Options } from './options.ts'

const DEFAULT_PORT = 8377

export async function demo({ listen: [wanted] = [], once }: Options): Promise<void> {
  if (wanted?.startsWith('unix:')) {
    throw usageError('demo calls the proxy by TCP: write --listen 127.0.0.1:PORT')
  }
  const fake = await startFakeProcore()
  const listen = wanted ?? `127.0.0.1:${(await isFree(DEFAULT_PORT)) ? DEFAULT_PORT : 0}`
  const server = await startProxy(fake, listen).catch(async (error: Error) => {
    await fake.close()
    throw new CommandError(error.message, error instanceof ConfigError ? EXIT.badConfig : EXIT.failure)
  })
  const close = async () => {
    await server.drain()
    await fake.close()
  }
  const base = server.addresses()[0]?.url ?? ''
  try {
    print(introduction(fake, base))
    for (const call of DEMO_CALLS) print(await showCall(fake, base, call))
  } catch (error) {
    await close()
    throw error
  }
  if (once) return close()
  print(invitation(base))
  closeWithGrace({ skip: ['SIGHUP', 'beforeExit'] }, close)
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function introduction({ loginUrl, apiUrl, journal }: FakeProcore, base: string): string {
  const logins = journal.tokenRequests().map(({ method, url }) => `${method} ${url}`)
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

/** Runs the proxy with a configuration as a user would write it. */
async function startProxy({ apiUrl, loginUrl }: FakeProcore, listen: string): Promise<ProxyServer> {
  const settings = {
    listen,
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
  const config = await withDraft(JSON.stringify(settings), (file) =>
    loadConfig({ flags: { config: file }, env: {}, cwd: process.cwd() }),
  )
  const server = await buildServer(config, { log: createLogger({ level: 'silent', format: 'json' }) })
  try {
    await server.listen()
  } catch (error) {
    await server.drain()
    throw error
  }
  await Promise.all([...server.tokens.sources()].map((source) => source.get()))
  return server
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
