// Attacks on the request target: whom it asks, which path it means, and which company it names.
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { attack, getOf, head, type Outcome, UNLIMITED } from '../fixtures/attacker.ts'
import { ACME, GLOBEX, type Rig, type Settings, startRig } from '../fixtures/proxy.ts'
import { words } from '../fixtures/words.ts'

const INVALID = '400 request_invalid'
const start = (t: Test, settings: Settings = {}): Promise<Rig> => startRig(t, { fake: UNLIMITED!, settings })

/** Sends a GET of the target; whatever is refused must not have gone up. */
async function refused(
  t: Test,
  rig: Rig,
  target: string,
  verdict: string | RegExp,
  why = '',
): Promise<Outcome> {
  const outcome = await attack(rig, getOf(target))
  const what = `${JSON.stringify(target.length > 90 ? `${target.slice(0, 90)}…` : target)} ${why}`
  if (typeof verdict === 'string') t.equal(outcome.verdict, verdict, what)
  else t.match(outcome.verdict, verdict, what)
  t.equal(outcome.seen.length, 0, 'nothing goes up')
  return outcome
}

/** Sends a GET of the target, which must go up once, byte for byte, for this company. */
async function passes(t: Test, rig: Rig, target: string, up: string, company = ACME): Promise<void> {
  const { seen, verdict } = await attack(rig, getOf(target))
  t.match(verdict, /^[2-5][0-9]{2}$/, `${target} is answered by the API`)
  t.strictSame(
    seen.map(({ url, headers }) => [url, headers['procore-company-id']]),
    [[up, company]],
    `${target} goes up as ${up}`,
  )
}

// RFC 9112 section 3.2.2; kubectl, squid CVE-2020-15810
t.test('absolute-form must name the same authority as Host', async (t) => {
  const rig = await start(t)
  const up = '/rest/v1.0/echo?x=1'
  for (const own of words`
      http://localhost HTTP://LOCALHOST https://localhost http://localhost:80 http://localhost:
    `) {
    await passes(t, rig, `${own}/acme${up}`, up)
  }
  for (const target of words`
      http://evil.com/acme/rest/v1.0/me http://localhost.evil.com/acme/rest/v1.0/me
      http://localhost@evil.com/acme/rest/v1.0/me http://evil.com@localhost/acme/rest/v1.0/me
      http://user:pass@localhost/acme/rest/v1.0/me http://localhost:1/acme/rest/v1.0/me
      http://localhost:8/acme/rest/v1.0/me https://localhost:80/acme/rest/v1.0/me
      http://localhost./acme/rest/v1.0/me http://127.0.0.1/acme/rest/v1.0/me
      http://localhost\\@evil.com/acme/rest/v1.0/me http://localhost%2eevil.com/acme/rest/v1.0/me
      http://localhost?/acme/rest/v1.0/me http://localhost#/acme/rest/v1.0/me http://localhost
      http:///acme/rest/v1.0/me http:/acme/rest/v1.0/me http:acme/rest/v1.0/me
      ftp://localhost/acme/rest/v1.0/me ws://localhost/acme/rest/v1.0/me file:///etc/passwd
      javascript:alert(1) http://169.254.169.254/latest/meta-data/
    `) {
    await refused(t, rig, target, INVALID)
  }
  await refused(t, rig, rig.fake.apiUrl + up, INVALID, 'the API itself')
})

t.test('authority-form and asterisk-form are not forwarded; CONNECT opens no tunnel', async (t) => {
  const rig = await start(t)
  for (const target of ['*', 'localhost:80', 'evil.com:443', 'rest/v1.0/me', '?x', '.', '@evil.com/rest/']) {
    await refused(t, rig, target, INVALID)
  }
  const options = await attack(rig, head('OPTIONS * HTTP/1.1', 'Host: localhost', 'Connection: close'))
  t.equal(options.verdict, INVALID)
  t.equal(options.seen.length, 0)
  for (const authority of ['localhost:80', '127.0.0.1:22', 'evil.com:443', new URL(rig.fake.apiUrl).host]) {
    const connect = await attack(rig, head(`CONNECT ${authority} HTTP/1.1`, 'Host: localhost'), {
      later: [getOf('/acme/rest/v1.0/me')],
    })
    t.strictSame(connect.verdicts, ['405 method_not_allowed'], `CONNECT ${authority}`)
    t.ok(connect.closed, 'and what follows is not read')
    t.equal(connect.seen.length, 0)
  }
  for (const method of words`TRACE TRACK DEBUG PROPFIND get PURGE SEARCH QUERY M-SEARCH`) {
    const outcome = await attack(
      rig,
      head(`${method} /acme/rest/v1.0/echo HTTP/1.1`, 'Host: localhost', 'Connection: close'),
    )
    t.match(
      outcome.verdict,
      /^40[05] (?:request_invalid|method_not_allowed)$/,
      `${method} (TRACE would echo the bearer)`,
    )
    t.equal(outcome.seen.length, 0)
  }
})

