// Covers the servers of the tests' fake and their journal.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { startListener } from '../fixtures/fake.ts'
import {
  type Handler,
  Journal,
  type JournalEntry,
  type Listener,
  listen,
} from '../fixtures/procore-listener.ts'

const answerWhole: Handler = async ({ response, received }) => {
  await received()
  response.end('ok')
}

async function dial({ port }: Listener, bytes: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined)
  await once(socket, 'connect')
  socket.write(bytes)
  return socket
}

t.test('of a large body the beginning is kept and all of it hashed', async (t) => {
  const { journal, listener } = await startListener(t, answerWhole)
  const text = 'x'.repeat(200_000)
  const answer = await fetch(`http://127.0.0.1:${listener.port}/`, { method: 'POST', body: text })
  t.equal(await answer.text(), 'ok')
  const [entry] = journal.api()
  t.match(entry, { bodyBytes: 200_000, bodySha256: createHash('sha256').update(text).digest('hex') })
  t.equal(entry?.body?.length, 64 * 1024)
})

t.test('100 Continue goes out once the body is wanted', async (t) => {
  const { listener } = await startListener(t, answerWhole)
  const socket = await dial(
    listener,
    'POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n',
  )
  t.match(String((await once(socket, 'data'))[0]), 'HTTP/1.1 100 Continue')
  socket.write('ab')
  t.match(String((await once(socket, 'data'))[0]), 'HTTP/1.1 200 OK')
  socket.destroy()
})

t.test('a handler that fails ends the connection', async (t) => {
  const { journal, listener } = await startListener(t, async () => {
    throw new Error('made up')
  })
  await t.rejects(fetch(`http://127.0.0.1:${listener.port}/`))
  t.equal(journal.api()[0]?.answer, 'cut')
})

t.test('close() ends idle and busy connections, and a taken port is an error', async (t) => {
  const { journal, listener } = await startListener(t, async () => undefined)
  const options = { port: listener.port, journal }
  await t.rejects(listen('api', options, answerWhole), { code: 'EADDRINUSE' })
  const socket = await dial(listener, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await journal.when(({ method }) => method === 'GET')
  const other = await listen('api', { ...options, port: 0 }, answerWhole)
  await other.close()
  const ended = once(socket, 'close')
  socket.resume()
  await listener.close()
  await ended
  t.equal(listener.openSockets(), 0)
})

function entry(fields: Partial<JournalEntry> = {}): JournalEntry {
  return {
    ...{ server: 'api', at: 0, socket: 1, httpVersion: '1.1', method: 'GET', url: '/', rawHeaders: [] },
    ...{ headers: {}, bodyBytes: 0, bodySha256: '', aborted: false, answer: 'pending' },
    ...fields,
  }
}

t.test('beyond its limits the oldest entries and bodies go', async (t) => {
  const journal = new Journal()
  for (let at = 0; at < 20_500; at += 1) journal.add(entry({ at, body: 'abc' }))
  t.match([journal.entries.length, journal.entries[0]], [18_500, { at: 2_000 }])
  const kept = journal.entries.filter(({ body }) => body !== undefined)
  t.match([kept.length, kept[0]], [500, { at: 20_000 }])
})
