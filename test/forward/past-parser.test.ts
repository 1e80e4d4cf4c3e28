// Twin of src/forward/past-parser.ts: large bodies are read past Node's parser, and nobody can tell but by the time.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setImmediate as settle, setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { LARGE_BYTES } from '../../src/forward/large-bodies.ts'
import { PastParser, readPast } from '../../src/forward/past-parser.ts'
import { openSocket, startRig } from '../fixtures/proxy.ts'

/** No two places of it look alike, so that nothing can change places unseen. */
function bodyOf(bytes: number, seed: number): Buffer {
  const body = Buffer.alloc(bytes)
  let state = seed
  for (let at = 0; at + 4 <= bytes; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    body.writeUInt32LE(state, at)
  }
  return body
}

const hashOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

const LONG_BYTES = 24_000_000

/** An API that answers with the hash of what it got, which it takes up after so long. */
async function startHashing(t: Test, { listen, delayMs = 0 }: { listen?: string; delayMs?: number } = {}) {
  const api = createServer(async (request, response) => {
    if (delayMs > 0) await sleep(delayMs)
    if (request.url === '/rest/v1.0/long') return response.end('x'.repeat(LONG_BYTES))
    const hash = createHash('sha256')
    let bytes = 0
    for await (const chunk of request) {
      hash.update(chunk)
      bytes += chunk.length
    }
    response.end(`${request.method} ${bytes} ${hash.digest('hex')}`)
  })
  api.listen(0, '127.0.0.1')
  await once(api, 'listening')
  t.teardown(() => api.close())
  const { port } = api.address() as { port: number }
  return startRig(t, {
    settings: (fake) => ({
      ...(listen !== undefined && { listen }),
      environments: { fake: { apiUrl: `http://127.0.0.1:${port}`, loginUrl: fake.loginUrl } },
    }),
  })
}

const headOf = (length: number, ...lines: string[]) =>
  [
    'POST /acme/rest/v1.0/files HTTP/1.1',
    'Host: localhost',
    ...lines,
    `Content-Length: ${length}`,
    '',
    '',
  ].join('\r\n')

/** Reads so many answers of text without chunks. */
function answersOf(socket: Socket, count: number): Promise<string[]> {
  return new Promise((resolve) => {
    let text = ''
    const read = (chunk: Buffer | string) => {
      text += chunk.toString('latin1')
      const bodies = text
        .split(/HTTP\/1\.1 \d+ .*\r\n/)
        .slice(1)
        .map((each) => each.slice(each.indexOf('\r\n\r\n') + 4))
      if (bodies.length < count || !bodies.every((body) => / [0-9a-f]{64}$/.test(body))) return
      socket.off('data', read)
      resolve(bodies)
    }
    socket.on('data', read)
  })
}

const told = (body: Buffer) => `POST ${body.length} ${hashOf(body)}`

/** Counts the connections that were taken over. */
function takenOver(t: Test): () => number {
  const original = PastParser.of
  let count = 0
  PastParser.of = (socket) => {
    const reader = original(socket)
    if (reader !== undefined) count++
    return reader
  }
  t.teardown(() => {
    PastParser.of = original
  })
  return () => count
}

t.test('this Node has the inside that it takes', async (t) => {
  const count = takenOver(t)
  const { port } = await startHashing(t)
  const socket = await openSocket(port)
  const body = bodyOf(3 * LARGE_BYTES, 1)
  socket.write(headOf(body.length))
  socket.write(body)
  t.strictSame(await answersOf(socket, 1), [told(body)])
  t.equal(count(), 1)
  socket.destroy()
})

