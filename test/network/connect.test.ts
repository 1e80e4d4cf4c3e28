// Covers src/network/connect.ts and connection-error.ts; test/flow/network.test.ts covers the tunnels.
import { inspect } from 'node:util'
import t from 'tap'
import type { NoProxyEntry } from '../../src/config/config.ts'
import { Secret } from '../../src/config/config.ts'
import { noProxyEntries, parseNoProxy } from '../../src/config/outbound.ts'
import { proxyFor } from '../../src/network/connect.ts'
import {
  errorCode,
  OutboundProxyError,
  type OutboundProxyReason,
  tlsFault,
} from '../../src/network/connection-error.ts'

const proxy = { origin: 'http://proxy.example:3128', authorization: undefined }
const through = (origin: string, variable: string) => {
  const noProxy = noProxyEntries(variable).map((entry) => parseNoProxy(entry) as NoProxyEntry)
  return proxyFor(origin, { proxy, noProxy }) === proxy
}

t.test('NO_PROXY: hosts and all below them, ports, addresses, everything', async (t) => {
  const cases: [origin: string, noProxy: string, proxied: boolean][] = [
    ['https://api.example.com', '', true],
    ['https://api.example.com', 'other.com', true],
    ['https://api.example.com', 'api.example.com', false],
    ['https://api.example.com', 'API.Example.COM.', false],
    ['https://api.example.com.', 'api.example.com', false],
    ['https://api.example.com', 'example.com', false],
    ['https://api.example.com', '.example.com', false],
    ['https://api.example.com', '*.example.com', false],
    ['https://example.com', '.example.com', false],
    ['https://example.com', '*.example.com', false],
    ['https://notexample.com', 'example.com', true],
    ['https://example.com.evil.test', 'example.com', true],
    ['https://example.com', 'api.example.com', true],
    ['https://api.example.com', 'a.test, b.test\tapi.example.com', false],
    ['https://api.example.com', 'a.test,,b.test', true],
    ['https://api.example.com', 'example.com:443', false],
    ['https://api.example.com', 'example.com:8443', true],
    ['https://api.example.com:8443', 'example.com:8443', false],
    ['https://api.example.com:8443', 'example.com:443', true],
    ['https://api.example.com:8443', 'example.com', false],
    ['https://api.example.com', '*', false],
    ['https://api.example.com', 'other.com,*', false],
    ['https://192.0.2.7', '192.0.2.7', false],
    ['https://192.0.2.7', '2.7', true],
    ['https://192.0.2.7', '192.0.2.0/24', true],
    ['https://[2001:db8::1]', '2001:db8::1', false],
    ['https://[2001:db8::1]', '[2001:DB8:0::1]', false],
    ['https://[2001:db8::1]', '[2001:db8::1]:443', false],
    ['https://[2001:db8::1]', '[2001:db8::1]:444', true],
    ['https://[2001:db8::1]', '2001:db8::2', true],
  ]
  for (const [origin, noProxy, proxied] of cases) {
    t.equal(through(origin, noProxy), proxied, `${origin} with NO_PROXY=${noProxy}`)
  }
})

t.test('loopback never goes through a proxy, and nothing does without one', async (t) => {
  for (const host of ['localhost', 'localhost.', 'a.localhost', '127.0.0.1', '127.9.9.9', '[::1]']) {
    for (const scheme of ['http', 'https']) t.equal(through(`${scheme}://${host}:9001`, ''), false, host)
  }
  t.equal(through('http://api.example.com', ''), false, 'plain http has no tunnel')
  t.equal(proxyFor('https://api.example.com', { proxy: undefined, noProxy: [] }), undefined)
})

const coded = (code: unknown, cause?: unknown) => Object.assign(new Error('x', { cause }), { code })

t.test('error codes are found below causes and in bundles', async (t) => {
  t.equal(errorCode(coded('ECONNRESET')), 'ECONNRESET')
  t.equal(errorCode(new Error('x', { cause: coded('EPIPE') })), 'EPIPE')
  t.equal(errorCode(new AggregateError([coded('ECONNREFUSED'), coded('ENETUNREACH')])), 'ECONNREFUSED')
  t.equal(errorCode(Object.assign(new AggregateError([]), { code: 'ETIMEDOUT' })), 'ETIMEDOUT')
  t.equal(errorCode(coded(20)), undefined)
  t.equal(errorCode('ECONNRESET'), undefined)
  t.equal(errorCode(undefined), undefined)
  const round = new Error('round')
  round.cause = round
  t.equal(errorCode(round), undefined)
  t.match(tlsFault(coded('DEPTH_ZERO_SELF_SIGNED_CERT')), { proxyStatus: 'tls_certificate_error' })
  t.equal(tlsFault(coded('ECONNRESET')), undefined)
  t.equal(tlsFault('x'), undefined)
})

t.test('what an outbound proxy did wrong, and what to do', async (t) => {
  const proxy = { origin: 'http://proxy.example:3128', authorization: new Secret('Basic s3cret') }
  const cases: [OutboundProxyReason, RegExp, RegExp][] = [
    [
      'unreachable',
      /^the outbound proxy http:\/\/proxy\.example:3128 could not be reached \(ECONNREFUSED\)$/,
      /network\.proxy, or HTTPS_PROXY.*network\.noProxy or NO_PROXY/,
    ],
    ['timeout', /did not open a tunnel to api\.example:443 in time$/, /network\.proxy, or HTTPS_PROXY/],
    [
      'tls',
      /^TLS with the outbound proxy .* failed \(ECONNREFUSED\)$/,
      /network\.caFile or NODE_EXTRA_CA_CERTS/,
    ],
    [
      'protocol',
      /closed the connection or did not speak HTTP \(ECONNREFUSED\)$/,
      /network\.proxy, or HTTPS_PROXY/,
    ],
    [407, /wants other credentials \(HTTP 407\)$/, /http:\/\/USER:PASSWORD@HOST:PORT/],
    [403, /refused a tunnel to api\.example:443 \(HTTP 403\)$/, /network\.noProxy or NO_PROXY/],
    [502, /refused a tunnel to api\.example:443 \(HTTP 502\)$/, /network\.noProxy or NO_PROXY/],
  ]
  for (const [reason, message, help] of cases) {
    const error = new OutboundProxyError(proxy, 'api.example:443', reason, coded('ECONNREFUSED'))
    t.match(error, { reason, message, help }, String(reason))
    t.notMatch(inspect(error, { depth: 9 }), 's3cret')
    t.equal(errorCode(error), 'ECONNREFUSED', 'the code of its cause counts')
    t.notOk('code' in error, 'it has none itself: undici treats ERR_TLS_CERT_ALTNAME_INVALID as the API’s')
  }
  t.match(new OutboundProxyError(proxy, 'a:1', 'protocol'), { message: /\(no code\)$/, cause: undefined })
})