// fast-proxy #42, Angular CVE-2025-62427
t.test('a doubled slash at the start names no other host', async (t) => {
  const rig = await start(t)
  for (const target of words`
      //evil.com/rest/v1.0/me //acme/rest/v1.0/me ///rest/v1.0/me /%2frest/v1.0/me /%2Fevil.com/rest/v1.0/me
      /%252f/rest/v1.0/me /\\evil.com/rest/v1.0/me \\\\evil.com/rest/v1.0/me /%5cevil.com/rest/v1.0/me
      /%5C%5Cevil.com/rest /%255cevil.com/rest/v1.0/me /%09/evil.com/rest/v1.0/me /%0a/evil.com/rest/v1.0/me
    `) {
    await refused(t, rig, target, INVALID)
  }
  for (const target of ['/acme//rest/v1.0/me', '/acme/%2frest/v1.0/me', '//', '/%2e%2e//evil.com/rest/']) {
    await refused(t, rig, target, /^40[04] /, 'nor behind a prefix')
  }
})

// reply-from GHSA-2q7r-29rg-6m5h, CVE-2021-41773’s class
t.test('dot segments in every encoding are refused', async (t) => {
  const rig = await start(t)
  // Each encoding once: test/routing/raw-request.test.ts has every spelling.
  for (const segment of words`. .. %2e%2E .%252e %25252e%25252e %25%32%65. %2%65 %%32e`) {
    await refused(t, rig, `/acme/rest/v1.0/${segment}/v2.0/me`, INVALID)
    await refused(t, rig, `/acme/rest/v1.0/me/${segment}`, INVALID, 'at the end')
  }
  for (const slash of words`/ %2f %252f %5c %255C \\`) {
    await refused(t, rig, `/acme/rest/v1.0${slash}..${slash}..${slash}oauth/token`, INVALID)
    await refused(t, rig, `/acme/rest/x${slash}.%2e;a=b/y`, INVALID, 'with a path parameter (Tomcat’s class)')
  }
  for (const target of words`
      /.. /../rest/v1.0/me /acme/../globex/rest/v1.0/me /acme/rest/../../globex/rest/v1.0/me /acme/rest/..?x=1
      /acme/rest/..%20/x /acme/rest/..%3f /acme/rest/%20../x /acme/rest/..%23
      /acme/rest/%25c0%25ae%25c0%25ae/x /acme/rest/.%0a./x /acme/rest/%09../x /acme/rest/.%0d%0a/x
      /acme/rest/..%00/x /acme/rest/..%2500/x /%2e%2e/rest/v1.0/me /acme/_proxy/../rest/v1.0/me
      /_proxy/../rest/v1.0/me
    `) {
    await refused(t, rig, target, INVALID)
  }
})

t.test('dots that are no segment of their own, and dots in a query, pass as they are', async (t) => {
  const rig = await start(t)
  for (const up of words`
    /rest/v1.0/echo/a..b/..c/d../... /rest/v1.0/echo/.hidden/a. /rest/v1.0/echo/%2ehidden/a%2e
    /rest/v1.0/echo/....//x /rest/v1.0/echo?p=../../x&q=/./%2e%2e/ /rest/v1.0/echo/%E2%80%A5/x
    /rest/v1.0/echo/a;b=..c/x
  `) {
    await passes(t, rig, `/acme${up}`, up)
  }
})