t.test(
  'bodies come through whole, whatever their length and their pieces, one after the other',
  async (t) => {
    const count = takenOver(t)
    const { port } = await startHashing(t)
    const socket = await openSocket(port)
    let seed = 7
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
      return seed % below
    }
    for (const length of [
      10,
      LARGE_BYTES - 1,
      LARGE_BYTES,
      LARGE_BYTES + 1,
      64 * 1024,
      5 * LARGE_BYTES + 13,
      0,
      2 * LARGE_BYTES,
      7 * LARGE_BYTES,
      100,
    ]) {
      const body = bodyOf(length, length)
      const answers = answersOf(socket, 1)
      socket.write(headOf(length))
      for (let at = 0; at < length; ) {
        const size = random(4) === 0 ? 1 + random(50) : 1 + random(400_000)
        if (!socket.write(body.subarray(at, at + size))) await once(socket, 'drain')
        if (random(3) === 0) await settle()
        at += size
      }
      t.strictSame(await answers, [told(body)], `${length} bytes`)
    }
    t.equal(count(), 1, 'once for the connection')
    socket.destroy()
  },
)

t.test('a request right behind the body is the next one, and its body its own', async (t) => {
  const { port } = await startHashing(t)
  for (const [first, second] of [
    [2 * LARGE_BYTES, 20],
    [2 * LARGE_BYTES, 3 * LARGE_BYTES],
    [2 * LARGE_BYTES, 0],
    [3 * LARGE_BYTES, 70_000],
  ] as const) {
    const socket = await openSocket(port)
    const bodies = [bodyOf(first, 1), bodyOf(second, 2)]
    const answers = answersOf(socket, 2)
    socket.write(Buffer.concat(bodies.flatMap((body) => [Buffer.from(headOf(body.length)), body])))
    t.strictSame(await answers, bodies.map(told), `${first} and ${second}`)
    socket.destroy()
  }
})

t.test(
  'a body behind an answer that the caller does not take yet comes through, and so does what follows',
  async (t) => {
    const { port } = await startHashing(t)
    const socket = await openSocket(port)
    const body = bodyOf(3 * LARGE_BYTES, 8)
    const long = 'GET /acme/rest/v1.0/long HTTP/1.1\r\nHost: localhost\r\n\r\n'
    socket.write(long)
    await sleep(200)
    socket.write(Buffer.concat([Buffer.from(headOf(body.length)), body, Buffer.from(headOf(0))]))
    await sleep(200)
    const chunks: Buffer[] = []
    for await (const chunk of socket) {
      chunks.push(chunk)
      if (/ 0 [0-9a-f]{64}$/.test(chunk.toString('latin1'))) break
    }
    const text = Buffer.concat(chunks).toString('latin1')
    t.equal(text.match(/HTTP\/1\.1 200 OK/g)?.length, 3)
    t.equal(text.match(/x{100}/g)?.length, LONG_BYTES / 100)
    t.ok(text.includes(told(body)))
  },
)

t.test('many at once, more than there is memory to lend, each gets its own', async (t) => {
  const { port } = await startHashing(t)
  const all = await Promise.all(
    Array.from({ length: 40 }, async (_, nth) => {
      const body = bodyOf(2 * LARGE_BYTES + nth, nth)
      const socket = await openSocket(port)
      const answers = answersOf(socket, 1)
      socket.write(headOf(body.length))
      socket.write(body)
      const [answer] = await answers
      socket.destroy()
      return answer === told(body)
    }),
  )
  t.notOk(all.includes(false))
})

t.test('what the API has yet to take is never written over by what comes behind it', async (t) => {
  const { port } = await startHashing(t, { delayMs: 300 })
  const bodies = [1, 2, 3].map((seed) => bodyOf(24 * LARGE_BYTES, seed))
  const answers = bodies.map(async (body) => {
    const socket = await openSocket(port)
    const [answer] = await Promise.all([
      answersOf(socket, 1),
      socket.write(headOf(body.length)),
      socket.write(body),
    ])
    socket.destroy()
    return answer[0]
  })
  t.strictSame(await Promise.all(answers), bodies.map(told))
})

t.test('on a unix socket, too', async (t) => {
  const count = takenOver(t)
  const path = `/tmp/procore-proxy-${process.pid}.sock`
  await startHashing(t, { listen: `unix:${path}` })
  const socket = connect(path)
  const body = bodyOf(4 * LARGE_BYTES, 3)
  const answers = answersOf(socket, 1)
  socket.write(headOf(body.length))
  socket.write(body)
  t.strictSame(await answers, [told(body)])
  t.equal(count(), 1)
  socket.destroy()
})

