// Covers src/forward/forwarding.ts and src/forward/forwarder.ts, over real sockets against the fake Procore
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fastify } from 'fastify'
import t, { type Test } from 'tap'
import type { ApiFault } from '../../src/fake/faults.ts'
import type { Dispatch } from '../../src/forward/dispatch.ts'
import type { Passage } from '../../src/forward/forwarder.ts'
import { registerForwarder } from '../../src/forward/http-proxy.ts'
import type { Upstream } from '../../src/forward/upstreams.ts'
import { NEVER_SENT } from '../../src/http1/handler.ts'
import { startExchange } from '../../src/observe/exchange.ts'
import { errorText } from '../../src/observe/log.ts'
import { testEnvironment } from '../fixtures/config.ts'
import { openSocket, type Rig, type RigOptions, sendRaw, startRig } from '../fixtures/proxy.ts'

/** A rig whose upstream settings are these, with a short time limit unless they say otherwise. */
function rig(t: Test, upstream: Record<string, unknown> = {}, more: RigOptions = {}): Promise<Rig> {
  const settings = { upstream: { responseTimeout: '200ms', retries: 0, ...upstream } }
  return startRig(t, { settings, ...more })
}

const HEAD = 'HTTP/1.1\r\nHost: localhost\r\n'
const requests = (it: Rig) => it.log().filter((line) => line['msg'] === 'request')

/** A socket of a caller that collects what comes. */
async function caller(t: Test, port: number) {
  const socket = await openSocket(port)
  t.teardown(() => socket.destroy())
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  socket.on('error', () => {})
  return {
    socket,
    text: () => text,
    until: async (pattern: RegExp) => {
      while (!pattern.test(text)) await once(socket, 'data')
      return text
    },
  }
}

t.test('An API that does not answer in time is a timeout; so is one that stops', async (t) => {
  const it = await rig(t)
  it.fake.faults.hang('before', { match: '/rest/v1.0/hangs' })
  const answer = await it.get('/acme/rest/v1.0/hangs')
  t.equal(answer.status, 504)
  t.match(answer.json, { code: 'upstream_timeout', company: 'acme' })
  t.equal(answer.headers['procore-proxy-error'], 'upstream_timeout')
  t.match(answer.headers['proxy-status'], 'error=connection_read_timeout')
  it.fake.faults.api.push({ match: '/rest/v1.0/stops', status: 200, body: 'x'.repeat(100), hang: 'mid-body' })
  await t.rejects(it.get('/acme/rest/v1.0/stops'), 'broken off')
  t.match(requests(it), [
    { cause: 'upstream_timeout', status: 504 },
    { cause: 'upstream_timeout', status: 200, bytesOut: 50 },
  ])
})

t.test('A slow but steady upload may take longer than the time limit', async (t) => {
  const it = await rig(t)
  const { socket, until } = await caller(t, it.port)
  socket.write(`POST /acme/rest/v1.0/files ${HEAD}Content-Length: 8\r\n\r\n`)
  for (let i = 0; i < 8; i++) {
    await sleep(60)
    socket.write('x')
  }
  t.match(await until(/\r\n\r\n/), /^HTTP\/1\.1 201/)
  t.equal(it.fake.journal.api().at(-1)?.body, 'xxxxxxxx')
})

t.test('An upload that stalls is the caller’s fault; after its end the API has the whole time', async (t) => {
  const it = await rig(t, { responseTimeout: '300ms' })
  const stalled = await caller(t, it.port)
  stalled.socket.write(`POST /acme/rest/v1.0/files ${HEAD}Content-Length: 8\r\n\r\nhalf`)
  const text = await stalled.until(/"code"/)
  t.match(text, /^HTTP\/1\.1 400/)
  t.match(text, /request_invalid/)
  it.fake.faults.api.push({ match: '/rest/v1.0/files', delayMs: 200 })
  const late = await caller(t, it.port)
  late.socket.write(`POST /acme/rest/v1.0/files ${HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n`)
  await sleep(200)
  late.socket.write('0\r\n\r\n')
  t.match(await late.until(/\r\n\r\n/), /^HTTP\/1\.1 201/)
  it.fake.faults.clear()
  it.fake.faults.hang('before', { match: '/rest/v1.0/files' })
  const whole = await it.get('/acme/rest/v1.0/files', { method: 'POST', body: 'x' })
  t.equal(whole.status, 504, 'one that is whole is not')
})

