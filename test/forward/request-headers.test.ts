// Covers src/forward/headers.ts
import fc from 'fast-check'
import t from 'tap'
import {
  addedHeaders,
  connectionNames,
  requestHeaders,
  requestHeaderVerdict,
} from '../../src/forward/headers.ts'
import { flat } from '../fixtures/calls.ts'
import { heapUsed } from '../fixtures/memory.ts'
import { words } from '../fixtures/words.ts'

const HOST = 'api.procore.com'
const COMPANY = '7656'
const INJECTED = ['Host', HOST, 'Procore-Company-Id', COMPANY, 'Via', '1.1 procore-proxy']
const BEARER = ['Authorization', 'Bearer token']

/** All headers that go up for a call with these headers. */
function sent(rawHeaders: readonly string[], gzip = false): string[] {
  const call = { rawHeaders, companyId: COMPANY, gzip, upstream: { host: HOST } }
  return requestHeaders(call, { value: 'token' })
}

/** What is left of the caller's headers: everything but the injected ones. */
function kept(rawHeaders: readonly string[]): string[] {
  const headers = sent(rawHeaders)
  t.strictSame([...headers.slice(0, 2), ...headers.slice(-6)], [...INJECTED, ...BEARER])
  return headers.slice(2, -6)
}

t.test('the names that are told to be put on are those that are', async (t) => {
  for (const gzip of [false, true]) {
    const names = sent([], gzip).filter((_, index) => index % 2 === 0)
    t.strictSame(addedHeaders(gzip), names)
  }
})

/** The names that never go up. */
const NEVER = words`
  authorization procore-company-id host cookie cookie2 proxy-authorization proxy-connection proxy-anything
  proxy- forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-user x-real-ip origin
  referer sec-fetch-site sec-ch-ua sec-websocket-key procore-proxy-key procore-proxy-request
  procore-proxy-note connection keep-alive transfer-encoding te trailer upgrade http2-settings expect
`

t.test(
  'What a server could take for the framing or for what is put on does not go up beside it',
  async (t) => {
    t.strictSame(kept(['Accept_Encoding', 'br', 'Accept-Encoding', 'gzip']), ['Accept-Encoding', 'gzip'])
    const lengths = flat('Content_Length: 5 | CONTENT_LENGTH: 6 | Content-Length: 7')
    t.strictSame(kept(lengths), ['Content-Length', '7'])
  },
)

t.test('End-to-end headers go up as they are, in order, spelling and number', async (t) => {
  const nearMisses = words`Forwarded-For X-Forward Hosts Secure X-Authorization Proxied Procore-Other`
  const headers = [
    ...flat('X-Custom: a | Accept: */* | x-custom: b | X_Custom: c | Content-Length: 3'),
    ...flat('Content-Type: ;;nonsense | Range: bytes=0-1 | Idempotency-Token: 1 | If-None-Match: "a"'),
    ...nearMisses.flatMap((name) => [name, 'x']),
    ...flat('Empty:  | Latin: caf\xe9 | User-Agent: x'),
  ]
  t.strictSame(kept([...headers]), headers)
  t.strictSame(kept([...headers, 'Connection', 'keep-alive']), headers)
  t.strictSame(kept([]), [])
})

t.test('What Connection usually says names no header', async (t) => {
  for (const usual of [['keep-alive'], ['close'], ['Close'], ['KEEP-ALIVE'], []]) {
    t.equal(connectionNames(usual), undefined, `${usual}`)
  }
  t.strictSame([...(connectionNames(['close', 'X-A']) ?? [])], ['close', 'x-a'])
})

t.test('Via is appended to the caller’s, however many it sent', async (t) => {
  const via = (...values: string[]) =>
    sent(values.flatMap((value, i) => [i % 2 ? 'Via' : 'vIA', value])).slice(-4, -2)
  t.strictSame(via(), ['Via', '1.1 procore-proxy'])
  t.strictSame(via('1.0 fred'), ['Via', '1.0 fred, 1.1 procore-proxy'])
  t.strictSame(via('1.0 fred', '1.1 wilma (x, y)', '2 z'), [
    'Via',
    '1.0 fred, 1.1 wilma (x, y), 2 z, 1.1 procore-proxy',
  ])
  t.strictSame(via('1.1 procore-proxy', '1.0 a'), ['Via', '1.1 procore-proxy, 1.0 a, 1.1 procore-proxy'])
})

