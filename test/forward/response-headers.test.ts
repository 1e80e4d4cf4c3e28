// Covers src/forward/headers.ts
import fc from 'fast-check'
import t from 'tap'
import type { ApprovedCall } from '../../src/forward/call.ts'
import { informationHeaders, responseHeaders } from '../../src/forward/headers.ts'
import { startExchange } from '../../src/observe/exchange.ts'
import { callOf, flat } from '../fixtures/calls.ts'
import { heapUsed } from '../fixtures/memory.ts'
import { words } from '../fixtures/words.ts'

const CONTEXT: ApprovedCall = {
  ...callOf('/rest/v1.0/projects'),
  exchange: startExchange('our-id', 'GET', '/rest/v1.0/projects'),
  base: { origin: 'http://localhost:8377', prefix: '/acme' },
}
const NOSNIFF = ['X-Content-Type-Options', 'nosniff']
const SANDBOX = ['Content-Security-Policy', 'sandbox']
const MARKS = [
  ...flat('Procore-Proxy-Company: acme | Procore-Proxy-Environment: production'),
  ...NOSNIFF,
  ...SANDBOX,
]
const OUR_ID = ['X-Request-Id', 'our-id']

const NEVER = words`
  connection keep-alive transfer-encoding te trailer upgrade proxy-authenticate proxy-authentication-info
  proxy-connection proxy-status set-cookie set-cookie2 strict-transport-security alt-svc
  service-worker-allowed refresh clear-site-data access-control-allow-origin access-control-expose-headers
  procore-proxy-company procore-proxy-error procore-proxy-environment
`

t.test('Everything else comes through byte for byte, in order', async (t) => {
  const headers = flat(
    'ETag: W/"a" | Content-MD5: a | total: 150 | per-page: 10 | X-Rate-Limit-Remaining: 5 | Vary: a | vary: b | Content-Disposition: attachment; filename="caf\xe9 \xff\x80.pdf" | WWW-Authenticate: Bearer | Empty: ',
  )
  t.strictSame(responseHeaders(headers, CONTEXT), [...headers, ...MARKS, ...OUR_ID])
  t.strictSame(responseHeaders([], CONTEXT), [...MARKS, ...OUR_ID])
  t.strictSame(
    responseHeaders(['content-length', '12', 'Content-Disposition', 'x'], CONTEXT),
    ['Content-Disposition', 'x', ...MARKS, ...OUR_ID, 'content-length', '12'],
    'the length comes last',
  )
})

t.test('Link and Location are rewritten, in each line of their own', async (t) => {
  const api = 'https://api.procore.com/rest/v1.0/x?page=2'
  const here = 'http://localhost:8377/acme/rest/v1.0/x?page=2'
  const links = (url: string) => flat(`LINK: <${url}>; rel="next" | Link: <${url}> | location: ${url}`)
  t.strictSame(responseHeaders([...links(api), 'Content-Location', api], CONTEXT), [
    ...links(here),
    ...['Content-Location', api, ...MARKS, ...OUR_ID],
  ])
})

t.test('Extra headers are put on as they are, whatever Connection names', async (t) => {
  const extra = ['Access-Control-Allow-Origin', 'https://app.example', 'Vary', 'Origin']
  const connection = ['Connection', 'Access-Control-Allow-Origin, Vary', 'Vary', 'Accept']
  const withExtra = { ...CONTEXT, exchange: Object.assign(startExchange('our-id', 'GET', '/'), { extra }) }
  t.strictSame(responseHeaders(connection, withExtra), [...MARKS, ...extra, ...OUR_ID])
})

t.test('Names that the API makes up do not fill the memory', async (t) => {
  const before = heapUsed()
  for (let i = 0; i < 60_000; i++) responseHeaders([`x-${i}-${'y'.repeat(500)}`, ''], CONTEXT)
  t.ok(heapUsed() - before < 20e6, 'bounded')
})

const FORBIDDEN =
  /^(?:connection|keep-alive|transfer-encoding|te|trailer|upgrade|set-cookie2?|strict-transport-security|alt-svc|service-worker-allowed|refresh|clear-site-data|proxy-.*|access-control-.*)$/i

