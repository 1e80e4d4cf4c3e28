// Twin of src/http1/origin-pools.ts: short questions, each answered as a whole or not at all.
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { networkSettings } from '../../src/config/outbound.ts'
import { OriginPools, type Question } from '../../src/http1/origin-pools.ts'
import { connector } from '../../src/network/connector.ts'
import { type RawRequest, startRawUpstream } from '../fixtures/raw-upstream.ts'
import { answer, until } from './asking.ts'

const question = (origin: string, parts: Partial<Question> = {}): Question => ({
  origin,
  method: 'GET',
  path: '/',
  headers: [],
  signal: new AbortController().signal,
  mostBytes: 100,
  ...parts,
})

async function start(t: Test, reply: (request: RawRequest, socket: Socket) => void) {
  const upstream = await startRawUpstream(t, reply)
  const pools = new OriginPools(connector(networkSettings({}, '', []), 5_000), 4_000)
  t.teardown(() => pools.destroy())
  return { upstream, pools, origin: upstream.url }
}

t.test('A question is answered as a whole', async (t) => {
  const { upstream, pools, origin } = await start(t, (_, socket) => {
    socket.write(answer('{"a":"\xc3\xa4"}'.replace('\xc3\xa4', 'ae'), 'Content-Type: application/json\r\n'))
  })
  const reply = await pools.ask(
    question(origin, { method: 'POST', path: '/oauth/token', headers: ['Accept', '*/*'], body: 'a=ä' }),
  )
  t.match(reply, { status: 200, head: { 'content-type': 'application/json' }, text: '{"a":"ae"}' })
  t.match(
    upstream.requests[0]?.text,
    /^POST \/oauth\/token HTTP\/1.1\r\nHost: 127\.0\.0\.1:[0-9]+\r\nAccept: /,
  )
  t.match(upstream.requests[0]?.text, /\r\nContent-Length: 4\r\n\r\na=\xc3\xa4$/)
  await pools.ask(question(origin, { mostBytes: 10 }))
  await pools.close()
  await t.rejects(pools.ask(question(origin)), { code: 'UND_ERR_CLOSED' })
  await t.rejects(pools.ask(question('http://127.0.0.1:1')), { code: 'UND_ERR_CLOSED' })
})

t.test('Of too long an answer nothing is kept', async (t) => {
  const { upstream, pools, origin } = await start(t, ({ target }, socket) => {
    socket.write(target === '/long' ? `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(11)}` : answer('x'.repeat(10)))
  })
  t.match(await pools.ask(question(origin, { path: '/long', mostBytes: 10 })), {
    status: 200,
    text: undefined,
  })
  t.match(await pools.ask(question(origin, { mostBytes: 10 })), { text: 'x'.repeat(10) })
  t.equal(upstream.requests[1]?.connection, 2)
})

t.test('It can be given up before, while and after it is asked', async (t) => {
  const { upstream, pools, origin } = await start(t, ({ target }, socket) => {
    if (target !== '/silent') socket.write(answer('fine'))
  })
  const reason = new Error('given up')
  await t.rejects(pools.ask(question(origin, { signal: AbortSignal.abort(reason) })), reason)
  t.equal(upstream.requests.length, 0)
  const connecting = new AbortController()
  const early = pools.ask(question(origin, { path: '/never', signal: connecting.signal }))
  connecting.abort(reason)
  await t.rejects(early, reason)
  const waiting = new AbortController()
  const silent = pools.ask(question(origin, { path: '/silent', signal: waiting.signal }))
  await until(() => upstream.requests.length === 1)
  waiting.abort(reason)
  await t.rejects(silent, reason)
  const late = new AbortController()
  t.match(await pools.ask(question(origin, { signal: late.signal })), { text: 'fine' })
  late.abort(reason)
  t.match(await pools.ask(question(origin)), { text: 'fine' })
  t.strictSame(
    upstream.requests.map(({ target }) => target),
    ['/silent', '/', '/'],
  )
})

t.test('What fails rejects, and destroy() ends what is under way', async (t) => {
  const { upstream, pools, origin } = await start(t, ({ target }, socket) => {
    if (target === '/cut') socket.end('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell')
  })
  await t.rejects(pools.ask(question(origin, { path: '/cut' })), { code: 'UND_ERR_SOCKET' })
  await t.rejects(pools.ask(question('http://127.0.0.1:1')), { code: 'ECONNREFUSED' })
  await t.rejects(pools.ask(question('http://[::1]:1')), { code: /^E/ })
  await t.rejects(pools.ask(question('no origin')), { code: 'ERR_INVALID_URL' })
  const asked = t.rejects(pools.ask(question(origin)), { code: 'UND_ERR_DESTROYED' })
  await until(() => upstream.requests.length === 2)
  await pools.destroy()
  await asked
})