t.test('A caller that reads slowly is not taken for a slow API', async (t) => {
  const it = await rig(t)
  const { socket } = await caller(t, it.port)
  socket.pause()
  const bytes = 20_000_000
  socket.write(`GET /acme/rest/v1.0/large?bytes=${bytes} ${HEAD}Connection: close\r\n\r\n`)
  await sleep(600)
  let got = 0
  socket.on('data', (chunk) => {
    got += chunk.length
  })
  socket.resume()
  await once(socket, 'close')
  t.ok(got > bytes, 'all of it')
  t.match(requests(it).at(-1), { status: 200, bytesOut: bytes })
  t.notOk('cause' in requests(it).at(-1)!)
})

t.test('A caller that leaves in the middle of a slow read is no fault', async (t) => {
  const it = await rig(t)
  const { socket } = await caller(t, it.port)
  socket.pause()
  socket.write(`GET /acme/rest/v1.0/large?bytes=20000000 ${HEAD}\r\n`)
  await it.fake.journal.when((entry) => entry.server === 'api')
  await sleep(100)
  socket.destroy()
  await it.fake.journal.when((entry) => entry.server === 'api' && entry.answer === 'cut')
  while (requests(it).length === 0) await sleep(5)
  t.match(requests(it)[0], { cause: 'caller_gone' })
})

t.test('A caller that leaves in the middle of its upload is no fault', async (t) => {
  const it = await rig(t, { responseTimeout: '5s' })
  const { socket } = await caller(t, it.port)
  socket.write(`POST /acme/rest/v1.0/files ${HEAD}Content-Length: 1000\r\n\r\nhalf`)
  await it.fake.journal.when((entry) => entry.server === 'api')
  socket.resetAndDestroy()
  await it.fake.journal.when((entry) => entry.aborted)
  while (requests(it).length === 0) await sleep(5)
  t.match(requests(it), [{ cause: 'caller_gone', status: null, bytesIn: 4 }])
})

/** An API of raw bytes: gives each connection these, and ends it where told. */
const raw = (bytes: string | Buffer): ApiFault => ({ match: '/rest/v1.0/raw', raw: bytes })

t.test('Informational answers are passed over', async (t) => {
  const it = await rig(t)
  const early = 'HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n'
  it.fake.faults.api = [
    raw(`${early}HTTP/1.1 102 Processing\r\n\r\n${early}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`),
  ]
  const answer = await it.get('/acme/rest/v1.0/raw')
  t.equal(answer.status, 200)
  t.equal(answer.text, 'ok')
  t.notOk(answer.headers['link'])
})

