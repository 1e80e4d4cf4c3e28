// Covers src/guards/access.ts
import fc from 'fast-check'
import t from 'tap'
import { resolveRule } from '../../src/config/access-rules.ts'
import type { Access } from '../../src/config/config.ts'
import type { RuleSettings } from '../../src/config/schema.ts'
import { decideAccess, type JudgedRequest, matchesPattern, type Rights } from '../../src/guards/access.ts'
import { judgeCaller } from '../../src/guards/callers.ts'
import { words } from '../fixtures/words.ts'

const denied = { name: 'ProxyError', code: 'access_denied' }
const judge = (company: Rights, request: JudgedRequest) =>
  judgeCaller(undefined, { name: 'acme', company }, request)
/** Without rules. */
const judgeAccess = (access: Access, request: Omit<JudgedRequest, 'path'>) =>
  judge({ access, rules: [] }, { path: '/rest/v1.0/me', ...request })
const WRITES = ['POST', 'PUT', 'PATCH', 'DELETE', 'PROPPATCH', 'MKCOL', 'LINK', 'QUERY', 'get', '']

t.test('A read-write company takes every method', async (t) => {
  const rawHeaders = ['X-HTTP-Method-Override', 'DELETE']
  for (const method of WRITES) {
    t.doesNotThrow(() => judgeAccess('read-write', { method, rawHeaders, query: '?_method=delete' }), method)
  }
})

t.test('A read-only company takes GET, HEAD and OPTIONS alone', async (t) => {
  for (const method of ['GET', 'HEAD', 'OPTIONS']) {
    t.doesNotThrow(() => judgeAccess('read-only', { method, rawHeaders: [], query: '' }), method)
  }
  for (const method of WRITES) {
    t.throws(() => judgeAccess('read-only', { method, rawHeaders: [], query: '' }), denied, method)
  }
})

t.test('No company takes a read that asks to be taken for a write', async (t) => {
  const names = ['X-HTTP-Method-Override', 'x-http-method', 'X-METHOD-OVERRIDE', 'X_HTTP_Method_Override']
  for (const name of names) {
    for (const value of ['DELETE', 'post', ' Put ', 'GET, POST', 'anything']) {
      const rawHeaders = ['Accept', '*/*', name, value]
      for (const access of ['read-only', 'read-write'] as const) {
        const judged = () => judgeAccess(access, { method: 'GET', rawHeaders, query: '' })
        t.throws(judged, denied, `${access} ${name}: ${value}`)
      }
    }
    const twice = [name, 'GET', name, 'DELETE']
    t.throws(() => judgeAccess('read-only', { method: 'GET', rawHeaders: twice, query: '' }), denied)
    for (const value of ['get', 'HEAD', '']) {
      const rawHeaders = [name, value]
      t.doesNotThrow(
        () => judgeAccess('read-only', { method: 'GET', rawHeaders, query: '' }),
        `${name}: ${value}`,
      )
    }
  }
  for (const query of words`
    ?_method=delete ?a=1&_method=POST ?%5Fmethod=put ?_method[]=x ?_method=get&_method=put ?%255Fmethod=put
    ?_METHOD=put
  `) {
    t.throws(() => judgeAccess('read-only', { method: 'GET', rawHeaders: [], query }), denied, query)
  }
  for (const query of ['?_method=get', '?_method=', '?http_method=POST', '?a=_method']) {
    const rawHeaders = ['X-Method-Overrides', 'DELETE', 'X-Some-Header', 'DELETE']
    t.doesNotThrow(() => judgeAccess('read-only', { method: 'GET', rawHeaders, query }), query)
  }
  const undecodable = { method: 'GET', rawHeaders: [], query: '?_method=%zz' }
  t.throws(() => judgeAccess('read-only', undecodable), { code: 'request_invalid' })
})

interface Asked {
  readonly path?: string
  readonly method?: string
  readonly headers?: readonly string[]
  readonly query?: string
}

/** The decision of a company with these rules. */
function decide(rules: readonly RuleSettings[], access: Access, asked: string | Asked) {
  const {
    path = '/rest/v1.0/me',
    method = 'GET',
    headers = [],
    query = '',
  } = typeof asked === 'string' ? { path: asked } : asked
  const company = { access, rules: rules.map(resolveRule) }
  return decideAccess(company, { method, path, rawHeaders: headers, query })
}

