// Covers src/config/access-rules.ts; what it makes of companies is in assemble.test.ts
import t from 'tap'
import { accessIn, checkPattern, checkRules, expandMethods } from '../../src/config/access-rules.ts'
import type { Access } from '../../src/config/config.ts'
import { keyOf } from '../../src/config/problems.ts'
import type { RuleSettings } from '../../src/config/schema.ts'

t.test('a pattern is a plain path with wildcards', async (t) => {
  const good =
    '/** /**/users /**users /rest/* /rest/** /rest/v1.0/projects/*/a.b-c_d~(e) /vapid/a:b@c /rest/..a/.b'
  for (const pattern of [...good.split(' '), `/rest/${'a'.repeat(250)}`]) {
    t.equal(checkPattern(pattern), undefined, pattern)
  }
  const cases: [string, RegExp, RegExp][] = [
    ['/rest/a%20b', /contains "%"/, /without query and escapes/],
    ['/rest/a?b=c', /contains "\?"/, /without query/],
    ['/rest/a#b', /contains "#"/, /only the path/],
    ['/rest/a b', /contains " "/, /only the path/],
    ['/rest/ü', /contains "ü"/, /only the path/],
    ['/rest/a;b', /contains ";"/, /only the path/],
    ['/rest/a\\b', /contains "\\\\"/, /only the path/],
    ['/rest/[ab]', /contains "\["/, /only the path/],
    ['/rest/***', /more than two \*/, /Write \* or \*\*/],
    ['/rest//a', /doubled slash/, /Write one/],
    ['/rest/a/', /ends with a slash/, /Write \/rest\/a, or \/rest\/a\/\*\* for everything below/],
    ['/rest/a/../b', /dot segment/, /without it/],
    ['/rest/.', /dot segment/, /without it/],
    [`/rest/${'a'.repeat(251)}`, /too long/, /at most 256/],
  ]
  const outside = [
    '',
    'rest/a',
    '/a',
    '/rest',
    '/*/a',
    '/restful/a',
    '/_proxy/**',
    '/acme/rest/a',
    'https://a.b/rest/a',
  ]
  for (const pattern of outside) cases.push([pattern, /can't match any path/, /Start it with \/rest\//])
  for (const [pattern, message, fix] of cases) t.match(checkPattern(pattern), { message, fix }, pattern)
})

t.test('words stand for methods', async (t) => {
  t.equal(expandMethods(undefined), undefined)
  t.strictSame(expandMethods(['GET']), ['GET', 'HEAD'])
  t.strictSame(expandMethods(['HEAD']), ['HEAD'])
  t.strictSame(expandMethods(['reads']), ['GET', 'HEAD', 'OPTIONS'])
  t.strictSame(expandMethods(['writes', 'PUT']), ['DELETE', 'PATCH', 'POST', 'PUT'])
})

t.test('the access of an environment is no other one', async (t) => {
  t.equal(accessIn('production', { access: undefined }, { production: 'read-only' }), 'read-only')
  t.equal(accessIn('production', { access: 'read-write' }, { production: 'read-only' }), 'read-write')
  t.equal(accessIn('sandbox', { access: undefined }, { production: 'read-only' }), 'read-write')
  t.equal(accessIn('constructor', { access: undefined }, {}), 'read-write')
})

const said = (rules: RuleSettings[], access: Access | undefined = 'read-only') =>
  checkRules({ path: ['rules'], rules, access }).map(
    ({ path, message, fix }) => `${keyOf(path)}: ${message}. ${fix}`,
  )

t.test('rules that can not do what they were written for are mistakes', async (t) => {
  const never = (rule: number) => new RegExp(`^rules\\[${rule}\\]: never decides anything, because rules\\[`)
  const put: RuleSettings = { deny: '/rest/**', methods: ['PUT'] }
  const writes: RuleSettings = { deny: '/rest/**', methods: ['writes'] }
  const ab = ['/rest/a', '/vapid/b']
  const cases: [RuleSettings[], RegExp?][] = [
    [[{ deny: '/rest/a' }, { allow: '/rest/a' }], /because rules\[0\] comes first.*Move it up/],
    [[{ deny: '/rest/a' }, { allow: '/rest/a' }], never(1)],
    [[{ deny: '/**' }, { allow: ab }], never(1)],
    [[{ deny: '/rest/**' }, { deny: '/vapid/**' }, { allow: ab }], never(2)],
    [[{ deny: ['/rest/**', '/vapid/c'] }, { allow: '/rest/a' }], never(1)],
    [[{ deny: '/rest/**' }, { allow: ab }]],
    [[put, { allow: '/rest/a' }]],
    [[put, { allow: '/rest/a', methods: ['writes'] }]],
    [[writes, { allow: '/rest/a', methods: ['PUT'] }], never(1)],
    [[{ deny: '/rest/*' }, { allow: '/rest/a' }]],
    [[{ deny: '/rest/a' }, { deny: '/rest/a/**' }]],
    [
      [{ allow: '/rest/a.pdf' }],
      /^rules\[0\]: allows nothing, .* reads \.pdf at .*"\/rest\/a"\. Write \/rest\/a\* or/,
    ],
    [[{ allow: ['/rest/v1.0/a', '/rest/*.x*'] }]],
    [[{ deny: '/rest/a.pdf' }]],
    [[]],
  ]
  for (const [rules, expected] of cases) {
    const lines = said(rules)
    t.equal(lines.length, expected ? 1 : 0, JSON.stringify(rules))
    if (expected) t.match(lines, [expected], JSON.stringify(rules))
  }
  const nothing = said([{ allow: '/rest/a' }], 'read-write')
  t.match(nothing, [/^rules: deny nothing: .*read-write\. Add \{deny: \/\*\*\}/])
  t.equal(said([{ allow: '/rest/a' }, { allow: '/rest/a' }], 'read-write').length, 2)
  t.strictSame(said([{ allow: '/rest/a' }, { deny: '/**' }], 'read-write'), [])
  t.strictSame(checkRules({ path: ['rules'], rules: [{ allow: '/rest/a' }], access: undefined }), [])
})
