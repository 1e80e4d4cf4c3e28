// Attacks on time, sockets and memory: slow callers, floods, callers that never read; others are served meanwhile.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { attack, getOf, head, UNLIMITED } from '../fixtures/attacker.ts'
import { openSocket, type Rig, type Settings, startRig } from '../fixtures/proxy.ts'

const MB = 1024 * 1024
const PATH = '/acme/rest/v1.0/echo'

const start = (t: Test, settings: Settings = {}): Promise<Rig> => startRig(t, { fake: UNLIMITED!, settings })

async function openMany(t: Test, port: number, count: number, bytes: string): Promise<Socket[]> {
  const sockets = await Promise.all(Array.from({ length: count }, () => openSocket(port)))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (const socket of sockets) {
    socket.on('error', () => {})
    if (bytes !== '') socket.write(bytes)
  }
  return sockets
}

/** A good request of another caller, and how long it took. */
async function served(
  t: Test,
  rig: Rig,
  what: string,
  path = '/globex/rest/v1.0/me',
  withinMs = 2_000,
): Promise<void> {
  const before = performance.now()
  const { verdict } = await attack(rig, getOf(path), { patienceMs: withinMs })
  t.equal(verdict, '200', `${what}: others are served`)
  t.ok(performance.now() - before < withinMs, `${what}: in time`)
}

/** The server that took a request, whose limits can be read and shortened. */
async function serverOf(rig: Rig): Promise<Server> {
  let found: Server | undefined
  const look = (message: unknown) => {
    found ??= (message as { server: Server }).server
  }
  subscribe('http.server.request.start', look)
  const onPort = async () => {
    found = undefined
    await rig.get('/_proxy/health/live')
  }
  await onPort()
  unsubscribe('http.server.request.start', look)
  return found!
}

// CVE-2007-6750, Node CVE-2018-12122
t.test('slowloris: a head that does not come ends the connection within 20 s', async (t) => {
  const rig = await start(t)
  const server = await serverOf(rig)
  t.ok(server.listening)
  t.ok(server.headersTimeout > 0 && server.headersTimeout <= 20_000, `${server.headersTimeout} ms for a head`)
  // The same mechanism with less waiting; the server looks every two seconds.
  server.headersTimeout = 500
  const silent = await openMany(t, rig.port, 2, '')
  const dripping = await openMany(t, rig.port, 2, `GET ${PATH} HTTP/1.1\r\nHost: localhost\r\n`)
  const drip = setInterval(() => {
    for (const socket of dripping) if (socket.writable) socket.write('X: y\r\n')
  }, 200)
  t.teardown(() => clearInterval(drip))
  const ends = [...silent, ...dripping].map((socket) => {
    socket.resume()
    return once(socket, 'close')
  })
  const all = await Promise.race([Promise.all(ends).then(() => 'closed'), sleep(8_000, 'open')])
  t.equal(all, 'closed')
  t.equal(rig.fake.journal.api().length, 0)
})

t.test('500 half-open connections do not keep other callers out', async (t) => {
  const rig = await start(t)
  const before = process.memoryUsage().rss
  await openMany(t, rig.port, 250, '')
  await openMany(t, rig.port, 250, `POST ${PATH} HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(4_000)}`)
  for (let i = 0; i < 5; i++) await served(t, rig, 'half-open connections', '/acme/rest/v1.0/me')
  t.ok(process.memoryUsage().rss - before < 100 * MB, 'and cost little')
})

t.test('a flood of slow bodies to one company starves no other (R-U-Dead-Yet)', async (t) => {
  const rig = await start(t, { upstream: { connections: 4, maxQueued: 8, responseTimeout: '1s' } })
  const sockets = await openMany(
    t,
    rig.port,
    40,
    head(`POST ${PATH} HTTP/1.1`, 'Host: localhost', 'Content-Length: 1000000'),
  )
  await sleep(100)
  await served(t, rig, 'slow bodies')
  const crowded = await attack(rig, getOf('/acme/rest/v1.0/me'), { patienceMs: 500 })
  t.match(crowded.verdict, /^(?:503 overloaded|nothing)$/, 'the company itself is full')
  // Who sends nothing for upstream.responseTimeout loses its place.
  await sleep(2_500)
  await served(t, rig, 'after the time-out', '/acme/rest/v1.0/me', 4_000)
  for (const entry of rig.fake.journal.api())
    if (entry.method === 'POST') t.notOk(entry.answer === 'finished')
  for (const socket of sockets) socket.destroy()
})

t.test('a caller that was refused can’t go on sending for ever', async (t) => {
  const rig = await start(t)
  const bytes = head(`POST ${PATH} HTTP/1.1`, 'Host: evil.com', 'Transfer-Encoding: chunked')
  const [socket] = await openMany(t, rig.port, 1, bytes)
  socket!.resume()
  const drip = setInterval(() => {
    if (socket!.writable) socket!.write('1\r\nx\r\n')
  }, 50)
  t.teardown(() => clearInterval(drip))
  const closed = new Promise((resolve) => socket!.once('close', () => resolve('closed')))
  const end = await Promise.race([closed, sleep(6_000, 'open')])
  t.equal(end, 'closed', 'the connection of a refused upload ends')
})

