// Covers what the other tests do not tell of src/fake/answer.ts, and the faults of the tests' fake.
import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { type Answer, apiError, json } from '../../src/fake/answer.ts'
import { startListener } from '../fixtures/fake.ts'
import { type Fault, play } from '../fixtures/procore-faults.ts'

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
