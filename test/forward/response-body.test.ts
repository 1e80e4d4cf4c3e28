// Covers src/forward/response-body.ts; how it works on real answers is in test/flow/file-urls.test.ts and compression.test.ts

import { gzipSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { type BodyPlan, planBody } from '../../src/forward/headers.ts'
import { DEEPEST, JsonStrings, LONGEST_STRING_BYTES, transformed } from '../../src/forward/response-body.ts'
import { FakeResponse } from '../fixtures/calls.ts'
import { watch } from '../fixtures/clock.ts'
import { words } from '../fixtures/words.ts'

const replace = () => undefined
const JSON_TYPE = { 'content-type': 'application/json' }
const GZIP = { 'content-encoding': 'gzip' }

t.test('what is done follows from the answer and from what was asked', async (t) => {
  const cases: [status: number, headers: Record<string, string | string[]>, plan: string][] = [
    [200, {}, '- -'],
    [200, JSON_TYPE, '- json'],
    [201, JSON_TYPE, '- json'],
    [404, JSON_TYPE, '- -'],
    [300, JSON_TYPE, '- -'],
    [200, GZIP, 'gzip -'],
    [500, { ...GZIP, ...JSON_TYPE }, 'gzip -'],
    [200, { ...GZIP, ...JSON_TYPE }, 'gzip json'],
    [200, { 'content-encoding': ['', 'GZIP'] }, 'gzip -'],
    [200, { 'content-encoding': 'gzip, br', ...JSON_TYPE }, '- -'],
    [200, { 'content-encoding': 'compress', ...JSON_TYPE }, '- -'],
    [200, { 'content-type': 'Application/JSON;charset=utf-8' }, '- json'],
    [200, { 'content-type': 'application/problem+json' }, '- json'],
    [200, { 'content-type': 'application/json-seq' }, '- -'],
    [200, { 'content-type': 'text/json' }, '- -'],
    [200, { ...GZIP, ...JSON_TYPE, 'content-range': 'bytes 0-1/2' }, '- -'],
    ...[199, 204, 205, 206, 304].map((status): [number, Record<string, string | string[]>, string] => [
      status,
      { ...GZIP, ...JSON_TYPE },
      '- -',
    ]),
  ]
  for (const [status, headers, expected] of cases) {
    const plan = planBody(status, headers, { unpack: true, replace })
    t.equal(
      `${plan?.coding ?? '-'} ${plan?.replace ? 'json' : '-'}`,
      expected,
      `${status} ${JSON.stringify(headers)}`,
    )
  }
  t.equal(planBody(200, { ...GZIP, ...JSON_TYPE }, { unpack: false, replace: undefined }), undefined)
  t.equal(planBody(200, GZIP, { unpack: false, replace }), undefined, 'the caller asked for it')
  t.match(planBody(200, { ...GZIP, ...JSON_TYPE }, { unpack: false, replace }), { coding: 'gzip' })
})

/** Pipes `packed` through the plan; the reader wants more only when `resume` is called. */
function slowly(packed: Buffer, plan: BodyPlan) {
  const source = new FakeResponse()
  const body = transformed(source, plan)
  const pieces: Buffer[] = []
  const fate = watch(body.pipe((piece) => pieces.push(piece) < 0))
  source.push(packed)
  return { source, body, pieces, fate, text: () => Buffer.concat(pieces).toString() }
}

const GUNZIP: BodyPlan = { coding: 'gzip', replace: undefined }
const turn = () => new Promise(setImmediate)

t.test('nothing more is unpacked than the reader takes', async (t) => {
  const whole = Buffer.alloc(2_000_000, 'abc')
  const { source, body, pieces, fate, text } = slowly(gzipSync(whole), GUNZIP)
  source.end()
  while (pieces.length === 0) await turn()
  for (let turns = 0; turns < 50; turns++) await turn()
  t.equal(pieces.length, 1, 'it waits')
  while (!fate.settled) {
    body.resume()
    await turn()
  }
  t.equal(fate.error, undefined)
  t.ok(text() === whole.toString())
})

t.test('a full unpacker stops its source, and lets it go on', async (t) => {
  const packed = gzipSync(Buffer.from(Array.from({ length: 200_000 }, () => Math.random()).join()))
  const { source, body, fate } = slowly(packed.subarray(0, -100), GUNZIP)
  t.equal(source.isStopped, true)
  while (source.isStopped) {
    body.resume()
    await turn()
  }
  source.end()
  while (!fate.settled) {
    body.resume()
    await turn()
  }
  t.match(fate.error, { code: 'upstream_protocol', proxyStatus: 'http_response_content_coding' }, 'cut short')
})

t.test('what is held back of a rewritten body comes at its end', async (t) => {
  const { source, body, fate, text } = slowly(Buffer.from('["h'), { coding: undefined, replace: () => 'x' })
  t.equal(source.isStopped, true, 'the reader decides')
  body.resume()
  t.equal(source.isStopped, false)
  source.push('i')
  source.end()
  while (!fate.settled) await turn()
  t.equal(text(), '["hi')
})

t.test('an empty compressed body is empty; a source that breaks off is never taken for whole', async (t) => {
  const empty = new FakeResponse()
  const read = transformed(empty, GUNZIP).pipe(() => true)
  empty.end()
  await read
  const { source, fate } = slowly(gzipSync('abc').subarray(0, 5), GUNZIP)
  source.fail(new Error('broke off'))
  while (!fate.settled) await turn()
  t.match(fate.error, { message: 'broke off' })
})

t.test('a broken body is given up, and what follows the packed one is read and dropped', async (t) => {
  const broken = slowly(Buffer.from('this is not gzip at all'), GUNZIP)
  while (!broken.fate.settled) await turn()
  t.match(broken.fate.error, { code: 'upstream_protocol' })
  t.ok(broken.source.aborted, 'its connection is free again')

  const { source, body, fate, text } = slowly(gzipSync('abc'), GUNZIP)
  source.push(Buffer.alloc(200 * 1024))
  while (text() === '' || source.isStopped) {
    body.resume()
    await turn()
  }
  t.notOk(fate.settled, 'not before the response has ended')
  source.end()
  while (!fate.settled) {
    body.resume()
    await turn()
  }
  t.equal(text(), 'abc')

  const cut = slowly(gzipSync('abc'), GUNZIP)
  cut.body.resume()
  await turn()
  cut.source.fail(new Error('reset'))
  while (!cut.fate.settled) await turn()
  t.match(cut.fate.error, { message: 'reset' }, 'an end of the packed body alone is no end')

  const left = slowly(gzipSync(Buffer.alloc(2e6)), GUNZIP)
  left.source.end()
  while (left.pieces.length === 0) await turn()
  left.body.abort(new Error('the caller left'))
  for (let turns = 0; turns < 100 && !left.fate.settled; turns++) await turn()
  t.ok(left.fate.error, 'though all of the packed body is there')
})

t.test('a second frame of zstd is never dropped without a word', async (t) => {
  const plan = { coding: 'zstd', replace: undefined }
  for (const [packed, error] of [
    [zstdCompressSync('one'), undefined],
    [Buffer.concat([zstdCompressSync('one'), zstdCompressSync('two')]), { code: 'upstream_protocol' }],
  ] as const) {
    const { source, body, fate, text } = slowly(packed, plan)
    source.end()
    while (!fate.settled) {
      body.resume()
      await turn()
    }
    t.equal(text(), 'one')
    t.match(fate, { error })
  }
})

const swap = (value: string) => (/^h[^é]*$/i.test(value) ? `<${value}>` : undefined)

/** The text in pieces of these lengths, over and over. */
function run(
  text: string | Buffer,
  lengths: readonly number[] = [Number.POSITIVE_INFINITY],
  replace = swap,
): Buffer {
  const bytes = Buffer.from(text)
  const strings = new JsonStrings(replace)
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
    ...words`
      "h {"a":"h ]]}}"x ["h\\x"] ["h\\u12"] ["\\ ["h\\
    `,
    '',
    '["h\n"]',
    '<html lang="en">',
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
  const strings = new JsonStrings(swap)
  let out = strings.push(Buffer.from('["h')).length
  for (let nth = 0; nth < 100; nth++) out += strings.push(Buffer.alloc(1024, 'h')).length
  t.ok(out > 3 + 100 * 1024 - LONGEST_STRING_BYTES, 'nearly all of a string that never ends was passed on')
})

t.test(
  'only what may be a URL is held back, and each byte is looked at once however small the pieces are',
  async (t) => {
    const push = (strings: JsonStrings, text: string) => strings.push(Buffer.from(text)).toString()
    const strings = new JsonStrings(swap)
    for (const text of ['["x', 'y\\', '"z', '",{"h', 'i', '":', '1,"', 'k":"é'])
      t.equal(push(strings, text), text, 'it is no URL, or no value')
    t.equal(push(strings, 'h"},"'), 'h"},"')
    t.equal(push(strings, 'h'), '', 'it may be one')
    t.equal(push(strings, 'i"'), '<hi>"')
    const escaped = `"h${'\\"'.repeat(LONGEST_STRING_BYTES / 2 - 10)}",`
    for (const [count, length] of [
      [100, 16],
      [4, 1],
    ] as const) {
      const begin = performance.now()
      run(`[${escaped.repeat(count)}`, [length], () => undefined)
      t.ok(performance.now() - begin < 3_000, `pieces of ${length}`)
    }
  },
)

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
