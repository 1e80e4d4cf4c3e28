// Covers src/forward/response-body.ts
import fc from 'fast-check'
import t from 'tap'
import { DEEPEST, JsonStrings, LONGEST_STRING_BYTES } from '../../src/forward/response-body.ts'

const swap = (value: string) => (/^h[^é]*$/i.test(value) ? `<${value}>` : undefined)

/** The text in pieces of these lengths, over and over. */
function run(
  text: string | Buffer,
  lengths: readonly number[] = [Number.POSITIVE_INFINITY],
  replace = swap,
): Buffer {
  const bytes = Buffer.from(text)
  const strings = new JsonStrings('h', replace)
  const out: Buffer[] = []
  for (let at = 0, nth = 0; at < bytes.length; nth++) {
    const end = Math.min(bytes.length, at + lengths[nth % lengths.length]!)
    // Reused by the sender as soon as it was given.
    const piece = Buffer.from(bytes.subarray(at, end))
    out.push(Buffer.from(strings.push(piece)))
    piece.fill(0)
    at = end
  }
  return Buffer.concat([...out, strings.end()])
}

/** Every string value of a parsed JSON replaced, keys left. */
function expected(value: unknown): unknown {
  if (typeof value === 'string') return swap(value) ?? value
  if (Array.isArray(value)) return value.map(expected)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, expected(inner)]))
}

t.test('string values are replaced, keys and everything else stay byte for byte', async (t) => {
  const cases: [text: string, out: string][] = [
    ['"h"', '"<h>"'],
    [' [ "h" , "H\\u0041" ,\t"x","" ]\n', ' [ "<h>" , "<HA>" ,\t"x","" ]\n'],
    [
      '{"h":"h", "a":{"h":["h",{"h":"h"},"h"],"h":"h"}, "h":1e5}',
      '{"h":"<h>", "a":{"h":["<h>",{"h":"<h>"},"<h>"],"h":"<h>"}, "h":1e5}',
    ],
    ['["\\u0068i","\\h","h\\/\\"h"]', '["<hi>","\\h","<h/\\"h>"]'],
    ['{"a":"x\\\\","b":"h"}', '{"a":"x\\\\","b":"<h>"}'],
    ['{"a":"\\\\\\"h","b":"h\\\\"}', '{"a":"\\\\\\"h","b":"<h\\\\>"}'],
    ['["hé","é","h"]', '["hé","é","<h>"]'],
    ['[12345678901234567890, 1.0, true, null, "h"]', '[12345678901234567890, 1.0, true, null, "<h>"]'],
    ['{"a":"h"}{"a":"h"}', '{"a":"<h>"}{"a":"<h>"}'],
  ]
  for (const [text, out] of cases) {
    for (const lengths of [[Number.POSITIVE_INFINITY], [1], [2, 3]])
      t.equal(run(text, lengths).toString(), out, text)
  }
})

t.test('what is no JSON passes as it is', async (t) => {
  for (const text of [
    '',
    '"h',
    '{"a":"h',
    ']]}}"x',
    '["h\n"]',
    '["h\\x"]',
    '["h\\u12"]',
    '<html lang="en">',
    '["\\',
    '["h\\',
  ]) {
    for (const lengths of [[Number.POSITIVE_INFINITY], [1]])
      t.equal(run(text, lengths).toString(), text, JSON.stringify(text))
  }
  const broken = Buffer.concat([Buffer.from('["h'), Buffer.from([0xff, 0xc3]), Buffer.from('"]')])
  t.ok(run(broken).equals(broken), 'bytes that are no UTF-8')
  t.ok(run(broken, [1]).equals(broken))
})

t.test('a long string passes, and a deep text, without filling memory', async (t) => {
  const fits = 'h'.repeat(LONGEST_STRING_BYTES)
  for (const lengths of [[Number.POSITIVE_INFINITY], [1000], [LONGEST_STRING_BYTES + 1]]) {
    t.equal(
      run(`["${fits}","h"]`, lengths).toString(),
      `["<${fits}>","<h>"]`.replace(`<${fits}>`, fits),
      'too long by the quote',
    )
    t.equal(run(`["${fits.slice(1)}","h"]`, lengths).toString(), `["<${fits.slice(1)}>","<h>"]`)
  }
  const deep = (depth: number, inner: string) => '['.repeat(depth) + inner + ']'.repeat(depth)
  t.equal(run(deep(DEEPEST, '"h"'), [7]).toString(), deep(DEEPEST, '"<h>"'))
  t.equal(run(deep(DEEPEST + 1, '"h"'), [7]).toString(), deep(DEEPEST + 1, '"h"'), 'deeper is not read')
  const strings = new JsonStrings('h', swap)
  let out = strings.push(Buffer.from('["h')).length
  for (let nth = 0; nth < 100; nth++) out += strings.push(Buffer.alloc(1024, 'h')).length
  t.ok(out > 3 + 100 * 1024 - LONGEST_STRING_BYTES, 'nearly all of a string that never ends was passed on')
})

const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: fc.constantFrom('h', 'H', '"', '\\', '/', 'é', '\u2028', '\ud83d', ':', ',', '{', '[') }),
)
const { json } = fc.letrec((tie) => ({
  json: fc.oneof(
    { maxDepth: 5 },
    text,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('json')),
    fc.dictionary(text, tie('json'), { noNullPrototype: true }),
  ),
}))

/** JSON as others write it: any character as an escape, any white space. */
function spell(value: unknown, escapes: readonly number[], space: string): string {
  let nth = 0
  return JSON.stringify(value, null, space).replace(
    /(\\u[0-9a-f]{4}|\\.)|([^\s{}[\]:,"\\0-9truefalsnE+.\ud800-\udfff-])/g,
    (whole, escaped?: string, char = '') => {
      const how = escapes.length === 0 ? 0 : escapes[nth++ % escapes.length]
      if (escaped !== undefined || how === 0) return whole
      if (char === '/' && how === 1) return '\\/'
      return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
    },
  )
}

t.test('any chunking of any JSON in any spelling means what replacing after parsing means', async () => {
  fc.assert(
    fc.property(
      json,
      fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 8 }),
      fc.constantFrom('', ' ', '\t'),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
      (value, escapes, space, lengths) => {
        const source = spell(value, escapes, space)
        const whole = run(source)
        const same =
          JSON.stringify(JSON.parse(whole.toString())) === JSON.stringify(expected(JSON.parse(source)))
        return same && run(source, lengths).equals(whole) && run(source, [1]).equals(whole)
      },
    ),
    { numRuns: 500 },
  )
})

t.test('any bytes at all pass through, where nothing is replaced, byte for byte', async () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 60 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      (bytes, lengths) => run(Buffer.from(bytes), lengths, () => undefined).equals(Buffer.from(bytes)),
    ),
  )
})