t.test('What is no proper HTTP is a protocol error, and nothing of it is shown', async (t) => {
  const it = await rig(t)
  const bodies: [what: string, bytes: string | Buffer][] = [
    ['garbage', 's3cret garbage\r\n\r\n'],
    ['nothing', ''],
    ['half a head', 'HTTP/1.1 200 OK\r\nX-A: s3cret'],
    ['a control character in a value', 'HTTP/1.1 200 OK\r\nX-A: s3cret\x01\r\nContent-Length: 0\r\n\r\n'],
    ['DEL in a value', 'HTTP/1.1 200 OK\r\nX-A: s3cret\x7f\r\nContent-Length: 0\r\n\r\n'],
    ['NUL in a value', 'HTTP/1.1 200 OK\r\nX-A: s3cret\0\r\nContent-Length: 0\r\n\r\n'],
    ['a space in a name', 'HTTP/1.1 200 OK\r\nX A: s3cret\r\nContent-Length: 0\r\n\r\n'],
    ['a bad length', 'HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\ns3cret'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\ns3cret'],
    [
      'length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a switch of protocols', 'HTTP/1.1 101 OK\r\nConnection: upgrade\r\nUpgrade: s3cret\r\n\r\n'],
    ['too many headers', `HTTP/1.1 200 OK\r\n${'X-A: s3cret-s3cret\r\n'.repeat(2000)}\r\n`],
  ]
  for (const [what, bytes] of bodies) {
    it.fake.faults.api = [raw(bytes)]
    const answer = await it.get('/acme/rest/v1.0/raw')
    t.equal(answer.status, 502, what)
    t.match(answer.json, { code: 'upstream_protocol' }, what)
    t.notMatch(answer.text + JSON.stringify(answer.headers) + it.logText(), 's3cret', what)
  }
})

t.test('A reason phrase is passed on byte for byte, or left out', async (t) => {
  const it = await rig(t)
  const line = async (phrase: Buffer) => {
    it.fake.faults.api = [
      raw(
        Buffer.concat([Buffer.from('HTTP/1.1 200 '), phrase, Buffer.from('\r\nContent-Length: 2\r\n\r\nok')]),
      ),
    ]
    return (await sendRaw(it.port, `GET /acme/rest/v1.0/raw ${HEAD}Connection: close\r\n\r\n`)).split(
      '\r\n',
    )[0]
  }
  const latin = (text: string) => Buffer.from(text).toString('latin1')
  t.equal(await line(Buffer.from('Fine')), 'HTTP/1.1 200 Fine')
  t.equal(await line(Buffer.from('D’accord é')), `HTTP/1.1 200 ${latin('D’accord é')}`)
  t.match(await line(Buffer.from([0xe9, 0xff])), /^HTTP\/1\.1 200 /)
  t.equal(await line(Buffer.from('x\x01y')), 'HTTP/1.1 200 OK')
  t.equal(await line(Buffer.from('')), 'HTTP/1.1 200 OK')
})

t.test('Header bytes beyond ASCII come through', async (t) => {
  const it = await rig(t)
  it.fake.faults.api = [
    raw(Buffer.from('HTTP/1.1 200 OK\r\nX-A: caf\xe9 \xff\r\nContent-Length: 0\r\n\r\n', 'latin1')),
  ]
  const answer = await sendRaw(it.port, `GET /acme/rest/v1.0/raw ${HEAD}Connection: close\r\n\r\n`)
  t.match(answer, /\r\nX-A: caf\xe9 \xff\r\n/)
})

t.test(
  'An answer that is shorter than it said is broken off, with an end that is no clean one',
  async (t) => {
    const it = await rig(t)
    it.fake.faults.api = [raw('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')]
    const { socket, until, text } = await caller(t, it.port)
    socket.write(`GET /acme/rest/v1.0/raw ${HEAD}\r\n`)
    await until(/half/)
    if (!socket.destroyed) await once(socket, 'close')
    t.match(text(), /\r\nContent-Length: 10\r\n/)
    t.match(text(), /\r\n\r\nhalf$/)
    while (requests(it).length === 0) await sleep(5)
    t.match(requests(it), [{ cause: 'upstream_protocol', status: 200, bytesOut: 4 }])
    it.fake.faults.api = [raw('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz')]
    const chunked = await sendRaw(it.port, `GET /acme/rest/v1.0/raw ${HEAD}\r\n`)
    t.match(chunked, /half\r\n$/)
  },
)

t.test('An API that can’t be reached', async (t) => {
  const it = await rig(t, {}, { cold: false })
  it.fake.faults.api = []
  const lonely = createServer().listen(0, '127.0.0.1')
  await once(lonely, 'listening')
  const { port } = lonely.address() as { port: number }
  lonely.close()
  await once(lonely, 'close')
  const environments = { gone: { apiUrl: `http://127.0.0.1:${port}`, loginUrl: it.fake.loginUrl } }
  const serviceAccounts = { app: { clientId: 'demo-client', clientSecret: 'demo-secret' } }
  const gone = await startRig(t, {
    settings: (fake) => ({
      environment: 'gone',
      environments: { gone: { ...environments.gone, loginUrl: fake.loginUrl } },
      serviceAccounts,
      upstream: { retries: 0 },
    }),
  })
  for (const method of ['GET', 'POST', 'HEAD'] as const) {
    const answer = await gone.get('/acme/rest/v1.0/x', { method, ...(method === 'POST' && { body: 'x' }) })
    t.equal(answer.status, 502, method)
    t.equal(answer.headers['procore-proxy-error'], 'upstream_unreachable')
    t.match(answer.headers['proxy-status'], 'connection_refused')
    t.equal(answer.text === '', method === 'HEAD')
  }
})

t.test('A connection that does not come about in time', async (t) => {
  // A server that takes no part in TLS: the connection is there, the handshake never ends.
  const sockets = new Set<Socket>()
  const mute = createServer((socket) => void sockets.add(socket)).listen(0, '127.0.0.1')
  await once(mute, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    mute.close()
  })
  const { port } = mute.address() as { port: number }
  const it = await startRig(t, {
    settings: (fake) => ({
      environment: 'mute',
      environments: { mute: { apiUrl: `https://127.0.0.1:${port}`, loginUrl: fake.loginUrl } },
      upstream: { connectTimeout: '200ms', retries: 0 },
    }),
  })
  const answer = await it.get('/acme/rest/v1.0/x')
  t.equal(answer.status, 504)
  t.match(answer.json, { code: 'upstream_timeout' })
  t.match(answer.headers['proxy-status'], 'error=connection_timeout')
})