t.test('The first rule that matches decides, else the access', async (t) => {
  const rules: RuleSettings[] = [
    { allow: '/rest/v1.0/users/me' },
    { deny: ['/rest/*/users', '/rest/*/users/**'] },
    { allow: '/rest/v1.0/projects/*/logs', methods: ['POST'] },
    { deny: '/vapid/**', methods: ['reads'] },
  ]
  const cases: [asked: string | Asked, readWrite: boolean, readOnly: boolean, why: RegExp][] = [
    ['/rest/v1.0/users/me', true, true, /^Rule 1 \(allow \/rest\/v1\.0\/users\/me\) lets it through\.$/],
    ['/rest/v1.0/users', false, false, /^Rule 2 \(deny \/rest\/\*\/users\) refuses it\.$/],
    ['/rest/v1.0/users/7', false, false, /^Rule 2 \(deny \/rest\/\*\/users\/\*\*\) refuses it\.$/],
    [{ path: '/rest/v1.0/users/7', method: 'POST' }, false, false, /^Rule 2 /],
    [{ path: '/rest/v1.0/projects/7/logs', method: 'POST' }, true, true, /^Rule 3 \(allow POST \/rest/],
    [
      { path: '/rest/v1.0/projects/7/logs', method: 'PUT' },
      true,
      false,
      /^No rule matches, and the company is read-/,
    ],
    [{ path: '/rest/v1.0/projects/7/8/logs', method: 'POST' }, true, false, /^No rule matches/],
    ['/rest/v1.0/projects/7/logs', true, true, /^No rule matches/],
    ['/vapid/x', false, false, /^Rule 4 \(deny GET, HEAD, OPTIONS \/vapid/],
    [{ path: '/vapid/x', method: 'POST' }, true, false, /^No rule matches/],
    [{ path: '/vapid/x', method: 'PROPPATCH' }, true, false, /^No rule matches/],
  ]
  for (const [asked, readWrite, readOnly, why] of cases) {
    t.match(decide(rules, 'read-write', asked), { allowed: readWrite, why }, JSON.stringify(asked))
    t.match(decide(rules, 'read-only', asked), { allowed: readOnly, why }, JSON.stringify(asked))
  }
  const reading = decide([{ deny: '/vapid/**' }], 'read-only', '/rest/a')
  t.equal(reading.why, 'No rule matches, and the company is read-only: GET is a reading method.')
  const writing = decide([{ deny: '/vapid/**' }], 'read-write', { path: '/rest/a', method: 'PUT' })
  t.equal(writing.why, 'No rule matches, and the company is read-write.')
})

t.test('GET covers HEAD', async (t) => {
  const rules: RuleSettings[] = [{ deny: '/rest/secret', methods: ['GET'] }]
  t.notOk(decide(rules, 'read-write', { path: '/rest/secret', method: 'HEAD' }).allowed)
  t.ok(decide(rules, 'read-write', { path: '/rest/secret', method: 'OPTIONS' }).allowed)
})

t.test('A refusal by rules says which one, and how to fix it', async (t) => {
  const company = { access: 'read-write' as const, rules: [resolveRule({ deny: '/**' })] }
  const request = { method: 'GET', path: '/rest/a', rawHeaders: [], query: '' }
  t.throws(() => judge(company, request), {
    code: 'access_denied',
    message: 'Rule 1 (deny /**) refuses it.',
    help: /rules.*explain METHOD URL/,
  })
  const open = { access: 'read-write' as const, rules: [resolveRule({ allow: '/**' })] }
  t.doesNotThrow(() => judge(open, request))
})

const SPELLINGS = words`
  /rest/v1.0/payroll/5 /rest/v1.0/%70ayroll/5 /rest/v1.0/p%61yroll%2F5 /rest/v1.0/%2570ayroll/5
  /rest/v1.0/%252570ayroll/5 /rest/v1.0/p%2561yroll%252f5 /rest/v1.0//payroll/5 /rest//v1.0/payroll/5
  /rest/v1.0/payroll//5 /rest/v1.0/payroll/5/ /rest/v1.0/payroll/5// /rest/v1.0/payroll/5%2f
  /rest/v1.0/payroll/5.json /rest/v1.0/payroll/5.pdf /rest/v1.0/payroll/5%2ejson /rest/v1.0/payroll/5.json/
  /rest/v1.0/payroll/5.tar.gz /rest/v1.0/payroll/5.json;v=1 /rest/v1.0/payroll;a=b/5 /rest/v1.0/payroll/5;a=b
  /rest/v1.0/;x/payroll/5 /rest/v1.0/payroll%3bx/5 /rest/v1.0/PAYROLL/5 /rest/v1.0/Pay%52oll/5
  /rest/v1.0/payroll/5%3Fx=1 /rest/v1.0/payroll/5%23x /rest/v1.0/pay%0aroll/5 /rest/v1.0/payroll/5%20
  /rest/v1.0/%09payroll/5 /rest/v1.0/payroll/5%3B%25zz%250a
`

t.test('Another spelling of a path gets past no deny rule, nor past an allow rule', async (t) => {
  for (const path of SPELLINGS) {
    for (const pattern of ['/rest/v1.0/payroll/5', '/rest/v1.0/payroll/*', '/**/payroll/**']) {
      const rules: RuleSettings[] = [{ deny: pattern }, { allow: '/**' }]
      t.notOk(decide(rules, 'read-write', path).allowed, `${path} against ${pattern}`)
    }
    const capitals: RuleSettings[] = [{ deny: '/rest/v1.0/PayRoll/*' }, { allow: '/**' }]
    t.notOk(decide(capitals, 'read-write', path).allowed, `${path} against capitals`)
  }
  // What only the raw bytes look like is not let through.
  const only: [pattern: string, path: string][] = [
    ['/rest/v1.0/projects/*', '/rest/v1.0/projects/5%2Fusers'],
    ['/rest/v1.0/projects/*', '/rest/v1.0/projects/5%252Fusers'],
    ['/rest/v1.0/*-public', '/rest/v1.0/secret.x-public'],
    ['/rest/v1.0/projects/**', '/rest/v1.0/projects/'],
    ['/rest/v1.0/projects', '/rest/v1.0/projects.json'],
    ['/rest/v1.0/projects', '/rest/v1.0/Projects'],
    ['/rest/v1.0/Projects', '/rest/v1.0/projects'],
    ['/rest/v1.0/projects', '/rest/v1.0/project%73'],
    ['/rest/v1.0/a/*', '/rest/v1.0/a/%2525252525'],
  ]
  for (const [pattern, path] of only) {
    const rules: RuleSettings[] = [{ allow: pattern }, { deny: '/**' }]
    t.notOk(decide(rules, 'read-write', path).allowed, `${path} against ${pattern}`)
  }
  const byAccessToo = decide([{ allow: '/rest/v1.0/me.json' }], 'read-only', '/rest/v1.0/me.json')
  t.match(byAccessToo, { allowed: true, byRule: false }, 'a rule that allows one reading only')
  t.ok(
    decide([{ allow: '/rest/v1.0/projects/*' }], 'read-only', {
      path: '/rest/v1.0/projects/5.json',
      method: 'PUT',
    }).allowed,
  )
})

t.test('A reading that is refused is told', async (t) => {
  const { why } = decide([{ deny: '/rest/a' }], 'read-write', '/rest//%61.json')
  t.equal(why, 'Rule 1 (deny /rest/a) refuses it, the path read as "/rest/a".')
})

t.test('A path that is too long or escaped too often is not held against rules', async (t) => {
  const rules: RuleSettings[] = [{ allow: '/**' }, { deny: '/rest/x' }]
  for (const path of [`/rest/${'a'.repeat(4091)}`.concat('a'), '/rest/%25252525']) {
    t.match(
      decide(rules, 'read-write', path),
      { allowed: false, why: /too long, or escaped too often/ },
      path,
    )
  }
  for (const path of [`/rest/${'a'.repeat(4090)}`, '/rest/%252525']) {
    t.ok(decide(rules, 'read-write', path).allowed, path)
  }
})

t.test('A request that may be taken for another method has to be allowed as that one', async (t) => {
  const noDelete: RuleSettings[] = [{ deny: '/rest/**', methods: ['DELETE'] }]
  const path = '/rest/v1.0/projects/7'
  const form = 'application/x-www-form-urlencoded'
  const refused: Asked[] = [
    { method: 'DELETE' },
    { method: 'POST', headers: ['X-HTTP-Method-Override', 'delete'] },
    { method: 'POST', headers: ['x_http_method', ' DELETE '] },
    { method: 'POST', headers: ['X-Method-Override', 'GET, DELETE'] },
    { method: 'POST', headers: ['X-Method-Override', 'GET', 'X-Method-Override', 'DELETE'] },
    { method: 'POST', query: '?_method=delete' },
    { method: 'POST', query: '?_method=nonsense' },
    { method: 'POST', headers: ['Content-Type', form] },
    { method: 'POST', headers: ['content-type', ` ${form.toUpperCase()}; charset=x`] },
    { method: 'POST', headers: ['Content_Type', 'multipart/form-data; boundary=x'] },
    { method: 'POST', headers: ['Content-Type', 'application/json', 'Content-Type', form] },
    { method: 'POST', headers: ['Content-Length', '5'] },
    { method: 'POST', headers: ['Content-Type', '', 'Transfer-Encoding', 'chunked'] },
  ]
  for (const asked of refused) {
    t.match(
      decide(noDelete, 'read-write', { path, ...asked }),
      { allowed: false, why: /^Rule 1 / },
      JSON.stringify(asked),
    )
  }
  const allowed: Asked[] = [
    { method: 'POST' },
    { method: 'POST', headers: ['Content-Length', '0'] },
    { method: 'POST', headers: ['Content-Type', 'application/json; charset=utf-8', 'Content-Length', '5'] },
    { method: 'POST', headers: ['Connection', 'close', 'Content-Type', 'text/plain', 'X-A', 'content-type'] },
    { method: 'POST', headers: ['X-Method-Override', ''] },
    { method: 'POST', headers: ['X-Method-Override', 'PUT'] },
    { method: 'PUT', headers: ['Content-Type', form, 'Content-Length', '5'] },
  ]
  for (const asked of allowed) {
    t.ok(decide(noDelete, 'read-write', { path, ...asked }).allowed, JSON.stringify(asked))
  }
  const upload: Asked = { method: 'POST', path, headers: ['Content-Type', 'multipart/form-data'] }
  t.equal(
    decide([{ allow: '/rest/**', methods: ['POST'] }], 'read-only', upload).why,
    'No rule matches, and the company is read-only: DELETE is a writing method, taken for DELETE (a form, whose content is not read, may ask for that).',
  )
  t.ok(decide([{ allow: '/rest/**', methods: ['writes'] }], 'read-only', upload).allowed)
  t.throws(() => decide(noDelete, 'read-write', { path, query: '?_method=%zz' }), { code: 'request_invalid' })
})

t.test('Overrides with an own rule are told apart from the request itself', async (t) => {
  const rules: RuleSettings[] = [{ deny: '/rest/**', methods: ['DELETE'] }]
  const { why } = decide(rules, 'read-write', { method: 'POST', query: '?_method=delete' })
  t.equal(
    why,
    "Rule 1 (deny DELETE /rest/**) refuses it, taken for DELETE (the query's _method may ask for that).",
  )
})

t.test('No path gets past a deny rule that comes first and matches its decoded normal form', async () => {
  const segment = fc.stringMatching(/^[a-z0-9_]{1,6}$/)
  const spell = fc.array(fc.nat(9), { minLength: 40, maxLength: 40 })
  const wildcard = fc.array(fc.constantFrom('keep', '*', 'keep'), { minLength: 4, maxLength: 4 })
  fc.assert(
    fc.property(
      fc.array(segment, { minLength: 1, maxLength: 4 }),
      wildcard,
      spell,
      fc.constantFrom('', '/', '//', '.json', '.pdf', ';a=b', '%2f', '%20', '.json/'),
      fc.constantFrom('/**', '/rest/**', '/rest/x'),
      (segments, stars, odds, end, more) => {
        const pattern = `/rest/${segments.map((one, at) => (stars[at] === '*' ? '*' : one)).join('/')}`
        let spelt = 0
        const spelled = segments
          .map((one) =>
            [...one]
              .map((char) => {
                const odd = odds[spelt++ % odds.length]
                const hex = char.charCodeAt(0).toString(16)
                if (odd === 0) return `%${hex}`
                if (odd === 1) return `%25${hex}`
                return odd === 2 ? char.toUpperCase() : char
              })
              .join(''),
          )
          .join(odds[0]! > 7 ? '//' : '/')
        const rules: RuleSettings[] = [{ deny: pattern }, { allow: more }]
        return !decide(rules, 'read-write', `/rest/${spelled}${end}`).allowed
      },
    ),
  )
})

t.test('* stays within a segment, ** does not', async (t) => {
  const cases: [pattern: string, matching: string[], others: string[]][] = [
    ['/rest/a', ['/rest/a'], ['/rest/A', '/rest/ab', '/rest/', '/rest', '', '/rest/a/', 'x/rest/a']],
    ['/rest/*', ['/rest/', '/rest/a', '/rest/a.b;c'], ['/rest', '/rest/a/b', '/rest/a/']],
    ['/rest/*/b', ['/rest/a/b', '/rest//b'], ['/rest/b', '/rest/a/a/b', '/rest/a/b/', '/rest/a/bb']],
    ['/rest/a*c', ['/rest/ac', '/rest/abcbc'], ['/rest/a', '/rest/ab', '/rest/a/c', '/rest/acb']],
    ['/rest/**', ['/rest/', '/rest/a/b/c'], ['/rest', '/vapid/a']],
    ['/**', ['/', '/rest/a'], ['', 'rest']],
    ['/**/users', ['/rest/v1/users', '//users'], ['/users', '/rest/users/1', '/rest/xusers']],
    ['/**users', ['/users', '/a/xusers'], ['/users/']],
    ['/**/users/*', ['/a/users/1', '/a/users/b/users/1'], ['/a/users/1/2', '/a/users']],
    ['/**/a/*/b/**', ['/x/a/1/b/', '/x/a/y/a/1/b/2/3'], ['/x/a/1/2/b/3', '/x/a/1/b']],
    ['/**a*b', ['/ab/ab', '/a/axb'], ['/a/b', '/ab/a']],
    ['/a.b', ['/a.b'], ['/axb']],
    ['/(a+)+$', ['/(a+)+$'], ['/aa']],
  ]
  for (const [pattern, matching, others] of cases) {
    for (const path of matching) t.ok(matchesPattern(pattern, path), `${pattern} takes ${path}`)
    for (const path of others) t.notOk(matchesPattern(pattern, path), `${pattern} leaves ${path}`)
  }
})

t.test('It says what a regular expression would', async () => {
  const piece = fc.constantFrom('/', 'a', 'b', '*', '**', '/a', '*/', 'ab')
  const pattern = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join('').replace(/\*{3,}/g, '**'))
  const path = fc
    .array(fc.constantFrom('/', 'a', 'b', 'ab', '/a'), { maxLength: 12 })
    .map((all) => all.join(''))
  fc.assert(
    fc.property(pattern, path, (glob, text) => {
      const source = glob.replace(/\*\*|\*/g, (star) => (star === '*' ? '[^/]*' : '.*'))
      return matchesPattern(glob, text) === new RegExp(`^${source}$`).test(text)
    }),
    { numRuns: 20_000 },
  )
})

t.test('No path makes it slow', async (t) => {
  const patterns = [
    `/${'**a'.repeat(80)}b`,
    `/${'*a'.repeat(120)}b`,
    `/**${'*a'.repeat(100)}b`.replace('***', '**'),
    `/${'**/*a'.repeat(40)}b`,
    `/**/${'a*'.repeat(100)}/b`,
    `/**x${'*aaaaaaaaaaaa'.repeat(18)}b`,
  ]
  const paths = [
    `/${'a'.repeat(4095)}`,
    `/${'a/'.repeat(2047)}`,
    `/${'x'.repeat(2000)}${'a'.repeat(2000)}`,
    `/${'aaaaaaaaaaaaaaa/'.repeat(255)}`,
  ]
  for (const pattern of patterns) {
    for (const path of paths) {
      const startedAt = performance.now()
      t.notOk(matchesPattern(pattern, path))
      const ms = performance.now() - startedAt
      t.ok(ms < 250, `${pattern.slice(0, 20)} on ${path.slice(0, 20)}: ${ms.toFixed(1)} ms`)
    }
  }
})

t.test('A long path costs little more than a short one', async (t) => {
  for (const pattern of ['/**/rfis', '/rest/*/projects/*/rfis/**', '/rest/v1.0/projects/*/rfis']) {
    const path = `/rest/v1.0/projects/${'a'.repeat(4000)}`
    const startedAt = performance.now()
    for (let nth = 0; nth < 10_000; nth++) matchesPattern(pattern, path)
    const ms = performance.now() - startedAt
    t.ok(ms < 250, `${pattern}: ${ms.toFixed(1)} ms`)
  }
})

t.test('The time to judge a query grows with the methods that it names, not with their square', (t) => {
  const company = { access: 'read-only' as const, rules: [resolveRule({ allow: '/**' })] }
  const timeOf = (methods: number, times: number) => {
    const query = `?${'_method=get&'.repeat(methods)}`
    const start = performance.now()
    for (let i = 0; i < times; i++) judge(company, { method: 'GET', path: '/rest/a', rawHeaders: [], query })
    return performance.now() - start
  }
  timeOf(100, 500)
  t.ok(timeOf(2_700, 20) < 4 * timeOf(100, 540))
  t.end()
})