t.test('For any headers: our marks once, a request id, nothing forbidden or named', async () => {
  const name = fc.oneof(
    fc.constantFrom(...NEVER, 'X-Request-Id', 'Content-Length', 'X-Hop').map((each) => each.toUpperCase()),
    fc.constantFrom(...NEVER, 'x-request-id', 'x-hop', 'link', 'location'),
    fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/),
  )
  const names = fc.array(name, { maxLength: 3 }).map((each) => each.join(', '))
  const pair = fc.oneof(
    fc.tuple(name, fc.constantFrom('', 'x', '<y>')),
    fc.tuple(fc.constantFrom('Connection', 'connection'), names),
  )
  fc.assert(
    fc.property(fc.array(pair, { maxLength: 10 }), (pairs) => {
      const headers = responseHeaders(pairs.flat(), CONTEXT)
      const seen = headers.filter((_, i) => i % 2 === 0).map((each) => each.toLowerCase())
      const named = pairs
        .filter(([each]) => each.toLowerCase() === 'connection')
        .flatMap(([, value]) => value.toLowerCase().split(','))
        .map((each) => each.trim())
      const through = pairs.filter(([each]) => {
        const lower = each.toLowerCase()
        if (lower === 'content-length') return false
        return !FORBIDDEN.test(each) && !lower.startsWith('procore-proxy-') && !named.includes(lower)
      })
      const length = pairs.findLast(([each]) => each.toLowerCase() === 'content-length') ?? []
      const ids = through.filter(([each]) => each.toLowerCase() === 'x-request-id').length
      return (
        seen.every((each) => !FORBIDDEN.test(each)) &&
        seen.filter((each) => each === 'x-request-id').length === Math.max(1, ids) &&
        JSON.stringify(headers) ===
          JSON.stringify([...through.flat(), ...MARKS, ...(ids > 0 ? [] : OUR_ID), ...length])
      )
    }),
    { numRuns: 3000 },
  )
})

t.test('An answer that a browser could run is sandboxed; none may be sniffed', async (t) => {
  const csp = (...types: string[]) => {
    const headers = responseHeaders(
      types.flatMap((type) => ['Content-Type', type]),
      CONTEXT,
    )
    t.equal(headers[headers.indexOf('X-Content-Type-Options') + 1], 'nosniff')
    const at = headers.indexOf('Content-Security-Policy')
    return at === -1 ? undefined : headers[at + 1]
  }
  for (const type of [
    'text/html',
    'Text/HTML; charset=utf-8',
    'application/xhtml+xml',
    'text/xml',
    'application/xml',
    'application/atom+xml',
    'image/svg+xml',
    'application/x-unheard-of',
    'application/jsonp',
    'text/javascript',
    '',
    'application/json,text/html',
    'application/json;,text/html',
    'text/plain; a=b, text/html',
    'video/x+xml',
    'audio/svg+xml',
  ]) {
    t.equal(csp(type), 'sandbox', type)
  }
  t.equal(csp(), 'sandbox', 'no type')
  t.equal(csp('application/json', 'text/html'), 'sandbox', 'two types')
  t.equal(csp('text/html', 'application/json'), 'sandbox', 'two types, the last one inert')
  for (const type of [
    'application/json',
    'application/json; charset=utf-8',
    'application/problem+json',
    'application/pdf',
    'text/csv',
    'text/plain',
    'image/png',
    'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  ]) {
    t.equal(csp(type), undefined, type)
  }
  const twice = responseHeaders(['X-Content-Type-Options', 'none', 'Content-Type', 'text/csv'], CONTEXT)
  t.equal(twice.filter((name) => name === 'X-Content-Type-Options').length, 1)
})

t.test('interim responses obey the same rules, and are printable ASCII', async (t) => {
  const head = {
    link: ['<https://api.procore.com/rest/x>; rel=preload', '</y>'],
    'set-cookie': ['a=b'],
    'procore-proxy-error': 'forged',
    connection: 'x-hop',
    'x-hop': '1',
    'x-kept': '2',
    'x-split': 'a\u010d\u010aX-Injected: b',
    'content-length': '5',
  }
  t.strictSame(informationHeaders(head, CONTEXT), [
    ...['link', '<http://localhost:8377/acme/rest/x>; rel=preload', 'link', '</acme/y>'],
    ...['x-kept', '2'],
  ])
  t.strictSame(informationHeaders({ link: '<\u010a>' }, CONTEXT), [])
})
