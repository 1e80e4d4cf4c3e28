// Covers src/errors.ts and src/forward/problem.ts
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { ERROR_KINDS, type ErrorCode, ProxyError } from '../src/errors.ts'
import { problem, sendProblem } from '../src/forward/problem.ts'
import { sendRaw } from './fixtures/proxy.ts'
import { words } from './fixtures/words.ts'

/** `test/repository.test.ts` compares codes and statuses with docs/errors.md. */
const kinds = Object.entries(ERROR_KINDS) as [ErrorCode, (typeof ERROR_KINDS)[ErrorCode]][]

/** RFC 9209 section 2.3. */
const PROXY_STATUS_TYPES = new Set(words`
  dns_timeout dns_error destination_not_found destination_unavailable destination_ip_prohibited
  destination_ip_unroutable connection_refused connection_terminated connection_timeout
  connection_read_timeout connection_write_timeout connection_limit_reached tls_protocol_error
  tls_certificate_error tls_alert_received http_request_error http_request_denied http_response_incomplete
  http_response_timeout http_upgrade_failed http_protocol_error proxy_internal_response proxy_internal_error
  proxy_configuration_error proxy_loop_detected
`)

t.test('Every code has a Proxy-Status, a title and help', async (t) => {
  for (const [code, kind] of kinds) {
    t.ok(PROXY_STATUS_TYPES.has(kind.proxyStatus), `${code}: ${kind.proxyStatus}`)
    t.match(kind.title, /^[A-Z].*[^.]$/, `${code}: a title without a full stop`)
    t.match(kind.help, /^[A-Z].*\.$/s, `${code}: help in whole sentences`)
  }
})

t.test('A ProxyError takes from the table what it is not told', async (t) => {
  for (const [code, { status, help, proxyStatus }] of kinds) {
    const error = new ProxyError(code, 'detail')
    t.match(error, { name: 'ProxyError', message: 'detail', code, status, help, proxyStatus })
    t.ok(error instanceof Error && error.stack)
    t.equal(error.retryAfterSeconds, undefined)
    t.notOk('cause' in error)
  }
  const cause = new Error('why')
  const options = { retryAfterSeconds: 7, proxyStatus: 'dns_error', help: 'Do.', cause }
  t.match(new ProxyError('overloaded', 'x', options), { ...options, status: 503 })
})

function field(headers: readonly string[], name: string): string | undefined {
  const at = headers.findIndex((each, i) => i % 2 === 0 && each === name)
  return at === -1 ? undefined : headers[at + 1]
}

t.test('A problem says what happened in the body and in headers', async (t) => {
  for (const [code, { status, title, help, proxyStatus }] of kinds) {
    const cause = new Error('cause-secret')
    const error = new ProxyError(code, `Détail “${code}”`, { cause })
    const { headers, body } = problem(error, { reqId: 'id-1', company: 'acme' })
    t.strictSame(JSON.parse(body), {
      type: `/_proxy/errors#${code}`,
      title,
      status,
      detail: `Détail “${code}”`,
      code,
      company: 'acme',
      requestId: 'id-1',
      help,
    })
    t.notMatch(body + headers.join(), 'cause-secret')
    t.equal(field(headers, 'Content-Type'), 'application/problem+json')
    t.equal(field(headers, 'Content-Length'), String(Buffer.byteLength(body)))
    t.equal(field(headers, 'Cache-Control'), 'no-store')
    t.equal(field(headers, 'Procore-Proxy-Error'), code)
    t.equal(field(headers, 'Proxy-Status'), `procore-proxy; error=${proxyStatus}; details="D?tail ?${code}?"`)
    t.equal(field(headers, 'X-Request-Id'), 'id-1')
    t.equal(field(headers, 'Procore-Proxy-Company'), 'acme')
    t.equal(field(headers, 'Retry-After'), undefined)
    t.equal(field(headers, 'Allow') !== undefined, status === 405, 'RFC 9110 section 15.5.6')
    t.equal(field(headers, 'WWW-Authenticate') !== undefined, status === 401, 'RFC 9110 section 15.5.2')
  }
})

t.test('What is not known is left out, what is extra is put on', async (t) => {
  const error = new ProxyError('overloaded', 'x', {
    retryAfterSeconds: 3,
    help: 'Wait.',
    proxyStatus: 'dns_error',
  })
  const { headers, body } = problem(error, { reqId: 'id', extra: ['Vary', 'Origin'] })
  t.notOk('company' in JSON.parse(body))
  t.equal(field(headers, 'Procore-Proxy-Company'), undefined)
  t.equal(field(headers, 'Retry-After'), '3')
  t.match(field(headers, 'Proxy-Status'), 'error=dns_error;')
  t.match(JSON.parse(body), { help: 'Wait.' })
  t.strictSame(headers.slice(-2), ['Vary', 'Origin'])
})

t.test('Details are a structured field string, whatever the detail holds', async (t) => {
  const { headers, body } = problem(new ProxyError('request_invalid', 'a "b" \\ c\r\nX-Evil: 1\x7f\0é😀'), {
    reqId: 'id',
  })
  const status = field(headers, 'Proxy-Status')
  t.equal(status, String.raw`procore-proxy; error=http_request_error; details="a \"b\" \\ c??X-Evil: 1?????"`)
  t.match(status, /^[\x20-\x7e]*$/)
  t.equal(JSON.parse(body).detail, 'a "b" \\ c\r\nX-Evil: 1\x7f\0é😀')
})

async function serve(t: Test, listener: RequestListener): Promise<number> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

t.test('A problem is sent whole; to HEAD without its body', async (t) => {
  const error = new ProxyError('upstream_timeout', 'Zu spät.')
  const port = await serve(t, (_request, response) => sendProblem(response, error, { reqId: 'id' }))
  const ask = (method: string) =>
    sendRaw(port, `${method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  const { body } = problem(error, { reqId: 'id' })
  const [head, got] = (await ask('GET')).split('\r\n\r\n')
  t.match(head, /^HTTP\/1\.1 504 Gateway Timeout\r\n/)
  t.equal(Buffer.from(got!, 'latin1').toString(), body)
  const [bare, nothing] = (await ask('HEAD')).split('\r\n\r\n')
  t.match(bare, `Content-Length: ${Buffer.byteLength(body)}`)
  t.equal(nothing, '')
})

t.test('An answer that has begun is broken off', async (t) => {
  const error = new ProxyError('upstream_protocol', 'x')
  const port = await serve(t, (_request, response) => {
    response.write('begun', () => sendProblem(response, error, { reqId: 'id' }))
  })
  const got = await sendRaw(port, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  t.match(got, /^HTTP\/1\.1 200 OK\r\n/)
  t.match(got, /begun\r\n$/, 'no last chunk, no problem in the middle of it')
})
