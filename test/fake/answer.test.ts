// Covers src/fake/answer.ts: framing of answers, looked at on the wire.
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { type Answer, apiError, type Ending, json, mergeFields, send } from '../../src/fake/answer.ts'
import { Journal, listen } from '../../src/fake/listener.ts'

async function wire(t: Test, answer: Answer, method = 'GET', ending?: Ending): Promise<string> {
  const journal = new Journal()
  const options = { port: 0, journal, now: Date.now }
  const listener = await listen('api', options, (exchange) => send(exchange, answer, ending))
  t.teardown(() => listener.close())
  const socket = connect(listener.port, '127.0.0.1')
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
  t.equal(body(apiError('/rest/v2.1/x', 418, 'no')).error.code, 'ERROR')
  t.equal(json(200, {}, { 'content-type': 'text/x' }).headers?.['content-type'], 'text/x')
})