t.test('NUL, control characters, spaces, fragments and bytes beyond ASCII are refused', async (t) => {
  const rig = await start(t)
  for (const target of ['/acme/rest/a%00b', '/acme/rest/a%2500b', '/acme/rest/%25%30%30', '/acme/rest/%00']) {
    await refused(t, rig, target, INVALID)
  }
  for (const byte of ['\0', '\x1f', '\x7f', '\xff', '\xc3\xa9', '#x', '\t', ' x', '\r']) {
    await refused(t, rig, `/acme/rest/v1.0/echo${byte}`, INVALID)
    await refused(t, rig, `/acme/rest/v1.0/echo?q=${byte}`, INVALID)
    await refused(t, rig, `/acme${byte}/rest/v1.0/echo`, INVALID)
  }
  for (const line of [
    'GET\t/acme/rest/v1.0/echo HTTP/1.1',
    'GET /acme/rest/v1.0/echo\tHTTP/1.1',
    'GET /acme/rest/v1.0/echo HTTP/1.1 ',
    'GET /acme/rest/v1.0/echo HTTP/1.2',
    'GET /acme/rest/v1.0/echo HTTP/2.0',
    'GET /acme/rest/v1.0/echo HTTP/0.9',
    'GET /acme/rest/v1.0/echo',
    'GET /acme/rest/v1.0/echo ICE/1.0',
    'GET /acme/rest/v1.0/echo HTTP/11',
    'GET /acme/rest/v1.0/echo http/1.1',
    'GET /acme/rest/v1.0/echo HTTP/1.1\r',
    ' GET /acme/rest/v1.0/echo HTTP/1.1',
  ]) {
    const { verdict, seen } = await attack(rig, head(line, 'Host: localhost', 'Connection: close'))
    t.equal(verdict, INVALID, JSON.stringify(line))
    t.equal(seen.length, 0)
  }
})

// UTF-8 of IIS’s CVE-2000-0884
t.test('overlong and broken percent escapes in a path are refused', async (t) => {
  const rig = await start(t)
  for (const broken of [
    ...words`
      %c0%ae%c0%ae %c0%af %e0%80%af %f0%80%80%af %c1%9c %fe %ff %ed%a0%80 %f4%90%80%80 %80 % %2 %zz %2g %u002e
      %-1
    `,
    '% 2e',
  ]) {
    await refused(t, rig, `/acme/rest/v1.0/echo/${broken}/x`, INVALID)
    await refused(t, rig, `/acme/rest/v1.0/echo/${broken}`, INVALID)
  }
  for (const up of ['/rest/v1.0/echo?q=%zz&r=%&s=%c0%ae', '/rest/v1.0/echo/%C3%A9%e2%82%ac%20%26%3F%23']) {
    await passes(t, rig, `/acme${up}`, up)
  }
})

t.test('very long targets are refused quickly, and the connection does not hang', async (t) => {
  const rig = await start(t)
  const long = '/rest/v1.0/echo?q='.padEnd(14_000, 'x')
  await passes(t, rig, `/acme${long}`, long)
  for (const bytes of [
    getOf('/acme/rest/v1.0/echo?q='.padEnd(100_000, 'x')),
    `GET /${'x'.repeat(1_000_000)}`,
    `${'G'.repeat(100_000)}`,
  ]) {
    const { verdict, seen, closed } = await attack(rig, bytes, { lingerMs: 1_000 })
    t.match(verdict, /^(?:400 request_invalid|nothing)$/)
    t.ok(closed, 'closed')
    t.equal(seen.length, 0)
  }
  const nested = `/acme/rest/v1.0/echo/%${'25'.repeat(4_000)}2e%252e/x`
  const before = performance.now()
  await refused(t, rig, nested, INVALID)
  t.ok(performance.now() - before < 1_000, 'escapes of escapes cost no more than they are long')
})

