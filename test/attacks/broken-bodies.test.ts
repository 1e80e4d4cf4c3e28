// Attacks with request bodies that break off or never end, at every moment of a request.
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { attack, getOf, head } from '../fixtures/attacker.ts'
import { fakeTime } from '../fixtures/clock.ts'
import { openSocket, type Rig, startRig } from '../fixtures/proxy.ts'
import { startRawUpstream } from '../fixtures/raw-upstream.ts'

const KEY = 'k3y-of-the-attacker-0001'
const post = (...lines: string[]) => head('POST /acme/rest/x HTTP/1.1', 'Host: localhost', ...lines)

/** Bodies that break: wrong chunks, a broken trailer, and an end in the middle. */
const BROKEN: readonly [name: string, bytes: string, ends: boolean][] = [
  ['no size', `${post('Transfer-Encoding: chunked')}5\r\nhello\r\nZZ\r\n`, false],
  ['wrong length', `${post('Transfer-Encoding: chunked')}2\r\nhello\r\n0\r\n\r\n`, false],
  ['bad trailer', `${post('Transfer-Encoding: chunked')}5\r\nhello\r\n0\r\nno trailer\r\n\r\n`, false],
  ['half, chunked', `${post('Transfer-Encoding: chunked')}5\r\nhel`, true],
  ['half, counted', `${post('Content-Length: 100')}half`, true],
]

t.test('A body that breaks while its request waits for a connection is answered, not sent', async (t) => {
  const released = Promise.withResolvers<void>()
  const upstream = await startRawUpstream(t, async ({ method }, socket) => {
    if (method === 'GET') await released.promise
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  })
  const rig = await startRig(t, {
    settings: ({ loginUrl }) => ({
      environments: { fake: { apiUrl: upstream.url, loginUrl } },
      upstream: { connections: 1 },
    }),
  })
  const holder = await openSocket(rig.port)
  t.teardown(() => holder.destroy())
  holder.write(getOf('/acme/rest/held'))
  while (upstream.requests.length === 0) await new Promise(setImmediate)
  const answers = BROKEN.map(async ([name, bytes, ends]) => {
    const socket = await openSocket(rig.port)
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('error', () => {})
    if (ends) socket.end(bytes)
    else socket.write(bytes)
    await once(socket, 'close')
    return { name, text }
  })
  while (rig.server.inFlight < 1 + BROKEN.length) await new Promise(setImmediate)
  released.resolve()
  for (const { name, text } of await Promise.all(answers)) {
    // A caller that has closed its half may get nothing.
    t.match(text, name.startsWith('half') ? /^(?:$|HTTP\/1\.1 400 )/ : /^HTTP\/1\.1 400 /, name)
  }
  t.equal(upstream.requests.filter(({ method }) => method === 'POST').length, 0)
  t.equal((await attack(rig, getOf('/_proxy/health/live'))).verdict, '200', 'the process lives')
})

const targets = ['/_proxy/health/live', '/_proxy/status', '/acme/rest/x', '/nothing']

/** A request with a body that never ends; all but those that read it are answered before it does. */
async function openEndless(t: Test, rig: Rig, target: string, method: string) {
  const socket = await openSocket(rig.port)
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  const answered = new Promise<void>((resolve) => socket.once('data', () => resolve()))
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.write(`${head(`${method} ${target} HTTP/1.1`, 'Host: localhost', 'Content-Length: 100')}a`)
  return { answered, closed }
}

t.test('A body that never ends holds no connection, with a key or without', async (t) => {
  const rig = await startRig(t, { settings: { callers: { one: { key: KEY } } } })
  const time = fakeTime(t)
  const logins = await Promise.all(
    ['/oauth/token', '/oauth/revoke'].map((target) => openEndless(t, rig, target, 'POST')),
  )
  while (rig.server.inFlight < logins.length) await time.settle()
  const others = await Promise.all(targets.map((target) => openEndless(t, rig, target, 'GET')))
  await Promise.all(others.map(({ answered }) => answered))
  while (rig.server.inFlight > logins.length) await time.settle()
  await time.pass(5_000)
  await Promise.all(others.map(({ closed }) => closed))
  await time.pass(10_000)
  await Promise.all(logins.map(({ closed }) => closed))
  while (rig.server.inFlight > 0) await time.settle()
  t.equal(rig.server.inFlight, 0)
})
