// Twin of src/http1/per-name.ts
import t from 'tap'
import { isToken, perName } from '../../src/http1/per-name.ts'

t.test('a name is looked at once, as it is spelt', async (t) => {
  const seen: string[] = []
  const lower = perName((name) => {
    seen.push(name)
    return { lower: name.toLowerCase() }
  })
  const first = lower('X-A')
  t.strictSame(first, { lower: 'x-a' })
  t.equal(lower('X-A'), first)
  t.strictSame(lower('x-a'), { lower: 'x-a' })
  t.strictSame(lower('\xe9'), { lower: '\xe9' })
  t.strictSame(lower('\u0141'), { lower: '\u0142' }, 'never its lower byte, which is an A')
  t.strictSame(seen, ['X-A', 'x-a', '\xe9', '\u0141'])
  t.equal(perName(() => false)('a'), false)
})

t.test('it keeps no long names, and no more than a thousand', async (t) => {
  let made = 0
  const count = perName(() => ++made)
  for (const name of ['a'.repeat(64), 'a'.repeat(65)]) for (let n = 0; n < 3; n++) count(name)
  t.equal(made, 4, 'one of the short name, three of the long one')
  for (let n = 0; n < 999; n++) count(`x-${n}`)
  t.equal(count('x-0'), 5)
  count('x-999')
  t.ok(count('x-0') > 1_004, 'all are forgotten when they are too many')
})

t.test('what throws is not kept', async (t) => {
  let tries = 0
  const strict = perName((name) => {
    if (tries++ === 0) throw new Error(name)
    return name
  })
  t.throws(() => strict('a'), { message: 'a' })
  t.equal(strict('a'), 'a')
})

t.test('a token is what a name may be', async (t) => {
  for (const good of ['GET', 'X-A', "!#$%&'*+.^_`|~9z"]) t.ok(isToken(good), good)
  for (const bad of ['', ' ', 'a b', 'a:', 'a\r\n', '\xe9', '\u0141', '"a"', 'a'.repeat(65).concat(';')])
    t.notOk(isToken(bad), JSON.stringify(bad))
})
