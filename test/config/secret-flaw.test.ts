import t from 'tap'
import { secretFlaw } from '../../src/config/secret-flaw.ts'

t.test('a damaged secret is recognised, and no part of it is repeated', async (t) => {
  const cases: [string, RegExp][] = [
    ['s3cret\n', /line end/],
    ['s3cret\r', /line end/],
    ['\ns3cret', /line end/],
    ['s3c\nret', /line end in it/],
    [' s3cret', /blanks/],
    ['s3cret\t', /blanks/],
    ['s3cret\u00a0', /blanks/],
    ['\ufeffs3cret', /byte-order mark/],
    ['"s3cret"', /quotes/],
    ["'s3cret'", /quotes/],
    ['“s3cret”', /quotes/],
    ['s\u00003\u0000c\u0000ret', /UTF-16/],
    ['\ufffd\ufffds3cret', /UTF-16/],
  ]
  for (const [value, expected] of cases) {
    const flaw = secretFlaw(value)
    t.match(flaw, expected, JSON.stringify(value))
    t.match(flaw, /^The secret .*\.$/)
    t.notMatch(flaw, /s3cret/)
  }
  for (const value of ['s3cret', 'two words', '"', "it's", 'a"b"', ''])
    t.equal(secretFlaw(value), undefined, value)
})