t.test('Names that callers make up do not fill the memory', async (t) => {
  const before = heapUsed()
  for (let i = 0; i < 60_000; i++) requestHeaderVerdict(`x-${i}-${'y'.repeat(500)}`)
  // Kept, they would be 30 MB of one-byte strings.
  for (let i = 0; i < 300_000; i++) requestHeaderVerdict(`x-${i}-${'y'.repeat(50)}`)
  // Of the short ones some are kept, but not all.
  t.ok(heapUsed() - before < 20e6, 'bounded')
  t.equal(requestHeaderVerdict('Cookie'), 'drop', 'and the verdicts stay right')
})

const anyName = fc.oneof(
  fc.constantFrom(...NEVER, 'via', 'content-length', 'x-hop', 'accept', 'x-forwarded', 'secx').chain((name) =>
    fc.array(fc.integer({ min: 0, max: 3 }), { minLength: name.length, maxLength: name.length }).map((bits) =>
      [...name]
        .map((char, i) => (bits[i]! & 1 ? char.toUpperCase() : char))
        .map((char, i) => (char === '-' && bits[i]! & 2 ? '_' : char))
        .join(''),
    ),
  ),
  fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/),
)

/** An oracle of its own: CGI's reading of a name. */
function cgi(name: string): string {
  return name.toUpperCase().replace(/-/g, '_')
}

const FORBIDDEN = new RegExp(
  `^(?:${words`
    AUTHORIZATION COOKIE2? PROXY_.* FORWARDED X_FORWARDED_.* X_REAL_IP ORIGIN REFERER SEC_.* PROCORE_PROXY_.*
    CONNECTION KEEP_ALIVE TRANSFER_ENCODING TE TRAILER UPGRADE HTTP2_SETTINGS EXPECT
  `.join('|')})$`,
)

t.test('For any headers: one Host, one company, one Via, no bearer, nothing forbidden', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(anyName, fc.constantFrom('', 'x', '1.0 y', 'a, b')), { maxLength: 12 }),
      fc.option(
        fc.array(anyName, { maxLength: 4 }).map((names) => names.join(', ')),
        { nil: undefined },
      ),
      (pairs, connection) => {
        const named = connection === undefined ? [] : ['Connection', connection]
        const all = sent([...pairs.flat(), ...named])
        const headers = all.slice(0, -2)
        const names = headers.filter((_, i) => i % 2 === 0)
        const values = (name: string) => headers.filter((_, i) => i % 2 && cgi(headers[i - 1]!) === cgi(name))
        const lists = [...pairs, ...(named.length === 0 ? [] : [named])].filter(([name]) =>
          /^connection$/i.test(name!),
        )
        const hops = new Set(
          lists.flatMap(([, list]) => list!.split(',').map((name) => name.trim().toLowerCase())),
        )
        const through = pairs.filter(([name]) => {
          const lower = name.toLowerCase()
          if (lower === 'content-length') return true
          if (hops.has(lower) || /^(?:HOST|PROCORE_COMPANY_ID|VIA|CONTENT_LENGTH)$/.test(cgi(name)))
            return false
          return !FORBIDDEN.test(cgi(name))
        })
        return (
          all.slice(-2).join() === BEARER.join() &&
          values('host').join() === HOST &&
          values('procore-company-id').join() === COMPANY &&
          values('via').length === 1 &&
          /(?:^|, )1\.1 procore-proxy$/.test(values('via')[0]!) &&
          names.every((name) => !FORBIDDEN.test(cgi(name))) &&
          JSON.stringify(headers.slice(2, -4)) === JSON.stringify(through.flat())
        )
      },
    ),
    { numRuns: 3000 },
  )
})