t.test('reserved words and other paths are no way to the API, nor past it', async (t) => {
  const rig = await start(t)
  for (const target of words`
    /acme /acme/ /rest /acme/rest /REST/v1.0/me /acme/Rest/v1.0/me /acme/%72est/v1.0/me /%61cme/rest/v1.0/me
    /acme%2frest/v1.0/me /acme/rest%2fv1.0/me /acme;/rest/v1.0/me /acme/;/rest/v1.0/me /acme/rest;x/v1.0/me
    /acme/restx/v1.0/me /acme/globex/rest/v1.0/me /acme/acme/rest/v1.0/me /acme/7656/rest/v1.0/me
    /acme/oauth/authorize /oauth/applications /oauth/token/../rest/v1.0/me /admin /_proxyx/rest/v1.0/me
    /rest_/v1.0/me /users/sign_in /index.html
  `) {
    await refused(
      t,
      rig,
      target,
      /^40[04] (?:route_unknown|company_unknown|request_invalid|company_required)$/,
    )
  }
  for (const word of ['rest', 'vapid', 'oauth', '_proxy']) {
    await refused(t, rig, `/${word}/rest/v1.0/me`, /^40[04] /, 'a reserved word is never a company')
  }
  for (const name of words`evil constructor __proto__ toString hasOwnProperty 999 07656 7656.0 +7656`) {
    await refused(t, rig, `/${name}/rest/v1.0/me`, /^404 (?:company_unknown|route_unknown)$/)
  }
})

t.test('own pages can’t be reached by a spelling that is judged as another path', async (t) => {
  const rig = await start(t)
  for (const target of words`
    /%5fproxy/status /_proxy%2fstatus /_proxy/%73tatus /x/y/_proxy/health/live /acme/globex/_proxy/health/live
    /rest/_proxy/health/live /acme/rest/_proxy/status /_proxy/unknown /oauth/token/unknown
  `) {
    const { verdict, answers, seen } = await attack(rig, getOf(target))
    t.not(verdict, 'nothing', `${target} is answered, and no connection hangs`)
    const owned = answers[0]?.body === 'up\n'
    t.notOk(owned, `${target} is not the health page (${verdict})`)
    for (const entry of seen) t.ok(target.endsWith(entry.url), 'and goes up as it is, if at all')
  }
})

// http-proxy-middleware #1168: filter before decode
t.test('a company hidden by encoding or repetition still conflicts', async (t) => {
  const rig = await start(t)
  const conflict = '409 company_conflict'
  const table: [target: string, lines?: string[]][] = [
    // Each reading once: test/routing/company.test.ts has every spelling.
    [`/acme/rest/v2.0/companies/${GLOBEX}/projects`],
    ['/acme/rest/v2.0/companies%252f999'],
    ['/acme/rest/v2.0/companies;a/999'],
    ['/acme/rest/v2.0/%63ompanies/%39%39%39/projects'],
    ['/acme/rest/v2.0/companies/7656/x/companies/999'],
    ['/acme/rest/v2.0/companies/999;7656/projects'],
    ['/acme/rest/v2.0/x%3fcompany_id=999'],
    ['/acme/vapid/companies/999/projects'],
    ['/acme/rest/v1.0/projects?company%255fid=999'],
    ['/acme/rest/v1.0/projects?Company_id[]=999'],
    ['/acme/rest/v1.0/projects?company_id=7656&company_id=999'],
    ['/acme/rest/v1.0/projects?company_id=7656;company_id=999'],
    ['/acme/rest/v1.0/projects?company_id=7656%00'],
    ['/acme/rest/v1.0/me', [`Procore-Company-Id: ${GLOBEX}`]],
    ['/acme/rest/v1.0/me', ['Procore-Company-Id: 7656', `procore-company-id: ${GLOBEX}`]],
    ['/acme/rest/v1.0/me', ['Procore-Company-Id: 7656, 999']],
    ['/acme/rest/v1.0/me', ['Procore-Company-Id: 07656']],
    ['/rest/v1.0/me', ['Procore-Company-Id: 7656', `Procore-Company-Id: ${GLOBEX}`]],
    [`/rest/v2.0/companies/${GLOBEX}/projects`, ['Procore-Company-Id: 7656']],
    [`/rest/v1.0/projects?company_id=${GLOBEX}`, ['Procore-Company-Id: 7656']],
    [`/rest/v2.0/companies/7656/projects?company_id=${GLOBEX}`],
    ['/globex/rest/v2.0/companies/562949953443324/projects'],
  ]
  for (const [target, lines = []] of table) {
    const { verdict, seen } = await attack(rig, getOf(target, ...lines))
    t.equal(verdict, conflict, `${target} ${lines.join(' ')}`)
    t.equal(seen.length, 0)
  }
  const byHost = await attack(
    rig,
    head('GET /globex/rest/v1.0/me HTTP/1.1', 'Host: acme.localhost', 'Connection: close'),
  )
  t.equal(byHost.verdict, conflict, 'Host label and prefix')
  await refused(t, rig, '/%37656/rest/v1.0/me', /^40[04] /, 'an encoded prefix is no company')
  await refused(t, rig, '/acme/rest/v1.0/x?%company_id=999', /^(?:400 request_invalid|409 company_conflict)$/)
  for (const up of words`
      /rest/v2.0/companies/${ACME}/projects /rest/v2.0/companies/%37656/projects
      /rest/v1.0/projects?company_id=%37656 /rest/v1.0/projects?company_id=
      /rest/v1.0/echo?note=company_id%3D999 /rest/v1.0/echo/companies/me
    `) {
    await passes(t, rig, `/acme${up}`, up)
  }
})

