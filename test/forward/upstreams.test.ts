// Covers src/forward/upstreams.ts
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Tokens } from '../../src/auth/tokens.ts'
import type { Config } from '../../src/config/config.ts'
import { startFakeProcore } from '../../src/fake/procore.ts'
import { type Upstream, Upstreams } from '../../src/forward/upstreams.ts'
import type { Handler } from '../../src/http1/handler.ts'
import { type ConfigInShort, testAccount, testConfig, testEnvironment } from '../fixtures/config.ts'
import { settingsFor, startRig } from '../fixtures/proxy.ts'

/** Tokens that are there at once, with no login server. */
function instantTokens(t: Test): Tokens {
  const tokens = new Tokens(
    async () => ({ value: 'made-up', lifetimeMs: 3_600_000 }),
    () => {},
  )
  t.teardown(() => tokens.close())
  return tokens
}

function open(t: Test, tokens: Tokens, config: Config, previous?: Upstreams): Upstreams {
  const upstreams = new Upstreams(config, tokens, previous)
  t.teardown(() => upstreams.destroy())
  return upstreams
}

/** The ways of a configuration's companies, by name. */
function ways(config: Config, upstreams: Upstreams): Record<string, Upstream> {
  return Object.fromEntries(
    config.companies.map((company) => [company.name, upstreams.get(company, company.id)]),
  )
}

/** Sends a GET through; gives the status, or the error's code. */
function send(upstream: Upstream): Promise<number | string> {
  return new Promise((resolve) => {
    let status = 0
    const handler: Handler = {
      onRequestStart: () => {},
      onResponseStart: (_controller, code) => {
        status = code
      },
      onResponseData: () => {},
      onResponseEnd: () => resolve(status),
      onResponseError: (_controller, error) => resolve((error as { code?: string }).code ?? error.message),
    }
    const caller = {
      lane: 'test',
      gone: false,
      onGone: undefined,
      replayBody: () => null,
      retried: () => {},
      waited: () => {},
    }
    upstream.dispatch(
      { path: '/x', method: 'GET', headers: ['Host', upstream.host], body: null, caller },
      handler,
    )
  })
}

t.test('Each company has a way of its own, with its own connections', async (t) => {
  const fake = await startFakeProcore()
  t.teardown(() => fake.close())
  const { upstream } = testConfig()
  const config = testConfig({
    environment: { apiUrl: fake.apiUrl },
    upstream: { ...upstream, connections: 1 },
  })
  const upstreams = open(t, instantTokens(t), config)
  const { acme, globex } = ways(config, upstreams)
  t.not(acme, globex)
  t.equal(acme?.tokens, globex?.tokens, 'but one account, one source of tokens')
  t.match(acme, { companyId: '7656', host: new URL(fake.apiUrl).host, settings: config.upstream })
  t.equal(acme?.environment.apiUrl, fake.apiUrl)
  t.equal(upstreams.get(config.companies[0]!, '7656'), acme, 'and the same one each time')
  await send(acme!)
  fake.journal.clear()
  for (const way of [acme!, globex!, acme!, globex!]) t.equal(await send(way), 401)
  const sockets = fake.journal.api().map((entry) => entry.socket)
  t.equal(sockets[0], sockets[2], 'kept alive')
  t.equal(sockets[1], sockets[3])
  t.not(sockets[0], sockets[1], 'never shared')
})

t.test('A reload keeps what did not change and closes the rest', async (t) => {
  const tokens = instantTokens(t)
  const account = testAccount()
  const other = testAccount({ name: 'other' })
  const moved = testAccount({ environment: testEnvironment({ apiUrl: 'http://127.0.0.1:10' }) })
  const one = (short: ConfigInShort = {}) =>
    testConfig({
      companies: [
        { name: 'acme', id: '1', account },
        { name: 'globex', id: '2', account },
      ],
      ...short,
    })
  const { upstream } = one()
  const changes: [what: string, next: Config, kept: boolean][] = [
    ['nothing', one(), true],
    ['its name', one({ companies: [{ name: 'renamed', id: '1', account }] }), true],
    ['access', one({ companies: [{ name: 'acme', id: '1', account, access: 'read-only' }] }), true],
    ['its id', one({ companies: [{ name: 'acme', id: '3', account }] }), false],
    ['its account', one({ companies: [{ name: 'acme', id: '1', account: other }] }), false],
    ['its API', one({ companies: [{ name: 'acme', id: '1', account: moved }] }), false],
    ['a time limit', one({ upstream: { ...upstream, connectTimeoutMs: 1 } }), false],
    ['the way out', one({ network: { ...one().network, key: 'another' } }), false],
    ['connections', one({ upstream: { ...upstream, connections: 1 } }), false],
  ]
  for (const [what, next, kept] of changes) {
    const config = one()
    const before = open(t, tokens, config)
    const { acme } = ways(config, before)
    const after = open(t, tokens, next, before)
    await before.close()
    const way = after.get(next.companies[0]!, next.companies[0]!.id)
    t.equal(way === acme, kept, what)
    t.equal(
      await send(acme!),
      kept ? 'ECONNREFUSED' : 'UND_ERR_CLOSED',
      `${what}: ${kept ? 'open' : 'closed'}`,
    )
    if (!kept) t.equal(await send(way), 'ECONNREFUSED', `${what}: the new one is open`)
  }
})