t.test('Beyond connections and queue it is overloaded; who waits is served in turn', async (t) => {
  for (const maxQueued of [0, 1]) {
    const it = await rig(t, { connections: 1, maxQueued, responseTimeout: '10s' })
    const first = await caller(t, it.port)
    it.fake.faults.hang('before', { match: '/rest/v1.0/hangs' })
    first.socket.write(`GET /acme/rest/v1.0/hangs ${HEAD}\r\n`)
    await it.fake.journal.when((entry) => entry.url === '/rest/v1.0/hangs')
    const waiting = maxQueued === 1 ? [it.get('/acme/rest/v1.0/me')] : []
    // The one that waits has no mark outside: the refused one comes after it on the same loop.
    await sleep(50)
    const answer = await it.get('/acme/rest/v1.0/me', { headers: { 'X-Request-Id': 'mine' } })
    t.equal(answer.status, 503)
    t.match(answer.json, { code: 'overloaded', company: 'acme', requestId: 'mine' })
    t.equal(answer.headers['retry-after'], '1')
    t.match(answer.headers['proxy-status'], 'error=connection_limit_reached')
    t.equal((await it.get('/globex/rest/v1.0/me')).status, 200, 'another company has connections of its own')
    first.socket.destroy()
    await it.fake.journal.when((entry) => entry.answer === 'cut')
    for (const each of waiting) t.equal((await each).status, 200)
    t.equal((await it.get('/acme/rest/v1.0/me')).status, 200)
  }
})

t.test('Callers that leave the queue leave nothing behind, and cost no connection', async (t) => {
  const it = await rig(t, { connections: 1, maxQueued: 3, responseTimeout: '10s' })
  t.equal((await it.get('/acme/rest/v1.0/me')).status, 200)
  const gate = it.fake.faults.hang('before', { match: '/rest/v1.0/hangs' })
  t.ok(gate)
  it.fake.faults.api = [{ match: '/rest/v1.0/slow', delayMs: 700, status: 200, body: 'slow' }]
  const slow = it.get('/acme/rest/v1.0/slow')
  const { socket: serial } = await it.fake.journal.when((entry) => entry.url === '/rest/v1.0/slow')
  for (let round = 0; round < 4; round++) {
    const leaving = await Promise.all([1, 2, 3].map(() => openSocket(it.port)))
    const before = requests(it).length
    for (const socket of leaving) socket.write(`POST /acme/rest/v1.0/left ${HEAD}Content-Length: 1\r\n\r\nx`)
    await sleep(40)
    for (const socket of leaving) socket.destroy()
    while (requests(it).length < before + 3) await sleep(5)
  }
  const answer = await it.get('/acme/rest/v1.0/me')
  t.equal(answer.status, 200, 'there is room in the queue')
  t.equal((await slow).text, 'slow')
  t.equal(it.fake.journal.api().at(-1)?.socket, serial, 'on the same connection')
  t.notOk(
    it.fake.journal.api().some(({ url }) => url === '/rest/v1.0/left'),
    'nothing is sent for those who left',
  )
})

t.test('HEAD, empty and closing 401s are replayed like others', async (t) => {
  for (const [method, headers] of [
    ['HEAD', {}],
    ['GET', { Connection: 'close' }],
    ['GET', { 'Transfer-Encoding': 'chunked' }],
    ['DELETE', {}],
  ] as const) {
    const it = await rig(t, { responseTimeout: '5s' })
    it.fake.faults.unauthorized({ times: 1, headers })
    const answer = await it.get('/acme/rest/v1.0/echo', { method })
    t.equal(answer.status, 200, method)
    t.notOk(answer.headers['procore-proxy-error'])
    t.strictSame(
      it.fake.journal.api().map(({ method, tokenSerial, status }) => [method, tokenSerial, status]),
      [
        [method, 1, 401],
        [method, 2, 200],
      ],
    )
    t.match(requests(it), [{ retries: 1, status: 200 }])
  }
})

t.test('A renewal that takes longer than the API may take is no timeout of the API', async (t) => {
  const it = await rig(t, { responseTimeout: '100ms' })
  it.fake.faults.unauthorized({ times: 1 })
  it.fake.faults.token = { delayMs: 400, times: 1 }
  const answer = await it.get('/acme/rest/v1.0/echo', { method: 'POST', body: 'kept' })
  t.equal(answer.status, 200)
  t.strictSame(
    it.fake.journal.api().map(({ status, body }) => [status, body]),
    [
      [401, 'kept'],
      [200, 'kept'],
    ],
  )
})