// reply-from GHSA-v574-6498-x57v
t.test('two callers whose targets look alike never share an upstream', async (t) => {
  const rig = await start(t)
  for (const up of ['/rest/v1.0/echo', '/rest/v1.0/echo/globex', '/rest/v1.0/echo/acme?globex']) {
    await passes(t, rig, `/acme${up}`, up, ACME)
    await passes(t, rig, `/globex${up}`, up, GLOBEX)
    await passes(t, rig, `/7656${up}`, up, ACME)
  }
  const sockets: Record<string, Set<number>> = { [ACME]: new Set(), [GLOBEX]: new Set() }
  rig.fake.journal.clear()
  for (let i = 0; i < 20; i++) {
    await Promise.all(['acme', 'globex'].map((name) => rig.get(`/${name}/rest/v1.0/echo`)))
  }
  for (const { headers, socket } of rig.fake.journal.api())
    sockets[headers['procore-company-id']!]!.add(socket)
  for (const socket of sockets[ACME]!) t.notOk(sockets[GLOBEX]!.has(socket), 'nor a connection')
})

t.test('what is not refused goes up once, as the bytes that were sent, for the company meant', async (t) => {
  const rig = await start(t)
  const piece = fc.constantFrom(
    ...words`/ // . .. %2e %2E %2f %5c \\ ; %25 25 % ? & = # @ :`,
    ...[
      'companies',
      'company_id',
      '7656',
      '999',
      GLOBEX,
      'rest',
      'acme',
      'globex',
      '_proxy',
      'oauth',
      '%00',
      '%0a',
      '[]',
    ],
    ...['a', 'é', '%c3%a9', '+', '*', '~', "'", '"', '<', '|', '{', '^'],
  )
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('', '/acme', '/globex', '/7656'),
      fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')),
      async (prefix, tail) => {
        const up = `/rest/v1.0/echo/${tail}`
        const { verdict, seen } = await attack(rig, getOf(prefix + up), { lingerMs: 0 })
        if (seen.length === 0) return /^4[0-9]{2} [a-z_]+$/.test(verdict)
        const company = seen[0]!.headers['procore-company-id']
        const meant = prefix === '/globex' ? GLOBEX : prefix === '' ? company : ACME
        return (
          seen.length === 1 &&
          seen[0]!.url === up &&
          company === meant &&
          !/\/\.\.?(?:[/;?]|$)/.test(up.split('?')[0]!)
        )
      },
    ),
    { numRuns: 400 },
  )
})

t.test('headers that would change path or method for a server do not go up, however spelt', async (t) => {
  const rig = await start(t)
  for (const name of words`
      X-Original-URL X-Rewrite-URL X-Original-URI X-Original-Method X-Forwarded-Uri X_Original_Url
      X-Override-URL X-Original-Host
    `) {
    const { verdict, seen } = await attack(
      rig,
      getOf('/acme/rest/v1.0/echo', `${name}: /rest/v2.0/companies/999`),
    )
    t.equal(verdict, '200')
    t.notMatch(seen[0]?.rawHeaders.join('\n'), /999/, name)
  }
  for (const name of words`X-HTTP-Method-Override X-HTTP-Method X-Method-Override X_Http_Method_Override`) {
    const { verdict, seen } = await attack(rig, getOf('/acme/rest/v1.0/echo', `${name}: DELETE`))
    t.equal(verdict, '403 access_denied', `a read with ${name}`)
    t.equal(seen.length, 0)
  }
})