t.test('Ids under "*" have ways of their own, of which a bounded number is kept', async (t) => {
  const config = testConfig({ anyCompany: true })
  const upstreams = open(t, instantTokens(t), config)
  const any = config.anyCompany!
  const first = upstreams.get(any, '1000')
  t.equal(upstreams.get(any, '1000'), first)
  t.equal(first.companyId, '1000')
  const second = upstreams.get(any, '1001')
  t.not(first, second)
  t.equal(
    upstreams.get(any, '7656'),
    upstreams.get(config.companies[0]!, '7656'),
    'a configured one is found',
  )
  for (let id = 2000; id < 2255; id++) {
    upstreams.get(any, '1000')
    upstreams.get(any, String(id))
  }
  t.equal(upstreams.get(any, '1000'), first, 'in use')
  await sleep(0)
  t.equal(await send(second), 'UND_ERR_CLOSED', 'the least used one is closed')
  t.not(upstreams.get(any, '1001'), second, 'and comes anew')
  await upstreams.close()
  t.equal(await send(first), 'UND_ERR_CLOSED', 'closing closes them too')
})

t.test('Closing waits for who has yet to be sent; destroying waits for nobody', async (t) => {
  const config = testConfig()
  const tokens = instantTokens(t)
  const upstreams = open(t, tokens, config)
  const { acme } = ways(config, upstreams)
  acme!.enter()
  acme!.enter()
  t.equal(acme!.inFlight, 2)
  let closed = 0
  const closing = [upstreams, upstreams].map((each) => each.close().then(() => closed++))
  acme!.leave()
  await sleep(5)
  t.equal(closed, 0)
  t.equal(await send(acme!), 'ECONNREFUSED', 'still open for the one that waits')
  acme!.leave()
  await Promise.all(closing)
  t.equal(await send(acme!), 'UND_ERR_CLOSED')
  const other = open(t, tokens, config)
  const way = ways(config, other)['acme']!
  way.enter()
  const late = other.close()
  await other.destroy()
  t.equal(await send(way), 'UND_ERR_DESTROYED')
  way.leave()
  await late
  t.pass('and closing what is destroyed is no error')
})

t.test('A request that waits for its new token outlives a reload', async (t) => {
  const { fake, get, reload } = await startRig(t, { settings: { upstream: { responseTimeout: '5s' } } })
  fake.faults.unauthorized({ times: 1 })
  fake.faults.token = { delayMs: 300, times: 1 }
  const answer = get('/acme/rest/v1.0/echo')
  await fake.journal.when((entry) => entry.server === 'api' && entry.status === 401)
  await reload(settingsFor(fake, { upstream: { responseTimeout: '6s' } }))
  t.equal((await answer).status, 200)
  t.equal((await get('/acme/rest/v1.0/echo')).status, 200)
})

t.test(
  'A company’s file hosts have connections of their own, kept for a few, and closed with the rest',
  async (t) => {
    const config = testConfig()
    const upstreams = open(t, instantTokens(t), config)
    const { acme, globex } = ways(config, upstreams)
    const files = acme!.files('http://localhost:9')
    t.match(files, { companyId: '7656', origin: 'http://localhost:9', host: 'localhost:9' })
    t.equal(acme!.files('http://localhost:9'), files)
    t.not(globex!.files('http://localhost:9'), files)
    for (let port = 10; port < 30; port++) acme!.files(`http://localhost:${port}`)
    t.not(acme!.files('http://localhost:9'), files, 'the least used one had to go')
    const last = acme!.files('http://localhost:29')
    await upstreams.close()
    for (const way of [files, last]) t.match(await send(way), /^UND_ERR_(?:CLOSED|DESTROYED)$/)
  },
)

t.test('A file host has to prove who it is', async (t) => {
  const pem = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), 'utf8')
  const impostor = await startFakeProcore({
    tls: { cert: pem('self-signed.pem'), key: pem('self-signed.key') },
  })
  t.teardown(() => impostor.close())
  const config = testConfig()
  const upstreams = open(t, instantTokens(t), config)
  t.equal(
    await send(ways(config, upstreams)['acme']!.files(impostor.storageUrl)),
    'DEPTH_ZERO_SELF_SIGNED_CERT',
  )
  t.equal(impostor.journal.entries.length, 0, 'nothing arrived')
})
