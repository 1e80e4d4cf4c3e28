// Twin of src/network/connector.ts: real sockets, a small outbound proxy, a server that proves who it is or can't.
import dns from 'node:dns'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { errors, Pool } from 'undici'
import type { NetworkSettings } from '../../src/config/config.ts'
import { networkSettings } from '../../src/config/outbound.ts'
import { OutboundProxyError } from '../../src/network/connection-error.ts'
import { connector } from '../../src/network/connector.ts'
import { type ConnectProxyOptions, startConnectProxy } from '../fixtures/connect-proxy.ts'

const pem = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), 'utf8')
const certificate = (name: string) => ({ cert: pem(`${name}.pem`), key: pem(`${name}.key`) })
const CA = [pem('ca.pem')]
/** The name in wrong-name.pem, so here it is the right one. */
const HOST = 'login.example.test'

const settings = (proxy = '', certificates: readonly string[] = CA): NetworkSettings =>
  networkSettings({}, proxy, certificates)

interface Target {
  readonly port: number
  readonly requests: IncomingMessage[]
  readonly connections: () => number
}

async function listening(t: Test, server: Server, host = '127.0.0.1'): Promise<Target> {
  const requests: IncomingMessage[] = []
  let connections = 0
  server.on('connection', () => connections++)
  server.on('request', (request, response) => {
    requests.push(request)
    response.end('hello')
  })
  server.listen(0, host)
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, requests, connections: () => connections }
}

const target = (t: Test, name = 'wrong-name') => listening(t, createTlsServer(certificate(name)))

interface Call {
  readonly headers?: string[]
  readonly timeoutMs?: number
}

/** GETs `/` and gives the body, or throws. */
async function get(t: Test, origin: string, network: NetworkSettings, call: Call = {}): Promise<string> {
  const pool = new Pool(origin, { connect: connector(network, call.timeoutMs ?? 5_000) })
  t.teardown(() => pool.destroy())
  const { body } = await pool.request({ path: '/', method: 'GET', headers: call.headers ?? [] })
  return body.text()
}

async function failure(t: Test, origin: string, network: NetworkSettings, call: Call = {}): Promise<Error> {
  return get(t, origin, network, call).then(
    () => t.fail('it must fail') as never,
    (error: Error) => error,
  )
}

t.test('through a tunnel: the proxy learns host and port, and nothing of what is inside', async (t) => {
  const { port, requests } = await target(t)
  const proxy = await startConnectProxy(t)
  const headers = ['Authorization', 'Bearer s3cret', 'X-Twice', 'a', 'X-Twice', 'b', 'x-TWICE', 'c']
  t.equal(await get(t, `https://${HOST}:${port}`, settings(proxy.url), { headers }), 'hello')
  t.strictSame(proxy.asked, [{ authority: `${HOST}:${port}`, rawHeaders: ['host', `${HOST}:${port}`] }])
  t.notMatch(proxy.seen(), /s3cret|hello|X-Twice/i)
  const { rawHeaders = [] } = requests[0] ?? {}
  t.strictSame(
    rawHeaders.slice(rawHeaders.indexOf('Authorization')),
    headers,
    'repeated headers, as they were',
  )
})

t.test('one tunnel serves many requests', async (t) => {
  const { port, connections } = await target(t)
  const proxy = await startConnectProxy(t)
  const connect = connector(settings(proxy.url), 5_000)
  const pool = new Pool(`https://${HOST}:${port}`, { connect, connections: 1 })
  t.teardown(() => pool.destroy())
  for (let i = 0; i < 3; i++) {
    const { body } = await pool.request({ path: '/', method: 'GET' })
    t.equal(await body.text(), 'hello')
  }
  t.equal(proxy.asked.length, 1)
  t.equal(connections(), 1)
  await pool.close()
  while (proxy.openSockets() > 0) await sleep(5)
  t.pass('and its end is the end of all sockets')
})

t.test('an https proxy is verified too, by the same certificates', async (t) => {
  const { port, requests } = await target(t)
  const good = await startConnectProxy(t, { tls: certificate('good') })
  t.equal(await get(t, `https://${HOST}:${port}`, settings(good.url)), 'hello', 'TLS in TLS')
  for (const name of ['wrong-name', 'self-signed', 'expired']) {
    const bad = await startConnectProxy(t, { tls: certificate(name), credentials: 'u:p' })
    const url = bad.url.replace('//', '//u:p@')
    const error = await failure(t, `https://${HOST}:${port}`, settings(url), { timeoutMs: 3_000 })
    t.match(error, { name: 'OutboundProxyError', reason: 'tls' }, name)
    t.strictSame(bad.asked, [], `${name}: nothing was asked of it`)
  }
  t.equal(requests.length, 1)
})

