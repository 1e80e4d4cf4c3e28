// Covers src/server/connections.ts: what comes in is no HTTP, or no request to answer to.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { createLogger } from '../../src/observe/log.ts'
import { CallerConnection, CallerConnections } from '../../src/server/connections.ts'
import { openSocket, sendRaw, startRig } from '../fixtures/proxy.ts'

const LOG = createLogger({ level: 'fatal', format: 'json' })

t.test('bytes that are no HTTP, headers without end, and CONNECT are told so', async (t) => {
  const folder = t.testdir()
  const { port, fake, log } = await startRig(t, { settings: { audit: { file: join(folder, 'audit.log') } } })
  const cases: [string, number, string, RegExp][] = [
    ['hello there\r\n\r\n', 400, 'request_invalid', /not a proper HTTP/],
    [`GET / HTTP/1.1\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`, 400, 'request_invalid', /too long/],
    ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400, 'request_invalid', /start of TLS: write http:/],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, 'request_invalid', /start of HTTP\/2/],
    [
      'CONNECT example.test:443 HTTP/1.1\r\nHost: localhost\r\n\r\n',
      405,
      'method_not_allowed',
      /HTTPS_PROXY/,
    ],
  ]
  for (const [bytes, status, code, detail] of cases) {
    const answer = await sendRaw(port, bytes)
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `))
    t.match(answer, '\r\nConnection: close\r\n')
    t.match(answer, `\r\nProcore-Proxy-Error: ${code}\r\n`)
    const problem = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))
    t.match(problem, { code, detail, requestId: /.{36}/ })
    const said = { reqId: problem.requestId, status, cause: code }
    const [, bytesOut] = /\r\nContent-Length: (\d+)/.exec(answer) ?? []
    t.match(log().at(-1), { ...said, bytesOut: Number(bytesOut), msg: 'request' })
    // It is written at the same time.
    const audited = () => readFileSync(join(folder, 'audit.log'), 'utf8').trim().split('\n').at(-1) ?? ''
    while (!audited().includes(problem.requestId)) await sleep(10)
    t.match(JSON.parse(audited()), said)
  }
  t.match(log().at(-1), { method: 'CONNECT', path: 'example.test:443' })
  t.equal(fake.journal.api().length, 0)
})

t.test('rubbish behind a whole request costs it nothing; the connection ends with its answer', async (t) => {
  const { port, fake } = await startRig(t)
  const request = (...lines: string[]) =>
    `GET /acme/rest/v1.0/slow HTTP/1.1\r\nHost: localhost\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`
  for (const first of [
    request('Connection: close'),
    request(),
    request('Connection: close', 'Upgrade: h2c'),
  ]) {
    fake.journal.clear()
    fake.faults.clear()
    fake.faults.api.push({ match: '/rest/v1.0/slow', delayMs: 100, body: 'whole' })
    const socket = await openSocket(port)
    socket.write(first)
    await fake.journal.when(({ url }) => url === '/rest/v1.0/slow')
    socket.write('hello there\r\n\r\n')
    socket.write('and more\r\n\r\n')
    let text = ''
    for await (const chunk of socket) text += chunk
    t.match(text, /^HTTP\/1\.1 200 .*whole/s, first)
    t.equal(text.match(/HTTP\/1\.1/g)?.length, 1, 'one answer, and then the end')
    t.equal(fake.journal.api().length, 1)
  }
})

t.test('an idle connection is closed in silence, half a head is told that it took too long', async (t) => {
  const refuse = async (bytesRead: number, code = 'ERR_HTTP_REQUEST_TIMEOUT', writable = true) => {
    let sent = ''
    const end = (text: string) => {
      sent += text
    }
    const socket = { bytesRead, writable, end, on: () => {}, destroy: () => {} } as unknown as Socket
    const connections = new CallerConnections(LOG)
    const address = { kind: 'tcp', host: '127.0.0.1', port: 1 } as const
    const connection = new CallerConnection(socket, { address, company: undefined }, connections)
    connection.onClientError(Object.assign(new Error('x'), { code }))
    await sleep(0)
    return sent
  }
  t.equal(await refuse(0), '')
  t.match(await refuse(5), /^HTTP\/1\.1 408 .*\r\nConnection: close\r\n/)
  t.equal(await refuse(5, 'ECONNRESET'), '')
  t.equal(await refuse(5, 'HPE_INVALID', false), '')
  t.match(await refuse(5, 'HPE_INVALID'), /^HTTP\/1\.1 400 /)
})

t.test('half a head from a caller that then vanishes keeps no connection open', async (t) => {
  const server = createServer({ headersTimeout: 1, connectionsCheckingInterval: 10 })
  const address = { kind: 'tcp', host: '127.0.0.1', port: 1 } as const
  new CallerConnections(LOG).acceptFrom(server, { address, company: undefined })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.write('GET / HTTP/1.1\r\n')
  t.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 408 /)
  await once(socket, 'end')
  // Its own half stays open, as that of a machine that was switched off.
  const isFree = async () => (await promisify(server.getConnections.bind(server))()) === 0
  for (let tries = 0; tries < 100 && !(await isFree()); tries++) await sleep(10)
  t.ok(await isFree())
  socket.destroy()
  await promisify(server.close.bind(server))()
})

t.test('a chunked body that breaks is 400, and ends the connection and what went up', async (t) => {
  const { port, fake } = await startRig(t)
  const socket = await openSocket(port)
  socket.write(
    'POST /acme/rest/v1.0/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
  )
  await fake.journal.when(({ server }) => server === 'api')
  socket.write('no size\r\n')
  let text = ''
  for await (const chunk of socket) text += chunk
  t.match(text, /^HTTP\/1\.1 400 .*\r\nProcore-Proxy-Error: request_invalid\r\n/s)
  await fake.journal.when(({ aborted }) => aborted)
})

t.test('a login whose body breaks is told so at once', async (t) => {
  const { port } = await startRig(t, { settings: { guard: { clientKeys: ['a-key-of-sixteen-or-more'] } } })
  for (const target of ['/oauth/token', '/oauth/revoke']) {
    const socket = await openSocket(port)
    socket.write(
      `POST ${target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n`,
    )
    let text = ''
    for await (const chunk of socket) text += chunk
    t.match(text, /^HTTP\/1\.1 400 .*\r\nProcore-Proxy-Error: request_invalid\r\n/s, target)
  }
})

t.test('CONNECT behind a request ends the connection, but only after the response to that', async (t) => {
  const { port, fake, server } = await startRig(t)
  const connectBehind = async () => {
    const socket = await openSocket(port)
    socket.on('error', () => {})
    socket.write('GET /acme/rest/v1.0/slow HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await fake.journal.when(({ url }) => url === '/rest/v1.0/slow')
    socket.write('CONNECT example.test:443 HTTP/1.1\r\nHost: localhost\r\n\r\n')
    return socket
  }
  fake.faults.api.push({ match: '/rest/v1.0/slow', delayMs: 100, body: 'whole' })
  let text = ''
  for await (const chunk of await connectBehind()) text += chunk
  t.match(text, /^HTTP\/1\.1 200 [\s\S]*whole$/)

  // A response that waits for its caller goes on when that reads again.
  fake.journal.clear()
  fake.faults.clear()
  fake.faults.api.push({ match: '/rest/v1.0/slow', fillBytes: 12_000_000 })
  const late = await connectBehind()
  await sleep(300)
  let bytes = 0
  for await (const chunk of late) bytes += chunk.length
  t.ok(bytes > 12_000_000, String(bytes))

  fake.journal.clear()
  fake.faults.clear()
  fake.faults.api.push({ match: '/rest/v1.0/slow', hang: 'before' })
  const socket = await connectBehind()
  socket.end()
  // A caller that leaves is noticed nonetheless.
  await fake.journal.when(({ answer }) => answer === 'cut')
  await once(socket.resume(), 'close')
  t.equal(server.inFlight, 0)

  // And one that resets its connection ends nothing else.
  fake.journal.clear()
  const resetting = await connectBehind()
  resetting.resetAndDestroy()
  await fake.journal.when(({ answer }) => answer === 'cut')
  t.equal(server.inFlight, 0)
})

t.test('an offer to upgrade that is ignored costs no request its response', async (t) => {
  const { port } = await startRig(t)
  const head = (method: string, name: string, ...lines: string[]) =>
    [`${method} /acme/rest/v1.0/echo/${name} HTTP/1.1`, 'Host: localhost', ...lines, '', ''].join('\r\n')
  const socket = await openSocket(port)
  const upgrade = ['Content-Length: 0', 'Connection: upgrade', 'Upgrade: h2c']
  socket.write(
    head('GET', 'one') + head('POST', 'two', 'Content-Length: 0') + head('POST', 'three', ...upgrade),
  )
  let text = ''
  for await (const chunk of socket) text += chunk
  t.equal(text.match(/HTTP\/1\.1 200/g)?.length, 3, text)
})

t.test('a request has one response, even if its body breaks after that', async (t) => {
  const { port } = await startRig(t)
  for (const target of ['/nothing', '/_proxy/status']) {
    const socket = await openSocket(port)
    const lines = ['Host: localhost', 'Transfer-Encoding: chunked']
    socket.write(`POST ${target} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n3\r\nabc\r\n`)
    let text = ''
    socket.once('data', () => socket.write('no size\r\n'))
    for await (const chunk of socket) text += chunk
    t.match(text, /^HTTP\/1\.1 404 /)
    t.equal(text.match(/HTTP\/1\.1/g)?.length, 1, text)
  }
})

t.test('more rubbish does not cost the first its response, which waits for the audit', async (t) => {
  const audited = Promise.withResolvers<void>()
  const seen: string[] = []
  const socket = {
    writable: true,
    on: () => {},
    pause: () => seen.push('paused'),
    destroy: () => seen.push('destroyed'),
    end: (text: string) => seen.push(text.slice(0, 12)),
  } as unknown as Socket
  const connections = new CallerConnections(LOG)
  connections.onUnread = () => audited.promise
  const address = { kind: 'tcp', host: '127.0.0.1', port: 1 } as const
  const connection = new CallerConnection(socket, { address, company: undefined }, connections)
  for (const code of ['HPE_INVALID', 'HPE_INVALID']) {
    connection.onClientError(Object.assign(new Error('x'), { code }))
  }
  audited.resolve()
  await sleep(0)
  t.strictSame(seen, ['paused', 'HTTP/1.1 400'])
})