t.test('Nor is one that takes long and fails: the 401 passes, with its body', async (t) => {
  const it = await rig(t, { responseTimeout: '100ms' })
  it.fake.faults.unauthorized({ times: 1, message: 'the first one' })
  it.fake.faults.token = { delayMs: 400, status: 401, body: '{"error":"invalid_client"}' }
  const answer = await it.get('/acme/rest/v1.0/echo')
  t.equal(answer.status, 401)
  t.match(answer.text, 'the first one')
  t.notOk(answer.headers['procore-proxy-error'], 'it is Procore’s answer')
  t.equal(it.fake.journal.api().length, 1)
})

t.test('A caller that leaves while the token is renewed is not sent for again', async (t) => {
  const it = await rig(t, { responseTimeout: '5s' })
  it.fake.faults.unauthorized({ times: 1 })
  it.fake.faults.token = { delayMs: 200, times: 1 }
  const { socket } = await caller(t, it.port)
  socket.write(`GET /acme/rest/v1.0/me ${HEAD}\r\n`)
  await it.fake.journal.when((entry) => entry.server === 'login' && entry.answer === 'pending')
  socket.destroy()
  while (it.fake.issuedTokens().length < 2) await sleep(10)
  await it.get('/acme/rest/v1.0/echo')
  t.strictSame(
    it.fake.journal.api().map(({ url }) => url),
    ['/rest/v1.0/me', '/rest/v1.0/echo'],
  )
})

t.test('100 Continue is said once, also where the request is sent twice', async (t) => {
  const it = await rig(t, { responseTimeout: '5s' })
  it.fake.faults.unauthorized({ times: 1 })
  const { socket, until, text } = await caller(t, it.port)
  socket.write(`POST /acme/rest/v1.0/files ${HEAD}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n`)
  await until(/100 Continue\r\n\r\n/)
  socket.write('kept')
  await until(/ 201 /)
  t.equal(text().split(' 100 Continue').length, 2)
  t.strictSame(
    it.fake.journal.api().map(({ status, body }) => [status, body]),
    [
      [401, 'kept'],
      [201, 'kept'],
    ],
  )
})

t.test('Where only the end of the connection ends the body, a broken answer is a reset', async (t) => {
  const it = await rig(t)
  it.fake.faults.api = [raw('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n')]
  const socket = await openSocket(it.port)
  t.teardown(() => socket.destroy())
  socket.write('GET /acme/rest/v1.0/raw HTTP/1.0\r\nHost: localhost\r\n\r\n')
  socket.resume()
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  t.equal(error.code, 'ECONNRESET')
})

/** What a caller gets where an upstream's dispatch is this. */
async function dispatched(t: Test, dispatch: Dispatch) {
  const app = fastify()
  t.teardown(() => app.close())
  const upstream = {
    settings: { responseTimeoutMs: 1000, connections: 1, maxQueued: 0, connectTimeoutMs: 1, retries: 0 },
    environment: testEnvironment(),
    host: 'x',
    companyId: '1',
    inFlight: 0,
    budget: { waiting: 0 },
    enter: () => {},
    leave: () => {},
    dispatch,
  } as unknown as Upstream
  const exchange = startExchange('id', 'GET', '/x')
  const base = { origin: 'http://localhost', prefix: '' }
  await registerForwarder(app, () => {
    return { exchange, upstream, company: 'acme', path: '/x', base, extra: undefined } as unknown as Passage
  })
  return { answer: await app.inject('/'), exchange }
}

t.test('What is thrown on the way is answered as our own failure', async (t) => {
  const { answer, exchange } = await dispatched(t, () => {
    throw new Error('s3cret')
  })
  t.equal(answer.statusCode, 500)
  t.match(answer.json(), { code: 'internal_error' })
  t.notMatch(answer.body, 's3cret')
  t.match(errorText(exchange.error), 's3cret', 'the log has it')
})

t.test('A head that Node would not write is a protocol error', async (t) => {
  const { answer } = await dispatched(t, (_options, handler) => {
    const controller = {
      ...NEVER_SENT,
      rawHeaders: ['X-A', 's3cret\x01'],
      abort: (reason: Error) => handler.onResponseError?.(controller, reason),
    }
    handler.onRequestStart?.(controller, undefined)
    handler.onResponseStart?.(controller, 200, {}, 'Fine')
    return true
  })
  t.equal(answer.statusCode, 502)
  t.equal(answer.statusMessage, 'Bad Gateway', 'nothing of the other head is left')
  t.match(answer.json(), { code: 'upstream_protocol' })
  t.notMatch(answer.body, 's3cret')
})