t.test('beyond connections and queue a company is told overloaded, at once; another is served', async (t) => {
  const rig = await start(t, { upstream: { connections: 2, maxQueued: 3 } })
  rig.fake.faults.hang('before', { match: '/rest/v1.0/hangs' })
  await openMany(t, rig.port, 5, head('GET /acme/rest/v1.0/hangs HTTP/1.1', 'Host: localhost'))
  await rig.fake.journal.when(() => rig.fake.journal.api().length === 2)
  await sleep(50)
  for (let i = 0; i < 3; i++) {
    const outcome = await attack(rig, getOf('/acme/rest/v1.0/me'), { patienceMs: 1_000 })
    t.equal(outcome.verdict, '503 overloaded')
    t.match(outcome.answers[0]?.values('retry-after')[0], /^[1-9][0-9]*$/)
    t.equal(outcome.seen.length, 0)
  }
  await served(t, rig, 'a full queue')
})

t.test('each address has its part of the connections, also where the system chose the ports', async (t) => {
  const listen = ['127.0.0.1:0', '127.0.0.1:0']
  const rig = await start(t, { listen, upstream: { connections: 4 } })
  rig.fake.faults.hang('before', { match: '/rest/v1.0/hangs' })
  const [one, other] = rig.server.addresses().map(({ url }) => Number(new URL(url).port))
  await openMany(t, one!, 8, head('GET /acme/rest/v1.0/hangs HTTP/1.1', 'Host: localhost'))
  await rig.fake.journal.when(() => rig.fake.journal.api().length === 3)
  await served(t, { ...rig, port: other! }, 'eight from another address', '/acme/rest/v1.0/me')
})

t.test('a company that one caller alone can reach gives it all connections', async (t) => {
  const callers = {
    excel: { key: 'key-of-the-spreadsheet', companies: ['acme'] },
    bi: { key: 'key-of-the-dashboards', companies: ['globex'] },
  }
  const rig = await start(t, { callers, upstream: { connections: 4 } })
  rig.fake.faults.hang('before', { match: '/rest/v1.0/hangs' })
  const bytes = head(
    'GET /acme/rest/v1.0/hangs HTTP/1.1',
    'Host: localhost',
    `Procore-Proxy-Key: ${callers.excel.key}`,
  )
  await openMany(t, rig.port, 5, bytes)
  t.ok(await rig.fake.journal.when(() => rig.fake.journal.api().length === 4))
})

t.test('heads are bounded in bytes and in number (CVE-2018-12121’s class)', async (t) => {
  const rig = await start(t)
  const wide = await attack(rig, getOf(PATH, `X: ${'y'.repeat(14_000)}`))
  t.equal(wide.verdict, '200', '14 kB are a long head, but one')
  for (const lines of [
    [`X: ${'y'.repeat(33_000)}`],
    [`${'X'.repeat(33_000)}: y`],
    Array.from({ length: 40 }, (_, i) => `X-${i}: ${'y'.repeat(1_000)}`),
    Array.from({ length: 20_000 }, () => 'a:b'),
  ]) {
    const { verdict, closed, seen } = await attack(rig, getOf(PATH, ...lines), { lingerMs: 1_000 })
    t.match(verdict, /^(?:400 request_invalid|nothing)$/, `${lines.length} lines`)
    t.ok(closed)
    t.equal(seen.length, 0)
  }
  const [endless] = await openMany(t, rig.port, 1, `GET ${PATH} HTTP/1.1\r\nHost: localhost\r\nX: `)
  endless!.resume()
  let sent = 0
  while (!endless!.destroyed && sent < 20 * MB) {
    endless!.write('y'.repeat(10_000))
    sent += 10_000
    await sleep(1)
  }
  t.ok(sent < 5 * MB, `cut off after ${sent} bytes`)
})

t.test('callers that never read their answers cost little memory, and stop the API', async (t) => {
  const rig = await start(t)
  rig.fake.faults.api.push({ match: '/rest/v1.0/endless', fillBytes: Number.POSITIVE_INFINITY })
  const before = process.memoryUsage().rss
  const sockets = await openMany(
    t,
    rig.port,
    30,
    head('GET /acme/rest/v1.0/endless HTTP/1.1', 'Host: localhost'),
  )
  for (const socket of sockets) socket.pause()
  await sleep(1_500)
  const grown = process.memoryUsage().rss - before
  t.ok(grown < 200 * MB, `30 endless answers: ${Math.round(grown / MB)} MB, the fake's share with it`)
  await served(t, rig, 'unread answers', '/acme/rest/v1.0/me')
  for (const socket of sockets) socket.destroy()
  await Promise.all(
    rig.fake.journal
      .api()
      .filter(({ url }) => url.endsWith('endless'))
      .map((entry) => rig.fake.journal.when((each) => each === entry && each.answer !== 'pending')),
  )
})

t.test('of pipelined requests sixteen wait behind the first; more end the connection', async (t) => {
  const rig = await start(t, { upstream: { connections: 2, maxQueued: 10 } })
  const pipeline = (count: number) =>
    attack(rig, head('GET /acme/rest/v1.0/me HTTP/1.1', 'Host: localhost').repeat(count), { answers: count })
  t.strictSame(
    (await pipeline(17)).verdicts,
    Array.from({ length: 17 }, () => '200'),
  )
  const flood = await pipeline(1_000)
  t.ok(flood.closed)
  t.ok(flood.seen.length <= 17, `${flood.seen.length} went up`)
  await served(t, rig, 'after a pipeline', '/acme/rest/v1.0/me')
})
