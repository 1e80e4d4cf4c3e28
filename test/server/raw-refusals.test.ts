// Twin of src/server/raw-refusals.ts: what comes in is no HTTP, or no request to answer to.
import { EventEmitter, once } from 'node:events'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { onClientError } from '../../src/server/raw-refusals.ts'
import { openSocket, sendRaw, startRig } from '../fixtures/proxy.ts'

t.test('bytes that are no HTTP, headers without end, and CONNECT are told so', async (t) => {
  const { port, fake } = await startRig(t)
  const cases: [string, number, string, RegExp][] = [
    ['hello there\r\n\r\n', 400, 'request_invalid', /no proper HTTP/],
    [`GET / HTTP/1.1\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`, 400, 'request_invalid', /too long/],
    ['CONNECT example.test:443 HTTP/1.1\r\nHost: localhost\r\n\r\n', 405, 'method_not_allowed', /CONNECT/],
  ]
  for (const [bytes, status, code, detail] of cases) {
    const answer = await sendRaw(port, bytes)
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `))
    t.match(answer, '\r\nConnection: close\r\n')
    t.match(answer, `\r\nProcore-Proxy-Error: ${code}\r\n`)
    t.match(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))), { code, detail, requestId: /.{36}/ })
  }
  t.equal(fake.journal.api().length, 0)
})

t.test('rubbish behind a whole request costs it nothing; the connection ends with its answer', async (t) => {
  const { port, fake } = await startRig(t)
  const request = (...lines: string[]) =>
    `GET /acme/rest/v1.0/slow HTTP/1.1\r\nHost: localhost\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`
  for (const first of [
    request('Connection: close'),
    request(),
    request('Connection: close', 'Upgrade: h2c'),
  ]) {
    fake.journal.clear()
    fake.faults.clear()
    fake.faults.api.push({ match: '/rest/v1.0/slow', delayMs: 100, body: 'whole' })
    const socket = await openSocket(port)
    socket.write(first)
    await fake.journal.when(({ url }) => url === '/rest/v1.0/slow')
    socket.write('hello there\r\n\r\n')
    socket.write('and more\r\n\r\n')
    let text = ''
    for await (const chunk of socket) text += chunk
    t.match(text, /^HTTP\/1\.1 200 .*whole/s, first)
    t.equal(text.match(/HTTP\/1\.1/g)?.length, 1, 'one answer, and then the end')
    t.equal(fake.journal.api().length, 1)
  }
})

t.test('nor does rubbish that goes on coming while the answer is taken', async (t) => {
  const { port, fake } = await startRig(t)
  const body = 'x'.repeat(3_000_000)
  fake.faults.api.push({ match: '/rest/v1.0/long', body })
  const socket = await openSocket(port)
  socket.write('GET /acme/rest/v1.0/long HTTP/1.1\r\nHost: localhost\r\n\r\n\0\u0001rubbish\r\n\r\n')
  const more = setInterval(() => socket.write('more'), 10)
  t.teardown(() => clearInterval(more))
  await sleep(300)
  let length = 0
  socket.on('data', (chunk) => {
    length += chunk.length
  })
  await once(socket, 'end')
  t.ok(length > body.length, `${length} bytes came`)
  socket.destroy()
})

/** As much of a socket as is used. */
class FakeSocket extends EventEmitter {
  writable = true
  destroyed = false
  sent = ''
  end(text: string, done: () => void): void {
    this.sent += text
    this.emit('error', new Error('broken'))
    done()
  }
  destroy(): void {
    this.destroyed = true
  }
}

t.test(
  'where nobody could read it, or the request under way is cut short, the socket just ends',
  async (t) => {
    const refuse = (code: string, over: Partial<FakeSocket> & { _httpMessage?: object } = {}) => {
      const socket = Object.assign(new FakeSocket(), over)
      onClientError(Object.assign(new Error('x'), { code }), socket as unknown as Duplex)
      t.ok(socket.destroyed)
      return socket.sent
    }
    t.equal(refuse('ECONNRESET'), '')
    t.equal(refuse('HPE_INVALID', { writable: false }), '')
    t.equal(refuse('HPE_INVALID', { _httpMessage: { req: { complete: false } } }), '')
    t.match(refuse('ERR_HTTP_REQUEST_TIMEOUT'), /did not arrive in time/)
  },
)