t.test('credentials: in the CONNECT and nowhere else', async (t) => {
  const { port, requests } = await target(t)
  const proxy = await startConnectProxy(t, { credentials: 'us:p@ss' })
  const withUser = (user: string) => settings(proxy.url.replace('//', `//${user}@`))
  t.equal(await get(t, `https://${HOST}:${port}`, withUser('us:p%40ss')), 'hello')
  t.match(
    proxy.asked[0]?.rawHeaders.join('|'),
    `proxy-authorization|Basic ${Buffer.from('us:p@ss').toString('base64')}`,
  )
  t.notMatch(requests[0]?.rawHeaders.join('|'), /proxy-|Basic/i)
  for (const network of [withUser('us:wr0ng'), settings(proxy.url)]) {
    const error = await failure(t, `https://${HOST}:${port}`, network)
    t.match(error, { name: 'OutboundProxyError', reason: 407, message: /^the outbound proxy http:\/\/127/ })
    t.notMatch(inspect(error, { depth: 9, showHidden: true }), /wr0ng|d3IwbmC|Basic/)
  }
  t.equal(requests.length, 1)
})

t.test('a proxy that gives no tunnel', async (t) => {
  const { port, connections } = await target(t)
  const head = (status: string) => `HTTP/1.1 ${status}\r\nContent-Length: 2\r\n\r\nno`
  const cases: [string, ConnectProxyOptions, unknown][] = [
    ['403', { answer: head('403 Forbidden') }, 403],
    ['502', { answer: head('502 Bad Gateway') }, 502],
    ['a redirect', { answer: 'HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n' }, 302],
    ['no HTTP', { answer: 'SSH-2.0-OpenSSH_9.9\r\n' }, 'protocol'],
    ['nothing, and it closes', { answer: '' }, 'protocol'],
    ['nothing at all', { answer: undefined }, 'timeout'],
  ]
  for (const [what, options, reason] of cases) {
    const proxy = await startConnectProxy(t, options)
    const started = performance.now()
    const error = await failure(t, `https://${HOST}:${port}`, settings(proxy.url), { timeoutMs: 400 })
    t.match(error, { name: 'OutboundProxyError', reason }, what)
    if (reason === 'timeout') t.ok(performance.now() - started < 3_000, 'connectTimeout holds')
    while (proxy.openSockets() > 0) await sleep(5)
    t.pass(`${what}: its socket is closed`)
  }
  const gone = await startConnectProxy(t)
  const refused = settings(gone.url.replace(/\d+$/, '9'))
  const error = await failure(t, `https://${HOST}:${port}`, refused)
  t.match(error, { reason: 'unreachable', message: /\(ECONNREFUSED\)$/ })
  const unknown = settings('http://procore-proxy-test.invalid:1')
  t.match(await failure(t, `https://${HOST}:${port}`, unknown), { reason: 'unreachable', message: /EN|EAI/ })
  t.equal(connections(), 0)
})

t.test('a proxy that never shakes hands is given up in time', async (t) => {
  const silent = createTcpServer(() => {}).listen(0, '127.0.0.1')
  t.teardown(() => silent.close())
  const sockets: Socket[] = []
  silent.on('connection', (socket) => sockets.push(socket))
  await once(silent, 'listening')
  const url = `https://127.0.0.1:${(silent.address() as AddressInfo).port}`
  t.match(await failure(t, `https://${HOST}`, settings(url), { timeoutMs: 300 }), { reason: 'timeout' })
  for (const socket of sockets) if (!socket.closed) await once(socket.resume(), 'close')
  t.pass('and its socket is closed')
})

