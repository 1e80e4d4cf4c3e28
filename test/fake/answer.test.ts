// Covers src/fake/answer.ts: framing of answers, looked at on the wire, and faults.
import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import {
  type Answer,
  apiError,
  type Ending,
  type Fault,
  Faults,
  json,
  mergeFields,
  play,
  send,
} from '../../src/fake/answer.ts'
import { startListener } from '../fixtures/fake.ts'

async function wire(t: Test, answer: Answer, method = 'GET', ending?: Ending): Promise<string> {
  const { port } = await startListener(t, (exchange) => send(exchange, answer, ending))
  const socket = connect(port, '127.0.0.1')
  socket.write(`${method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
  if (ending === undefined) return text(socket)
  let seen = ''
  socket.on('data', (chunk) => {
    seen += chunk
    if (ending === 'hang' && seen.endsWith('01234')) socket.destroy()
  })
  const errors: unknown[] = []
  socket.on('error', (error) => errors.push(error))
  await new Promise((closed) => socket.once('close', closed))
  t.equal(errors.length, ending === 'reset' ? 1 : 0)
  return seen
}

t.test('a body comes with its length, and HEAD with the length alone', async (t) => {
  t.match(await wire(t, { status: 200, body: 'abc' }), /Content-Length: 3\r\n[\s\S]*\r\n\r\nabc$/)
  t.match(await wire(t, { status: 200, body: 'abc' }, 'HEAD'), /Content-Length: 3\r\n[\s\S]*\r\n\r\n$/)
})

t.test('204 and 304 have neither body nor length', async (t) => {
  for (const status of [204, 304]) {
    const seen = await wire(t, { status, body: 'abc' })
    t.match(seen, new RegExp(`^HTTP/1.1 ${status} [\\s\\S]*\\r\\n\\r\\n$`))
    t.notMatch(seen, /content-length/i)
  }
})

t.test('filler is streamed with a length, chunked, or cut in half', async (t) => {
  t.match(
    await wire(t, { status: 200, fillBytes: 100_000 }),
    /Content-Length: 100000\r\n[\s\S]*\r\n\r\nprocore-/,
  )
  const chunked = await wire(t, { status: 200, headers: { 'Transfer-Encoding': 'chunked' }, fillBytes: 16 })
  t.match(chunked, /\r\n\r\n10\r\nprocore-procore-\r\n0\r\n\r\n$/)
  t.notMatch(chunked, /content-length/i)
  const half = await wire(t, { status: 200, fillBytes: 16 }, 'GET', 'reset')
  t.match(half, /Content-Length: 16\r\n[\s\S]*\r\n\r\nprocore-$/)
})

t.test('half an answer, then nothing or a reset', async (t) => {
  const answer = { status: 200, body: '0123456789' }
  for (const ending of ['hang', 'reset'] as const) {
    t.match(await wire(t, answer, 'GET', ending), /Content-Length: 10\r\n[\s\S]*\r\n\r\n01234$/)
  }
})

t.test('fields repeat where a list is given, and an empty list takes one off', async (t) => {
  const headers = mergeFields({ 'X-A': 'old', 'X-B': '1' }, { 'x-a': ['1', '2'], 'X-b': [] }, undefined)
  const seen = await wire(t, { status: 200, headers, body: '' })
  t.match(seen, 'x-a: 1\r\nx-a: 2\r\n')
  t.notMatch(seen, /x-b/i)
})

t.test('errors have the shape of the version', async (t) => {
  const body = (answer: Answer) => JSON.parse(String(answer.body))
  t.same(body(apiError('/rest/v1.0/me', 403, 'no')), { errors: ['no'] })
  const v2 = { error: { code: 'FORBIDDEN', message: 'no', details: [] } }
  t.same(body(apiError('/rest/v2.0/companies/1/projects', 403, 'no')), v2)
  t.equal(body(apiError('/rest/v2.1/x', 401, 'no')).error.code, 'INVALID_TOKEN')
  t.equal(body(apiError('/rest/v2.1/x', 422, 'no')).error.code, 'UNPROCESSABLE_ENTITY')
  t.equal(json(200, {}, { 'content-type': 'text/x' }).headers?.['content-type'], 'text/x')
})

async function start(t: Test, fault: Fault) {
  const made = { ordinary: 0 }
  const ordinary = async () => {
    made.ordinary += 1
    return json(201, { ordinary: true })
  }
  const server = await startListener(t, (exchange) => play(exchange, fault, { 'X-Base': '1' }, ordinary))
  return { ...server, made }
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
  faults.unauthorized()
  faults.notConnected({ message: 'no' })
  faults.rateLimited(7)
  faults.unavailable(1)
  faults.hang()
  faults.reset('mid-body', { times: 1 })
  t.match(faults.api, [
    { status: 401, message: 'The access token is invalid' },
    { status: 403, message: 'no' },
    { status: 429, message: /^You have surpassed/, headers: { 'Retry-After': '7' } },
    { status: 503, headers: { 'Retry-After': '1' } },
    { hang: 'before' },
    { reset: 'mid-body', times: 1 },
  ])
})

t.test('a fault with an answer takes the place of the ordinary one, which is not made', async (t) => {
  const cases: [Fault, number, string, string][] = [
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
