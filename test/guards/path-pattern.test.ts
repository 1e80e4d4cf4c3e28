// Covers src/guards/access.ts
import fc from 'fast-check'
import t from 'tap'
import { matchesPattern } from '../../src/guards/access.ts'

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
