import { inspect } from 'node:util'
import t from 'tap'
import { Secret } from '../../src/config/config.ts'
import {
  errorCode,
  isTlsError,
  OutboundProxyError,
  type OutboundProxyReason,
} from '../../src/network/connection-error.ts'

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
  t.equal(isTlsError(coded('DEPTH_ZERO_SELF_SIGNED_CERT')), true)
  t.equal(isTlsError(coded('ECONNRESET')), false)
  t.equal(isTlsError('x'), false)
})

t.test('what an outbound proxy did wrong, and what to do', async (t) => {
  const proxy = { origin: 'http://proxy.example:3128', authorization: new Secret('Basic s3cret') }
  const cases: [OutboundProxyReason, RegExp, RegExp][] = [
    [
      'unreachable',
      /^the outbound proxy http:\/\/proxy\.example:3128 could not be reached \(ECONNREFUSED\)$/,
      /network\.proxy, or HTTPS_PROXY.*network\.noProxy or NO_PROXY/,
    ],
    ['timeout', /gave no tunnel to api\.example:443 in time$/, /network\.proxy, or HTTPS_PROXY/],
    [
      'tls',
      /^TLS with the outbound proxy .* failed \(ECONNREFUSED\)$/,
      /network\.caFile or NODE_EXTRA_CA_CERTS/,
    ],
    ['protocol', /spoke no HTTP \(ECONNREFUSED\)$/, /network\.proxy, or HTTPS_PROXY/],
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