t.test('a server in the tunnel that can not prove its name gets nothing', async (t) => {
  for (const [name, code] of [
    ['good', 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['self-signed', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ['expired', 'CERT_HAS_EXPIRED'],
  ] as const) {
    const { port, requests } = await target(t, name)
    const proxy = await startConnectProxy(t)
    t.match(await failure(t, `https://${HOST}:${port}`, settings(proxy.url)), { code }, name)
    t.equal(requests.length, 0, `${name}: nothing arrived`)
    while (proxy.openSockets() > 0) await sleep(5)
  }
  const { port, requests } = await target(t)
  const proxy = await startConnectProxy(t)
  const error = await failure(t, `https://${HOST}:${port}`, settings(proxy.url, []))
  t.match(error, { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' }, 'without its CA')
  t.equal(requests.length, 0)
})

t.test('a tunnel that breaks or stalls before TLS stands', async (t) => {
  const { port } = await target(t)
  const broken = { code: 'ECONNRESET' }
  const cases: [string, NonNullable<ConnectProxyOptions['join']>, object][] = [
    ['ended', (client) => void client.end(), broken],
    ['reset', (client) => void client.resetAndDestroy(), broken],
    ['cut after the first bytes', (client) => void client.once('data', () => client.destroy()), broken],
    ['garbage', (client) => void client.write('HTTP/1.1 200 OK\r\n\r\n'), { code: /^ERR_SSL_/ }],
    [
      'silent',
      (client) => void client.resume(),
      { code: 'UND_ERR_CONNECT_TIMEOUT', message: /No TLS with login\.example\.test:\d+ within 500 ms/ },
    ],
  ]
  for (const [what, join, expected] of cases) {
    const proxy = await startConnectProxy(t, { join })
    const error = await failure(t, `https://${HOST}:${port}`, settings(proxy.url), { timeoutMs: 500 })
    t.match(error, expected, what)
    t.notOk(error instanceof OutboundProxyError, what)
  }
})

t.test('what came with the answer to CONNECT belongs to the tunnel', async (t) => {
  const proxy = await startConnectProxy(t, {
    answer: 'HTTP/1.1 200 OK\r\n\r\nthis is no TLS, but it has to get there',
  })
  t.match(await failure(t, `https://${HOST}:1`, settings(proxy.url)), { code: /^ERR_SSL_/ })
})

t.test('a pool that is closed while its tunnel is dug', async (t) => {
  const proxy = await startConnectProxy(t, { answer: undefined })
  const pool = new Pool(`https://${HOST}:1`, { connect: connector(settings(proxy.url), 300) })
  const lost = pool.request({ path: '/', method: 'GET' })
  while (proxy.asked.length === 0) await sleep(5)
  await pool.destroy()
  await t.rejects(lost, errors.ClientDestroyedError)
  while (proxy.openSockets() > 0) await sleep(5)
  t.pass('no socket stays')
})

t.test('loopback and hosts of noProxy are reached directly, and https by default has port 443', async (t) => {
  const { port } = await target(t, 'good')
  const proxy = await startConnectProxy(t, { answer: 'HTTP/1.1 403 No\r\n\r\n' })
  for (const host of ['localhost', '127.0.0.1']) {
    t.equal(await get(t, `https://${host}:${port}`, settings(proxy.url)), 'hello', host)
  }
  const plain = await listening(t, createServer())
  t.equal(await get(t, `http://127.0.0.1:${plain.port}`, settings(proxy.url)), 'hello')
  const exempt = networkSettings({ noProxy: [{ host: 'invalid', port: undefined }] }, proxy.url, [])
  t.match(await failure(t, 'https://procore-proxy-test.invalid', exempt), { code: /ENOTFOUND|EAI_AGAIN/ })
  t.equal(proxy.asked.length, 0)
  await failure(t, 'https://api.example.test', settings(proxy.url))
  await failure(t, 'https://[2001:db8::1]:8443', settings(proxy.url))
  t.strictSame(
    proxy.asked.map(({ authority }) => authority),
    ['api.example.test:443', '[2001:db8::1]:8443'],
  )
  t.equal(proxy.plain.length, 0, 'nothing but CONNECT')
})

t.test('an IPv6 address of the proxy', async (t) => {
  const { port } = await target(t)
  const proxy = await startConnectProxy(t)
  const v6 = createTcpServer((socket) => {
    const to = connect(proxy.port, '127.0.0.1')
    socket
      .on('error', () => {})
      .pipe(to.on('error', () => {}))
      .pipe(socket)
  })
  v6.listen(0, '::1')
  await once(v6, 'listening')
  t.teardown(() => v6.close())
  const url = `http://[::1]:${(v6.address() as AddressInfo).port}`
  t.equal(await get(t, `https://${HOST}:${port}`, settings(url)), 'hello')
})

t.test('certificates are verified whatever NODE_TLS_REJECT_UNAUTHORIZED says', async (t) => {
  const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED']
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before
  })
  const { port, requests } = await target(t, 'self-signed')
  const proxy = await startConnectProxy(t)
  await failure(t, `https://127.0.0.1:${port}`, settings())
  await failure(t, `https://${HOST}:${port}`, settings(proxy.url))
  t.equal(requests.length, 0)
})

t.test('a CA of the file is trusted besides those of the machine, and only there', async (t) => {
  const { port } = await target(t, 'good')
  t.equal(await get(t, `https://localhost:${port}`, settings('', CA)), 'hello')
  t.match(await failure(t, `https://localhost:${port}`, settings('', [])), { code: /^UNABLE_TO_VERIFY/ })
  const before = tls.getCACertificates('default')
  t.teardown(() => tls.setDefaultCACertificates(before))
  tls.setDefaultCACertificates([...before, ...CA])
  const other = settings('', [pem('self-signed.pem')])
  t.equal(await get(t, `https://localhost:${port}`, other), 'hello', "one of the machine's")
  const own = await target(t, 'self-signed')
  t.equal(await get(t, `https://localhost:${own.port}`, other), 'hello', "and one of the file's")
})

t.test('a name with addresses of both kinds: the one that answers is found', async (t) => {
  const both = [
    { address: '::1', family: 6 },
    { address: '127.0.0.1', family: 4 },
  ]
  // Not every machine's localhost has both.
  for (const addresses of [both, both.toReversed()]) {
    const lookup = (_host: string, _options: object, done: (error: null, found: object[]) => void) =>
      done(null, addresses)
    t.intercept(dns, 'lookup', { value: lookup })
    for (const { address } of both) {
      const { port, requests } = await listening(t, createServer(), address)
      t.equal(await get(t, `http://api.localhost:${port}`, settings()), 'hello', `only ${address} listens`)
      t.equal(requests.length, 1)
    }
  }
})
