// A proxy in a corporate network: behind an outbound proxy, behind TLS inspection, and after a long idle time.
import { once } from 'node:events'
import { copyFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { run, runToEnd, startPlace } from '../fixtures/cli.ts'
import { type ConnectProxyOptions, startConnectProxy } from '../fixtures/connect-proxy.ts'
import type { FakeProcore } from '../fixtures/procore.ts'
import { type Rig, type Settings, settingsFor, startRig, withSecret } from '../fixtures/proxy.ts'
import { certificate, tlsFile } from '../fixtures/tls.ts'

// One of the tests waits for an idle connection to be closed.
t.jobs = 2

const caFile = tlsFile('ca.pem')

/** The name in wrong-name.pem: no loopback, so it is reached through the proxy, which leads it to loopback. */
const outside = (url: string) => url.replace('127.0.0.1', 'login.example.test')
const environments = (apiUrl: string, loginUrl: string): Settings => ({
  environments: { fake: { apiUrl, loginUrl } },
})
const allOutside = (fake: FakeProcore) => environments(outside(fake.apiUrl), outside(fake.loginUrl))
const tls = certificate('wrong-name')

t.test('login and API go through the outbound proxy, and it sees nothing of them', async (t) => {
  const proxy = await startConnectProxy(t, { credentials: 'user:pr0xy-word' })
  const url = proxy.url.replace('//', '//user:pr0xy-word@')
  const { get, fake, logText } = await startRig(t, {
    fake: { tls },
    settings: (fake) => ({ ...allOutside(fake), network: { proxy: url, caFile } }),
  })
  const answer = await get('/acme/rest/v1.0/me', { headers: { 'x-twice': ['a', 'b'] } })
  t.equal(answer.status, 200)
  const post = await get('/globex/rest/v1.0/echo', { method: 'POST', body: 'x'.repeat(100_000) })
  t.equal(post.status, 200)
  t.strictSame(
    new Set(proxy.asked.map(({ authority }) => authority)),
    new Set([fake.loginUrl, fake.apiUrl].map((each) => new URL(outside(each)).host)),
  )
  const [call] = fake.journal.api()
  t.strictSame(
    call?.rawHeaders.filter((_, at, all) => all[at - (at % 2)] === 'x-twice'),
    ['x-twice', 'a', 'x-twice', 'b'],
  )
  for (const entry of fake.journal.entries) t.notMatch(entry.rawHeaders.join('|'), /proxy-a|proxy-c|Basic/i)
  t.notMatch(proxy.seen(), /demo-secret|Bearer|xxxx/)
  t.notMatch(logText(), /pr0xy-word|dXNlcjpw/)
})

t.test('an API that the outbound proxy does not lead to', async (t) => {
  const answer = (status: string) => ({ answer: `HTTP/1.1 ${status}\r\n\r\n` })
  const cases: [string, ConnectProxyOptions, object, RegExp][] = [
    [
      '407',
      answer('407 X'),
      { code: 'upstream_unreachable', status: 502, help: /network\.proxy or HTTPS_PROXY/ },
      /error=http_request_denied/,
    ],
    [
      '403',
      answer('403 X'),
      {
        code: 'upstream_unreachable',
        detail: /refused a tunnel to login\.example\.test:\d+ \(HTTP 403\)/,
        help: /NO_PROXY/,
      },
      /error=http_request_denied/,
    ],
    ['502', answer('502 X'), { code: 'upstream_unreachable' }, /error=destination_unavailable/],
    ['garbage', { answer: 'hello\r\n\r\n' }, { code: 'upstream_unreachable' }, /error=http_protocol_error/],
    ['silence', { answer: undefined }, { code: 'upstream_timeout', status: 504 }, /error=connection_timeout/],
    [
      'its certificate',
      { tls: certificate('self-signed') },
      { code: 'upstream_unreachable', help: /network\.caFile/ },
      /error=tls_certificate_error/,
    ],
  ]
  for (const [what, options, problem, proxyStatus] of cases) {
    const proxy = await startConnectProxy(t, options)
    const { get, fake, logText } = await startRig(t, {
      settings: (fake) => ({
        ...environments('https://login.example.test:9', fake.loginUrl),
        network: { proxy: proxy.url.replace('//', '//user:pr0xy-word@') },
        upstream: { connectTimeout: '300ms' },
      }),
    })
    const refused = await get('/acme/rest/v1.0/me')
    t.match(refused.json, problem, what)
    t.match(refused.json.detail, proxy.url, `${what}: the proxy is named`)
    t.match(refused.headers['proxy-status'], proxyStatus, what)
    t.equal(fake.journal.api().length, 0)
    t.notMatch(refused.text + logText(), /pr0xy-word|dXNlcjpw|Bearer/, what)
  }
  const gone = await startRig(t, {
    settings: (fake) => ({
      ...environments('https://login.example.test:9', fake.loginUrl),
      network: { proxy: 'http://127.0.0.1:9' },
    }),
  })
  const refused = await gone.get('/acme/rest/v1.0/me', { method: 'POST', body: 'x' })
  t.match(refused.json, { code: 'upstream_unreachable', help: /network\.proxy, or HTTPS_PROXY/ })
  t.match(refused.headers['proxy-status'], /error=connection_refused/)
})

t.test('a login server that it does not lead to: named, and tried again', async (t) => {
  const proxy = await startConnectProxy(t, { credentials: 'right:one' })
  const { server, get, log, logText, fake, reload } = await startRig(t, {
    cold: true,
    fake: { tls },
    settings: (fake) => ({
      ...allOutside(fake),
      network: { proxy: proxy.url.replace('//', '//wr0ng:pr0xy-word@'), caFile },
    }),
  })
  const [source] = server.tokens.sources()
  while (source?.state().tried === false) await sleep(5)
  t.match(source?.state().lastFailure?.failure, {
    reason: 'unreachable',
    message: `the login server could not be reached: the outbound proxy ${proxy.url} wants other credentials (HTTP 407)`,
  })
  t.equal(fake.journal.entries.length, 0)
  const waiting = get('/acme/rest/v1.0/me')
  await reload(
    settingsFor(fake, {
      ...allOutside(fake),
      network: { proxy: proxy.url.replace('//', '//right:one@'), caFile },
    }),
  )
  t.equal(
    (await waiting).status === 200 || (await get('/acme/rest/v1.0/me')).status === 200,
    true,
    'fixed by a reload',
  )
  t.match(
    log().find(({ reason }) => reason === 'unreachable'),
    { level: 'warn' },
  )
  t.notMatch(logText(), /pr0xy-word|wr0ng/)
})

t.test('a reload changes the way of login and API; new secrets are tried on the new one', async (t) => {
  const first = await startConnectProxy(t)
  const second = await startConnectProxy(t)
  const { get, reload, fake, server, log } = await startRig(t, {
    fake: { tls },
    settings: (fake) => ({ ...allOutside(fake), network: { proxy: first.url, caFile } }),
  })
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
  const asked = first.asked.length
  t.ok(asked >= 2)
  const over = (proxy: string, secret = 'demo-secret') => ({
    ...allOutside(fake),
    ...withSecret(secret),
    network: { proxy, caFile },
  })
  await reload(settingsFor(fake, over(second.url)))
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
  t.strictSame([first.asked.length, second.asked.length], [asked, 1], 'the token is kept, the pool is not')
  await reload(settingsFor(fake, over(first.url, 'wrong')))
  t.match(log().at(-1)?.msg, /the old configuration stays/)
  t.equal(first.asked.length, asked + 1, 'the wrong secret was tried on the new way')
  const [source] = server.tokens.sources()
  fake.faults.unauthorized({ times: 1 })
  t.equal((await get('/acme/rest/v1.0/me')).status, 200, 'a renewal')
  t.equal(first.asked.length, asked + 1, 'went the old way, which is in force again')
  t.ok(second.asked.some(({ authority }) => authority === new URL(outside(fake.loginUrl)).host))
  t.ok(source)
  await reload(settingsFor(fake, over(second.url)))
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
})

t.test('a CA file is for login and API, and without it nothing arrives', async (t) => {
  const with_ = await startRig(t, { fake: { tls: certificate('good') }, settings: { network: { caFile } } })
  t.equal((await with_.get('/acme/rest/v1.0/me')).status, 200)
  const without = await startRig(t, { cold: true, fake: { tls: certificate('good') } })
  const [source] = without.server.tokens.sources()
  while (source?.state().tried === false) await sleep(5)
  t.equal(source?.state().lastFailure?.failure.reason, 'tls')
  t.equal(without.fake.journal.entries.length, 0)
})

interface IdleApi {
  readonly url: string
  readonly open: Set<Socket>
  count(): number
}

/** An API that says it keeps idle connections for ten minutes. */
async function idleApi(t: Test, secure = false): Promise<IdleApi> {
  const server = secure ? createTlsServer(tls) : createServer()
  const open = new Set<Socket>()
  let count = 0
  server.keepAliveTimeout = 600_000
  server.on(secure ? 'secureConnection' : 'connection', (socket: Socket) => {
    count++
    open.add(socket)
    socket.on('error', () => {}).once('close', () => open.delete(socket))
  })
  server.on('request', (request, response) => {
    request.resume().on('end', () => response.end('{"ok":true}'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    url: secure ? `https://login.example.test:${port}` : `http://127.0.0.1:${port}`,
    open,
    count: () => count,
  }
}

async function idleRig(t: Test, api: IdleApi, more: Settings = {}): Promise<Rig> {
  return startRig(t, {
    settings: (fake) => ({
      ...environments(api.url, fake.loginUrl),
      ...more,
      upstream: { connections: 1, retries: 0 },
    }),
  })
}

const POST = { method: 'POST', body: '{"a":1}', headers: { 'content-type': 'application/json' } } as const

t.test('connections that the API closed while they were idle are not written on', async (t) => {
  const proxy = await startConnectProxy(t)
  for (const secure of [false, true]) {
    const api = await idleApi(t, secure)
    const { get } = await idleRig(t, api, secure ? { network: { proxy: proxy.url, caFile } } : {})
    t.equal((await get('/acme/rest/v1.0/me')).status, 200)
    t.equal(api.open.size, 1)
    const where = secure ? 'through a tunnel' : 'directly'
    for (const [how, close] of [
      ['closed', (socket: Socket) => void socket.end()],
      // A TLS socket can't reset.
      ['cut', (socket: Socket) => void (secure ? socket.destroy() : socket.resetAndDestroy())],
    ] as const) {
      // Without retries: each has to succeed at its first try.
      for (const call of [{}, POST]) {
        for (const socket of api.open) close(socket)
        while (api.open.size > 0) await sleep(5)
        await sleep(20)
        t.equal(
          (await get('/acme/rest/v1.0/me', call)).status,
          200,
          `${where}, ${how}, ${'method' in call ? 'POST' : 'GET'}`,
        )
      }
    }
    t.equal(api.count(), 5, 'a new connection each time')
  }
})

t.test('an idle connection is closed before a firewall forgets it, whatever the API says', async (t) => {
  const api = await idleApi(t)
  const { get } = await idleRig(t, api)
  t.equal((await get('/acme/rest/v1.0/me')).status, 200)
  t.equal((await get('/acme/rest/v1.0/me', POST)).status, 200)
  t.equal(api.count(), 1, 'kept alive')
  const idleFrom = performance.now()
  while (api.open.size > 0 && performance.now() - idleFrom < 20_000) await sleep(100)
  t.equal(api.open.size, 0, 'closed by the proxy')
  t.ok(performance.now() - idleFrom > 5_000, 'but not at once')
  t.equal((await get('/acme/rest/v1.0/me', POST)).status, 200)
})

t.test('the commands: HTTPS_PROXY, the CA file for login and API, and what is said of both', async (t) => {
  const place = await startPlace(t, {}, { fake: { tls } })
  const proxy = await startConnectProxy(t)
  const refusing = await startConnectProxy(t, { credentials: 'no:body' })
  const way = allOutside(place.fake)
  const check = (url: string, args: string[] = []) =>
    runToEnd(t, ['check', '-c', place.file, ...args], {
      env: { HTTPS_PROXY: url.replace('//', '//user:pr0xy-word@') },
    })
  place.write(place.settings({ ...way, network: { caFile } }))
  const good = await check(proxy.url)
  t.match(good, { code: 0, out: new RegExp(`^outbound proxy: ${proxy.url}$`, 'm') })
  t.equal(place.fake.journal.api().length, 2)
  t.notMatch(good.out + good.err, 'pr0xy-word')
  const refused = await check(refusing.url)
  t.match(refused, { code: 1, out: /the outbound proxy \S+ wants other credentials \(HTTP 407\)/ })
  t.match(refused.out, /^ {2}- Write user name and password .* network\.proxy or HTTPS_PROXY/m)
  t.notMatch(refused.out + refused.err, 'pr0xy-word')
  place.write(place.settings(way))
  const untrusted = await check(proxy.url, ['--json'])
  t.match(JSON.parse(untrusted.out).findings[0], {
    ok: false,
    fixes: [/network\.caFile or NODE_EXTRA_CA_CERTS/],
  })
  t.equal(place.fake.journal.api().length, 2, 'nothing more arrived')
  place.write(place.settings({ ...way, network: { caFile, proxy: 'none' } }))
  t.notMatch((await check(proxy.url, ['--offline'])).out, 'outbound proxy')

  const live = join(place.folder, 'live.pem')
  copyFileSync(tlsFile('self-signed.pem'), live)
  place.write(place.settings({ ...way, network: { caFile: 'live.pem' } }))
  const start = run(t, ['start', '-c', place.file], {
    env: { HTTPS_PROXY: proxy.url.replace('//', '//user:pr0xy-word@'), NO_PROXY: 'a.b, c.d:8443' },
  })
  await start.line('token request failed')
  t.match(await start.line('outbound proxy'), {
    noProxy: ['a.b', 'c.d:8443'],
    msg: new RegExp(`${proxy.url}$`),
  })
  copyFileSync(caFile, live)
  await start.line('the new configuration is in force')
  await start.line('token issued')
  t.notMatch(start.out + start.err, 'pr0xy-word')
})
