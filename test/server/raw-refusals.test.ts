// Twin of src/server/raw-refusals.ts: what comes in is no HTTP, or no request to answer to.
import { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import t from 'tap'
import { onClientError } from '../../src/server/raw-refusals.ts'
import { sendRaw, startRig } from '../fixtures/proxy.ts'

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

t.test('where nobody could read it, or an answer is under way, the socket just ends', async (t) => {
  const refuse = (code: string, over: Partial<FakeSocket> & { _httpMessage?: object } = {}) => {
    const socket = Object.assign(new FakeSocket(), over)
    onClientError(Object.assign(new Error('x'), { code }), socket as unknown as Duplex)
    t.ok(socket.destroyed)
    return socket.sent
  }
  t.equal(refuse('ECONNRESET'), '')
  t.equal(refuse('HPE_INVALID', { writable: false }), '')
  t.equal(refuse('HPE_INVALID', { _httpMessage: {} }), '')
  t.match(refuse('ERR_HTTP_REQUEST_TIMEOUT'), /did not arrive in time/)
})
