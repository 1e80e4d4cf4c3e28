// Covers src/fake/answer.ts.
import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { type ApiFault, Faults, json, play } from '../../src/fake/answer.ts'
import { Journal, listen } from '../../src/fake/listener.ts'

async function start(t: Test, fault: ApiFault) {
  const journal = new Journal()
  const made = { ordinary: 0 }
  const ordinary = async () => {
    made.ordinary += 1
    return json(201, { ordinary: true })
  }
  const options = { port: 0, journal, now: Date.now }
  const listener = await listen('api', options, (exchange) =>
    play(exchange, fault, { 'X-Base': '1' }, ordinary),
  )
  t.teardown(() => listener.close())
  return { journal, made, port: listener.port, url: `http://127.0.0.1:${listener.port}/rest/v1.0/me` }
}

t.test('the first rule that matches and is not used up strikes', async (t) => {
  const faults = new Faults()
  const single = faults.unauthorized({ times: 1, match: '/rest/' })
  const writes = faults.notConnected({ match: (method) => method === 'POST' })
  t.equal(faults.next(faults.api, 'GET', '/vapid/x'), undefined)
  t.equal(faults.next(faults.api, 'GET', '/rest/x'), single)
  t.equal(faults.next(faults.api, 'GET', '/rest/x'), undefined)
  t.equal(faults.next(faults.api, 'POST', '/rest/x'), writes)
  t.equal(faults.struck(single), 1)
  faults.token = { status: 500 }
  faults.clear()
  t.same([faults.token, faults.api, faults.storage], [undefined, [], []])
})

t.test('the ready-made faults say what Procore says', async (t) => {
  const faults = new Faults()
  t.match(faults.unauthorized(), { status: 401, message: 'The access token is invalid' })
  t.match(faults.notConnected(), { status: 403, message: 'App is not connected to this company.' })
  t.match(faults.rateLimited(), { status: 429, headers: {} })
  t.match(faults.rateLimited(7), { status: 429, headers: { 'Retry-After': '7' } })
  const rule = { headers: { 'X-Rate-Limit-Remaining': '5' } }
  t.same(faults.rateLimited(7, rule).headers, { 'Retry-After': '7', ...rule.headers })
  t.match(faults.unavailable(), { status: 503, headers: { 'Retry-After': '1' } })
  t.match(faults.hang(), { hang: 'before' })
  t.match(faults.reset(), { reset: 'before' })
  t.equal(faults.api.length, 8)
})

t.test('a fault with an answer takes the place of the ordinary one, which is not made', async (t) => {
  const cases: [ApiFault, number, string, string][] = [
    [{ status: 403, message: 'no' }, 403, '{"errors":["no"]}', 'application/json; charset=utf-8'],
    [{ body: '<p>' }, 200, '<p>', 'text/html; charset=utf-8'],
    [{ status: 502, body: '{}' }, 502, '{}', 'application/json; charset=utf-8'],
    [{ body: Buffer.from('x') }, 200, 'x', 'application/octet-stream'],
    [{ fillBytes: 8, headers: { 'Content-Type': 'a/b' } }, 200, 'procore-', 'a/b'],
  ]
  for (const [fault, status, body, type] of cases) {
    const { url, made } = await start(t, fault)
    const answer = await fetch(url)
    t.equal(answer.status, status)
    t.equal(answer.headers.get('content-type'), type)
    t.equal(answer.headers.get('x-base'), '1')
    t.equal(await answer.text(), body)
    t.equal(made.ordinary, 0)
  }
  const { url } = await start(t, { status: 500 })
  t.equal(await (await fetch(url)).text(), '')
})

t.test('a fault that only delays or adds headers leaves the ordinary answer', async (t) => {
  const { url } = await start(t, { delayMs: 5, headers: { 'x-base': '2', 'Keep-Alive': 'timeout=9' } })
  const answer = await fetch(url)
  t.equal(answer.status, 201)
  t.equal(answer.headers.get('x-base'), '2')
  t.equal(answer.headers.get('keep-alive'), 'timeout=9')
  t.same(await answer.json(), { ordinary: true })
})

t.test('raw bytes go out as they are', async (t) => {
  const { port } = await start(t, { raw: 'no HTTP at all' })
  const socket = connect(port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  t.equal(await text(socket), 'no HTTP at all')
})

t.test('a hanging fault answers nothing until the caller goes away', async (t) => {
  const { url, journal } = await start(t, { hang: true })
  const away = new AbortController()
  const call = fetch(url, { signal: away.signal })
  await journal.when(({ bodySha256 }) => bodySha256 !== '')
  away.abort()
  await t.rejects(call)
  t.match(await journal.when(({ answer }) => answer === 'cut'), { aborted: false })
})

t.test('a reset comes before the answer, or half way through it', async (t) => {
  const before = await start(t, { reset: true })
  await t.rejects(fetch(before.url))
  for (const fault of [{ reset: 'mid-body' }, { reset: 'mid-body', status: 200 }] as const) {
    const { url } = await start(t, fault)
    await t.rejects(fetch(url).then((answer) => answer.text()))
  }
})

t.test('half an answer and then nothing, with a length or chunked', async (t) => {
  for (const headers of [{}, { 'Transfer-Encoding': 'chunked' }]) {
    const { url } = await start(t, { hang: 'mid-body', body: 'abcdef', headers })
    const reader = (await fetch(url)).body!.getReader()
    t.equal(Buffer.from((await reader.read()).value!).toString(), 'abc')
    await reader.cancel()
  }
})

t.test('the body is read first, alongside the answer, or never', async (t) => {
  const early = await start(t, { status: 413, reads: 'alongside' })
  const socket = connect(early.port, '127.0.0.1')
  socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc')
  t.match(String((await once(socket, 'data'))[0]), 'HTTP/1.1 413')
  socket.destroy()
  t.match(await early.journal.when(({ bodyBytes }) => bodyBytes === 3), { status: 413 })
  const never = await start(t, { status: 200, reads: 'never' })
  await fetch(never.url, { method: 'POST', body: 'abc' })
  t.match(never.journal.api()[0], { bodyBytes: 0 })
})
