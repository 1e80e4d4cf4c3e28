// Covers src/forward/problem.ts
import { once } from 'node:events'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import { type AddressInfo, createServer, type Server } from 'node:net'
import type { Test } from 'tap'
import t from 'tap'
import { Client, errors } from 'undici'
import { Secret } from '../../src/config/config.ts'
import { type ErrorCode, ProxyError } from '../../src/errors.ts'
import { ResponseTimeoutError, upstreamError } from '../../src/forward/problem.ts'
import { OutboundProxyError, type OutboundProxyReason } from '../../src/network/connection-error.ts'
import { certificate, pem } from '../fixtures/tls.ts'

const coded = (code: string, cause?: unknown) => Object.assign(new Error('s3cret', { cause }), { code })
const bare = (code: string) => coded(code)
const PROXY = { origin: 'http://proxy.example:3128', authorization: new Secret('Basic s3cret') }
const outbound = (reason: OutboundProxyReason, cause?: Error) =>
  new OutboundProxyError(PROXY, 'api.example:443', reason, cause)

t.test('Every error of Node and undici becomes one of ours, and keeps its words to itself', async (t) => {
  const cases: [error: unknown, code: ErrorCode, proxyStatus: string][] = [
    [new ResponseTimeoutError('x'), 'upstream_timeout', 'connection_read_timeout'],
    [new errors.ConnectTimeoutError(), 'upstream_timeout', 'connection_timeout'],
    [bare('ETIMEDOUT'), 'upstream_timeout', 'connection_timeout'],
    [bare('ECONNREFUSED'), 'upstream_unreachable', 'connection_refused'],
    [bare('ENOTFOUND'), 'upstream_unreachable', 'dns_error'],
    [bare('EAI_AGAIN'), 'upstream_unreachable', 'dns_error'],
    [bare('EHOSTUNREACH'), 'upstream_unreachable', 'destination_ip_unroutable'],
    [bare('ENETUNREACH'), 'upstream_unreachable', 'destination_ip_unroutable'],
    [bare('DEPTH_ZERO_SELF_SIGNED_CERT'), 'upstream_unreachable', 'tls_certificate_error'],
    [bare('SELF_SIGNED_CERT_IN_CHAIN'), 'upstream_unreachable', 'tls_certificate_error'],
    [bare('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), 'upstream_unreachable', 'tls_certificate_error'],
    [bare('CERT_HAS_EXPIRED'), 'upstream_unreachable', 'tls_certificate_error'],
    [bare('ERR_TLS_CERT_ALTNAME_INVALID'), 'upstream_unreachable', 'tls_certificate_error'],
    [bare('CERT_NOT_YET_VALID'), 'upstream_unreachable', 'tls_certificate_error'],
    [bare('CERT_REVOKED'), 'upstream_unreachable', 'tls_certificate_error'],
    [bare('ERR_SSL_WRONG_VERSION_NUMBER'), 'upstream_unreachable', 'tls_protocol_error'],
    [bare('ERR_SSL_PACKET_LENGTH_TOO_LONG'), 'upstream_unreachable', 'tls_protocol_error'],
    [bare('ERR_SSL_UNSUPPORTED_PROTOCOL'), 'upstream_unreachable', 'tls_protocol_error'],
    [bare('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION'), 'upstream_unreachable', 'tls_alert_received'],
    [bare('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'), 'upstream_unreachable', 'tls_alert_received'],
    [bare('ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE'), 'upstream_unreachable', 'tls_alert_received'],
    [bare('ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR'), 'upstream_unreachable', 'tls_alert_received'],
    [new errors.InvalidArgumentError('s3cret'), 'request_invalid', 'http_request_error'],
    [new errors.NotSupportedError('s3cret'), 'request_invalid', 'http_request_error'],
    [bare('ECONNRESET'), 'upstream_protocol', 'connection_terminated'],
    [bare('ECONNABORTED'), 'upstream_protocol', 'connection_terminated'],
    [bare('EPIPE'), 'upstream_protocol', 'connection_terminated'],
    [new errors.SocketError('other side closed'), 'upstream_protocol', 'connection_terminated'],
    [new errors.ClientClosedError(), 'shutting_down', 'destination_unavailable'],
    [new errors.ClientDestroyedError(), 'shutting_down', 'destination_unavailable'],
    [new errors.HTTPParserError('s3cret'), 'upstream_protocol', 'http_protocol_error'],
    [new errors.HeadersOverflowError(), 'upstream_protocol', 'http_protocol_error'],
    [new errors.ResponseContentLengthMismatchError(), 'upstream_protocol', 'http_protocol_error'],
    [bare('ERR_INVALID_CHAR'), 'upstream_protocol', 'http_protocol_error'],
    [new Error('s3cret'), 'upstream_protocol', 'http_protocol_error'],
    ['s3cret', 'upstream_protocol', 'http_protocol_error'],
    [undefined, 'upstream_protocol', 'http_protocol_error'],
    [new Error('x', { cause: bare('ECONNREFUSED') }), 'upstream_unreachable', 'connection_refused'],
    [
      new AggregateError([bare('ECONNREFUSED'), bare('ENETUNREACH')]),
      'upstream_unreachable',
      'connection_refused',
    ],
    [new AggregateError([]), 'upstream_protocol', 'http_protocol_error'],
    [outbound('unreachable', bare('ECONNREFUSED')), 'upstream_unreachable', 'connection_refused'],
    [outbound('unreachable', bare('ENOTFOUND')), 'upstream_unreachable', 'dns_error'],
    [outbound('unreachable', bare('EPIPE')), 'upstream_unreachable', 'connection_terminated'],
    [outbound('unreachable'), 'upstream_unreachable', 'connection_terminated'],
    [outbound('timeout', new errors.ConnectTimeoutError()), 'upstream_timeout', 'connection_timeout'],
    [outbound('tls', bare('CERT_HAS_EXPIRED')), 'upstream_unreachable', 'tls_certificate_error'],
    [outbound('tls', bare('ERR_SSL_WRONG_VERSION_NUMBER')), 'upstream_unreachable', 'tls_protocol_error'],
    [outbound('protocol', bare('HPE_INVALID')), 'upstream_unreachable', 'http_protocol_error'],
    [outbound(407), 'upstream_unreachable', 'http_request_denied'],
    [outbound(302), 'upstream_unreachable', 'http_request_denied'],
    [outbound(500), 'upstream_unreachable', 'destination_unavailable'],
  ]
  for (const [error, code, proxyStatus] of cases) {
    const ours = upstreamError(error)
    t.match(ours, { name: 'ProxyError', code, proxyStatus }, `${code} ${proxyStatus}`)
    t.equal(ours.cause, error, 'the original is its cause, for the log')
    t.notMatch(ours.message + ours.help, 's3cret')
    if (error instanceof OutboundProxyError) t.match(ours, { help: error.help, message: error.message })
  }
  for (const error of [bare('EMFILE'), bare('ENFILE'), outbound('unreachable', bare('EMFILE'))]) {
    t.match(upstreamError(error), {
      code: 'overloaded',
      retryAfterSeconds: 1,
      message: /limit on open files.*nothing was sent/,
      help: /upstream\.connections/,
    })
  }
  const own = new ProxyError('overloaded', 'x')
  t.equal(upstreamError(own), own)
})

/** What a request to an origin really fails with, as ours. */
async function failure(
  t: Test,
  origin: string,
  connect: Client.Options['connect'] = {},
): Promise<ProxyError> {
  const client = new Client(origin, { connect: connect as object })
  t.teardown(() => client.destroy())
  return client.request({ path: '/', method: 'GET' }).then(
    () => t.fail('it must fail') as never,
    (error: unknown) => upstreamError(error),
  )
}

t.test('A refused port and an unknown host', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  t.match(await failure(t, `http://127.0.0.1:${port}`), {
    code: 'upstream_unreachable',
    proxyStatus: 'connection_refused',
  })
  t.match(await failure(t, `http://localhost:${port}`), { code: 'upstream_unreachable' }, 'on two addresses')
  t.match(await failure(t, 'http://procore-proxy-test.invalid'), {
    code: 'upstream_unreachable',
    proxyStatus: 'dns_error',
  })
})

t.test('A failure of TLS is called what it is, each with its own advice', async (t) => {
  const ca = pem('ca.pem')
  const good = certificate('good')
  const old = { ...good, minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' } as const
  const wanting = { ...good, ca, requestCert: true, maxVersion: 'TLSv1.2' } as const
  const notHttps = () => createServer((socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  const tls = (options: ServerOptions) => () =>
    createTlsServer(options, () => {
      t.fail('nothing may be sent')
    })
  for (const [listener, what, code, help, proxyStatus = 'tls_certificate_error', trusted = [ca]] of [
    [tls(certificate('self-signed')), 'is self-signed', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'NODE_EXTRA_CA_CERTS'],
    [tls(certificate('wrong-name')), 'is for another name', 'ERR_TLS_CERT_ALTNAME_INVALID', 'Check the host'],
    [tls(certificate('expired')), 'has expired', 'CERT_HAS_EXPIRED', 'clock'],
    [
      tls(good),
      'an authority that this machine does not trust',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'NODE_EXTRA_CA_CERTS',
      undefined,
      [],
    ],
    [tls(old), 'version of TLS is too old', 'PROTOCOL_VERSION', 'TLS 1.2', 'tls_alert_received'],
    [tls(wanting), 'client certificate', 'HANDSHAKE_FAILURE', 'no client certificate', 'tls_alert_received'],
    [notHttps, 'does not speak proper TLS', 'WRONG_VERSION_NUMBER', 'http://', 'tls_protocol_error'],
  ] as [() => Server, string, string, string, string?, string[]?][]) {
    const server = listener().listen(0, '127.0.0.1')
    t.teardown(() => server.close())
    await once(server, 'listening')
    const error = await failure(t, `https://127.0.0.1:${(server.address() as AddressInfo).port}`, {
      ca: trusted,
    })
    t.match(error, { code: 'upstream_unreachable', proxyStatus }, what)
    t.match(error.message, what)
    t.match(error.message, code)
    t.match(error.help, help)
  }
})
