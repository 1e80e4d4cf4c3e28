// Covers src/network/retry-after.ts.
import t from 'tap'
import { retryAfterMs } from '../../src/network/retry-after.ts'

const NOW = Date.UTC(2026, 5, 1, 12, 0, 0)

t.test('Retry-After is read as seconds or as a date', (t) => {
  const date = (ms: number) => new Date(NOW + ms).toUTCString()
  const cases: [string, string | string[] | undefined, number | undefined][] = [
    ['absent', undefined, undefined],
    ['empty', '', undefined],
    ['blank', '  ', undefined],
    ['seconds', '120', 120_000],
    ['seconds among blanks', ' 5\t', 5000],
    ['0', '0', 0],
    ['huge', '9'.repeat(400), Number.MAX_SAFE_INTEGER],
    ['a date', date(90_000), 90_000],
    ['a past date', date(-90_000), 0],
    ['an obsolete date', 'Monday, 01-Jun-26 12:01:00 GMT', 60_000],
    ['a fraction', '1.5', undefined],
    ['negative', '-5', undefined],
    ['a word', 'soon', undefined],
    ['a word and what passes for a year', 'soon 2050', undefined],
    ['a broken date', 'Mon, 99 Foo 2026', undefined],
    ['a list', '1, 2', undefined],
    ['the first of two', ['8', '9'], 8000],
    ['none of none', [], undefined],
  ]
  for (const [what, header, ms] of cases) {
    t.equal(retryAfterMs(header, NOW), ms, what)
  }
  t.end()
})