t.test('an answer that comes early reaches the caller, who may send all of it and go on', async (t) => {
  const rig = await startRig(t)
  rig.fake.faults.api.push({
    match: '/rest/v1.0/files',
    times: 1,
    status: 413,
    body: 'too long',
    reads: 'never',
  })
  const socket = await openSocket(rig.port)
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  const body = bodyOf(24 * LARGE_BYTES, 4)
  socket.write(headOf(body.length))
  for (let at = 0; at < body.length; at += LARGE_BYTES) {
    if (!socket.write(body.subarray(at, at + LARGE_BYTES))) await once(socket, 'drain')
  }
  while (!text.includes('too long')) await once(socket, 'data')
  t.match(text, /^HTTP\/1\.1 413 /)
  text = ''
  socket.write('GET /acme/rest/v1.0/me HTTP/1.1\r\nHost: localhost\r\n\r\n')
  while (!/"id"/.test(text)) await once(socket, 'data')
  t.match(text, /^HTTP\/1\.1 200 /)
  socket.destroy()
})

t.test(
  'a caller that goes away in the middle ends the request; the API never takes it for whole',
  async (t) => {
    const rig = await startRig(t)
    const socket = await openSocket(rig.port)
    socket.write(headOf(20 * LARGE_BYTES))
    await new Promise((resolve) => socket.write(bodyOf(4 * LARGE_BYTES, 5), resolve))
    socket.destroy()
    const entry = await rig.fake.journal.when(({ aborted }) => aborted)
    t.ok(entry.bodyBytes < 20 * LARGE_BYTES)
    t.equal((await rig.get('/acme/rest/v1.0/me')).status, 200)
  },
)

t.test('an API that does not read holds the caller back', async (t) => {
  const rig = await startRig(t, { settings: { upstream: { responseTimeout: '2s' } } })
  rig.fake.faults.api.push({ match: '/rest/v1.0/files', hang: 'before', reads: 'never' })
  const socket = await openSocket(rig.port)
  const body = bodyOf(64 * LARGE_BYTES, 6)
  socket.write(headOf(body.length))
  socket.write(body)
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  while (text === '') await once(socket, 'data')
  t.match(text, /^HTTP\/1\.1 504 /)
  t.ok(socket.writableLength > 0, 'most of it was never taken')
  socket.destroy()
})

t.test(
  'where Node has another inside, or holds the caller back, the body comes from the request as before',
  async (t) => {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    const socket = connect((server.address() as { port: number }).port, '127.0.0.1')
    socket.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n')
    const [request] = (await once(server, 'request')) as [IncomingMessage]
    const plain = request.socket as Socket & { parser: object; _handle: object }
    t.equal(PastParser.of(new (class extends Object {})() as Socket), undefined, 'no parser')
    for (const [what, over] of [
      ['another parser', { parser: {} }],
      ['a parser without callbacks', { parser: Object.create({ constructor: { kOnBody: 3 } }) }],
      ['another handle', { _handle: {} }],
    ] as const) {
      const other = Object.create(plain, Object.getOwnPropertyDescriptors(over)) as Socket
      t.equal(PastParser.of(other), undefined, what)
    }
    const held = Object.assign(Object.create(request), {
      socket: Object.create(plain, { _paused: { value: true } }),
    })
    t.equal(
      readPast(held, 10, () => true),
      undefined,
      'Node holds it back',
    )
    t.equal(plain.listenerCount('data'), 1, 'and nothing was changed')
    const reader = readPast(request, 10, () => true)
    Object.assign(plain, { _paused: true })
    reader?.pause()
    reader?.resume()
    t.ok(plain.isPaused(), 'Node may come to hold it back later: what is read then would be thrown')
    Object.assign(plain, { _paused: false })
    reader?.resume()
    t.notOk(plain.isPaused())
    socket.destroy()
  },
)
