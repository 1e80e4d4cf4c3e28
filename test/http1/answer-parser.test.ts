// Twin of src/http1/answer-parser.ts: exact cases, any cut into chunks, and Node's own parser for comparison.
import fc from 'fast-check'
import t from 'tap'
import { AnswerError, AnswerParser } from '../../src/http1/answer-parser.ts'
import { laxness, nodesReading, ourReading, type Reading } from './readings.ts'

const bytes = (text: string) => Buffer.from(text, 'latin1')
const read = (text: string, isHead = false) => ourReading([bytes(text)], isHead)
const OK = 'HTTP/1.1 200 OK\r\n'
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`

t.test('A status line is of HTTP/1.1 or 1.0, and strict', async (t) => {
  const good: [line: string, status: number, message: string][] = [
    ['HTTP/1.1 200 OK', 200, 'OK'],
    ['HTTP/1.0 404 Not  Found ', 404, 'Not  Found '],
    ['HTTP/1.1 200 ', 200, ''],
    ['HTTP/1.1 200', 200, ''],
    ['HTTP/1.1 999 \xe4\t', 999, '\xe4\t'],
  ]
  for (const [line, status, message] of good) {
    t.match(read(`${line}\r\nContent-Length: 0\r\n\r\n`), { status, message }, line)
  }
  for (const line of [
    '',
    ' HTTP/1.1 200 OK',
    '\r\nHTTP/1.1 200 OK',
    'http/1.1 200 OK',
    'HTTP/2 200 OK',
    'HTTP/2.0 200 OK',
    'HTTP/1.2 200 OK',
    'HTTP/0.9 200 OK',
    'HTTP/1.10 200 OK',
    'HTTP/1.1  200 OK',
    'HTTP/1.1\t200 OK',
    'HTTP/1.1 20 OK',
    'HTTP/1.1 2000 OK',
    'HTTP/1.1 099 OK',
    'HTTP/1.1 +20 OK',
    'HTTP/1.1 200\tOK',
    'HTTP/1.1 200OK',
    'ICY 200 OK',
    'GET / HTTP/1.1',
  ]) {
    t.match(read(`${line}\r\nContent-Length: 0\r\n\r\n`), { error: /status line/, status: undefined }, line)
  }
})

t.test('Header lines are strict, and come as they are', async (t) => {
  t.strictSame(read(`${OK}A: 1\r\na:\t2 \t \r\nB:\r\nC: \xe4 : x\r\nContent-Length: 0\r\n\r\n`).headers, [
    'A',
    '1',
    'a',
    '2',
    'B',
    '',
    'C',
    '\xe4 : x',
    'Content-Length',
    '0',
  ])
  for (const line of [
    'no colon',
    ': no name',
    'A : space before the colon',
    'A\t: tab before the colon',
    ' folded: line',
    'A: 1\r\n folded',
    'A: 1\r\n\tfolded: x',
    'A(: 1',
    '\xe4: 1',
    'A: 1\rB: 2',
    'A: 1\nB: 2',
    'A: 1\r',
    '\nA: 1',
    'A: \0',
    'A: \x01',
    'A: \x7f',
    'A\0: 1',
  ]) {
    const reading = read(`${OK}${line}\r\nContent-Length: 0\r\n\r\n`)
    t.type(reading.error, 'string', JSON.stringify(line))
    t.equal(reading.status, undefined)
  }
  // Names are remembered as servers spell them; of how many is bounded.
  for (let nth = 0; nth < 2_100; nth++) read(`${OK}X-${nth}: 1\r\n\r\n`)
  t.match(read(`${OK}CONTENT-length: 1\r\n\r\nx`), { end: 39, body: 'x' })
})

t.test('The end is where the head says', async (t) => {
  const cases: [name: string, text: string, expected: Reading | RegExp, isHead?: boolean][] = [
    ['length', `${OK}Content-Length: 5\r\n\r\nhello`, { body: 'hello', end: 43, keepsAlive: true }],
    ['length 0', `${OK}Content-Length: 0\r\n\r\nhello`, { body: '', end: 38, keepsAlive: true }],
    ['more behind', `${OK}Content-Length: 4\r\n\r\nhello`, { body: 'hell', end: 42 }],
    ['cut', `${OK}Content-Length: 6\r\n\r\nhello`, { body: 'hello' }],
    ['cut in its head', `${OK}Content-Length: 0\r\n`, { body: '' }],
    ['nothing', '', { body: '' }],
    ['to the end', `${OK}\r\nhello`, { body: 'hello', end: 25, keepsAlive: false }],
    ['to the end, empty', `${OK}\r\n`, { body: '', end: 20, keepsAlive: false }],
    ['HEAD', `${OK}Content-Length: 5\r\n\r\n`, { body: '', end: 38, keepsAlive: true }, true],
    ['HEAD, chunked', CHUNKED, { body: '', end: 47 }, true],
    ['HEAD, no length', `${OK}\r\nhello`, { body: '', end: 19 }, true],
    ['204', 'HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\nhello', { body: '', end: 37 }],
    ['304', 'HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n5', { body: '', end: 46 }],
    ['205 has one', 'HTTP/1.1 205 x\r\nContent-Length: 1\r\n\r\nh', { body: 'h', end: 38 }],
    ['two lengths', `${OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`, /more than once/],
    ['one length twice', `${OK}Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello`, /more than once/],
    ['a list of lengths', `${OK}Content-Length: 5, 5\r\n\r\nhello`, /no number/],
    ['no length', `${OK}Content-Length:\r\n\r\nhello`, /no number/],
    ['a signed length', `${OK}Content-Length: +5\r\n\r\nhello`, /no number/],
    ['a negative length', `${OK}Content-Length: -5\r\n\r\nhello`, /no number/],
    ['a hexadecimal length', `${OK}Content-Length: 0x5\r\n\r\nhello`, /no number/],
    ['a long length', `${OK}Content-Length: 9999999999999999\r\n\r\n`, /no number/],
    ['a length for 204', 'HTTP/1.1 204 x\r\nContent-Length: x\r\n\r\n', /no number/],
    ['a tab', `${OK}Content-Length:\t5\r\n\r\nhello`, /tab/],
    ['a tab in chunked', `${OK}Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n`, /tab/],
    ['both', `${OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, /both/],
    ['gzip, chunked', `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`, /coding/],
    ['gzip', `${OK}Transfer-Encoding: gzip\r\n\r\n`, /coding/],
    ['identity', `${OK}Transfer-Encoding: identity\r\n\r\n`, /coding/],
    ['no coding', `${OK}Transfer-Encoding:\r\n\r\n`, /coding/],
    ['xchunked', `${OK}Transfer-Encoding: xchunked\r\n\r\n`, /coding/],
    [
      'chunked twice',
      `${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      /coding/,
    ],
    ['Chunked', `${OK}Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n`, { body: '', end: 52, keepsAlive: true }],
    [
      'chunks of 1.0',
      'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      { body: '', end: 76, keepsAlive: false },
    ],
  ]
  for (const [name, text, expected, isHead] of cases) {
    const reading = read(text, isHead)
    if (expected instanceof RegExp)
      t.match(reading, { error: expected, status: undefined, end: undefined }, name)
    else t.match(reading, { error: undefined, end: undefined, ...expected }, name)
  }
})

t.test('Chunks are read strictly, and trailers dropped', async (t) => {
  const good: [chunks: string, body: string][] = [
    ['0\r\n\r\n', ''],
    ['5\r\nhello\r\n0\r\n\r\n', 'hello'],
    ['05\r\nhello\r\n1\r\n!\r\n000\r\n\r\n', 'hello!'],
    ['A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n', '01234567890123456789'],
    ['2;a;b=c;d="e \t;f"\r\n\r\n\r\n0;x\r\n\r\n', '\r\n'],
    ['0\r\nA: b\r\nKeep-Alive: x\r\n\r\n', ''],
  ]
  for (const [chunks, body] of good) {
    t.match(read(`${CHUNKED}${chunks}more`), { body, end: 47 + chunks.length, keepsAlive: true }, chunks)
  }
  for (const chunks of [
    '\r\n',
    'x\r\n',
    '-1\r\n',
    '+1\r\nx\r\n',
    '0x1\r\nx\r\n',
    ' 1\r\nx\r\n',
    '1 \r\nx\r\n',
    '1\t\r\nx\r\n',
    '1;\r\nx\r\n',
    '1; a\r\nx\r\n',
    '1;a=\r\nx\r\n',
    '1;a="\r\nx\r\n',
    '1;a="\\""\r\nx\r\n',
    '1;a\nb\r\nx\r\n',
    '1;a\rb\r\nx\r\n',
    '1\nx\r\n',
    '1\r\nxy\r\n0\r\n\r\n',
    '1\r\nx\n0\r\n\r\n',
    '1\r\nx0\r\n\r\n',
    '1000000000000\r\n',
    '0'.repeat(4_098),
    `0;${'a'.repeat(5_000)}\r\n\r\n`,
    '0\r\nno colon\r\n\r\n',
    '0\r\n: no name\r\n\r\n',
    '0\r\nA : b\r\n\r\n',
    '0\r\n folded: x\r\n\r\n',
    '0\r\nA: \0\r\n\r\n',
    '0\r\nA: b\r\r\n\r\n',
    '0\r\nA: b\nC: d\r\n\r\n',
    '0\r\nContent-Length: 5\r\n\r\n',
    '0\r\nTransfer-Encoding: chunked\r\n\r\n',
    `0\r\n${`A: ${'b'.repeat(4_000)}\r\n`.repeat(5)}\r\n`,
  ]) {
    t.match(read(CHUNKED + chunks), { error: String, end: undefined }, JSON.stringify(chunks.slice(0, 40)))
  }
  t.match(read(`${CHUNKED}5\r\nhello\r\n`), { body: 'hello', error: undefined, end: undefined })
  t.match(read(`${CHUNKED}5\r\nhello\r\n0\r\n`), { error: undefined, end: undefined })
})

t.test('Interim answers are passed over, a switch of protocols is refused', async (t) => {
  const early =
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 0\r\n\r\n'
  t.match(read(`${early}${OK}Content-Length: 1\r\n\r\nx`), {
    status: 200,
    headers: ['Content-Length', '1'],
    body: 'x',
    keepsAlive: true,
  })
  t.match(read(early), { status: undefined, error: undefined, end: undefined })
  for (const interim of [
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
    'HTTP/1.1 100 x\r\nConnection: close\r\n\r\n',
    'HTTP/1.0 100 x\r\n\r\n',
    'HTTP/1.1 103 x\r\nContent-Length: 5\r\n\r\n',
    'HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n',
  ]) {
    t.match(read(`${interim}${OK}Content-Length: 0\r\n\r\n`), { error: String, status: undefined }, interim)
  }
})

t.test(
  'Connection and Keep-Alive say whether it serves another request, and how long it waits',
  async (t) => {
    const cases: [version: string, lines: string, keepsAlive: boolean, idleSeconds?: number][] = [
      ['1.1', '', true],
      ['1.0', '', false],
      ['1.1', 'Connection: close', false],
      ['1.1', 'Connection: x, Close ,y', false],
      ['1.1', 'Connection: x\r\nConnection: close', false],
      ['1.1', 'Connection:\r\nConnection: close', false],
      ['1.1', 'Connection: keep-alive, close', false],
      ['1.1', 'Connection: x-close', true],
      ['1.0', 'Connection: keep-alive', true],
      ['1.0', 'Connection: KEEP-ALIVE, x', true],
      ['1.0', 'Connection: \xa0keep-alive', false],
      ['1.0', 'Connection: x', false],
      ['1.1', 'Keep-Alive: timeout=5', true, 5],
      ['1.1', 'keep-alive: max=100, Timeout = "72"', true, 72],
      ['1.1', 'Keep-Alive: max=100', true],
      ['1.1', 'Keep-Alive: xtimeout=5', true],
      ['1.1', 'Keep-Alive: timeout=x', true],
    ]
    for (const [version, lines, keepsAlive, idleSeconds] of cases) {
      const text = `HTTP/${version} 200 OK\r\n${lines}${lines && '\r\n'}Content-Length: 0\r\n\r\n`
      const reading = read(text)
      t.equal(reading.keepsAlive, keepsAlive, `${version} ${lines}`)
      t.equal(reading.idleSeconds, idleSeconds)
    }
  },
)

t.test('What is held in memory is bounded, and so is what is looked at', async (t) => {
  const head = (length: number) => `${OK}A: ${'x'.repeat(length - OK.length - 3)}`
  const atMost = `${head(32 * 1024)}\r\n\r\n`
  t.match(read(atMost, true), { status: 200 })
  t.match(read(`${head(32 * 1024 + 1)}\r\n\r\n`, true), { error: 'too long a head' })
  t.match(ourReading([bytes(atMost.slice(0, -1)), bytes('\n')], true), { status: 200 })
  t.match(ourReading([bytes(head(32 * 1024 + 4))], true), { error: 'too long a head' })
  const line = `5;${'a'.repeat(4_094)}`
  t.match(ourReading([bytes(`${CHUNKED}${line}\r`), bytes('\nhello\r\n0\r\n\r\n')]), { body: 'hello' })
  t.match(ourReading([bytes(`${CHUNKED}${line}a\r`)]), { error: 'too long a line' })
})

t.test('Errors hold nothing of the answer', async (t) => {
  const parser = new AnswerParser({ onHead() {}, onBody() {} })
  parser.begin(false)
  t.throws(() => parser.read(bytes('HTTP/1.1 200 OK\r\nsecret\r\n\r\n')), {
    name: 'AnswerError',
    message: /^(?!.*secret)/,
  })
  t.ok(new AnswerError('x') instanceof Error)
})

t.test('It stops where the sink says so, and begins anew', async (t) => {
  const told: string[] = []
  let stopsAt = 'head'
  const parser: AnswerParser = new AnswerParser({
    onHead: () => note('head'),
    onBody: (piece) => note(piece.toString()),
  })
  const note = (what: string) => {
    told.push(what)
    if (what === stopsAt) parser.stop()
  }
  t.ok(parser.isDone)
  for (const [at, text] of [
    ['head', `${OK}Content-Length: 5\r\n\r\nhello`],
    ['he', `${CHUNKED}2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n`],
    ['hello', `${OK}\r\nhello`],
  ] as const) {
    told.length = 0
    stopsAt = at
    parser.begin(false)
    t.notOk(parser.isDone)
    parser.read(bytes(text))
    t.ok(parser.isDone)
    t.equal(told.at(-1), at)
    t.notOk(parser.finish(), 'it is not whole')
    t.equal(parser.read(bytes('more')), 4)
  }
  parser.begin(false)
  parser.read(bytes('HTTP/1.1 200 OK\r\nA'))
  parser.begin(false)
  told.length = 0
  parser.read(bytes(`${OK}Content-Length: 0\r\n\r\n`))
  t.strictSame(told, ['head'], 'nothing is left of the answer before')
})

const SEEDS = [
  `${OK}Content-Length: 5\r\n\r\nhello`,
  `${CHUNKED}5;a=b;c="d e"\r\nhello\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n`,
  `${OK}Connection: close\r\n\r\nhello`,
  'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi',
  `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 x\r\nKeep-Alive: timeout=5\r\n\r\n${OK}\r\n`,
  'HTTP/1.1 304 x\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
  'HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc',
]
const PIECES =
  '\r|\n|\r\n|\0| |\t|:|;|=|"|\\|0|5|a|F|-|+|\x7f|\x80|\xa0|\xff|\x0b|,|\r\n\r\n|Content-Length: 5\r\n|Content-Length: 0\r\n|Transfer-Encoding: chunked\r\n|Transfer-Encoding: gzip\r\n|Connection: close\r\n|Connection: keep-alive\r\n|Connection: upgrade\r\nUpgrade: h2c\r\n|HTTP/1.0|HTTP/1.1 100 x\r\n\r\n|0\r\n\r\n|chunked|identity| folded\r\n|0x5|1.1|2.0|0.9|102|199|205|999|099|;x|;x=|;="y"|close|keep-alive'.split(
    '|',
  )

/** Where, how many bytes go, what comes instead; at a place, or at the beginning of a line. */
const change = fc.record({
  at: fc.nat(150),
  removed: fc.nat(4),
  added: fc.oneof(
    fc.constantFrom('', ...PIECES),
    fc.nat(255).map((code) => String.fromCharCode(code)),
  ),
  atLine: fc.boolean(),
})
const mutated = fc
  .tuple(fc.constantFrom(...SEEDS), fc.array(change, { minLength: 1, maxLength: 4 }))
  .map(([seed, changes]) => {
    let text = seed
    for (const { at, removed, added, atLine } of changes) {
      const place = atLine ? text.indexOf('\r\n', at % text.length) + 2 : at % (text.length + 1)
      text = text.slice(0, place) + added + text.slice(place + (atLine ? 0 : removed))
      if (text === '') text = '\r\n'
    }
    return text
  })
/** More of them by hand: `FUZZ_RUNS=100000 FUZZ_SEED=7`. */
const runs = {
  numRuns: Number(process.env['FUZZ_RUNS'] ?? 3_000),
  seed: Number(process.env['FUZZ_SEED'] ?? 1),
}

t.test('How it is cut into chunks makes no difference', async (t) => {
  const cuts = fc.array(fc.nat(150), { maxLength: 8 })
  const property = fc.property(mutated, cuts, fc.boolean(), (text, places, isHead) => {
    const all = bytes(text)
    const whole = ourReading([all], isHead)
    const ends = [...new Set(places.filter((place) => place < all.length))].sort((a, b) => a - b)
    const chunks = [0, ...ends].map((from, nth) => all.subarray(from, ends[nth] ?? all.length))
    const single = [...all].map((_, at) => all.subarray(at, at + 1))
    return [chunks, single].every((cut) => JSON.stringify(ourReading(cut, isHead)) === JSON.stringify(whole))
  })
  t.doesNotThrow(() => fc.assert(property, runs))
})

t.test('What came before on its connection makes no difference', async (t) => {
  const property = fc.property(mutated, mutated, fc.boolean(), (before, text, isHead) => {
    const alone = ourReading([bytes(text)], isHead)
    const after = ourReading([bytes(text)], isHead, bytes(before))
    return JSON.stringify(after) === JSON.stringify(alone)
  })
  t.doesNotThrow(() => fc.assert(property, runs))
  for (const [before, text] of [
    ['Date: x', 'Date-X: y'],
    ['Date-X: x', 'Date: y'],
    ['Date: x', 'date: y'],
    ['Content-Length: 0', 'Content-Length : 5'],
    ['Content-Length: 0', 'X: 1\r\nContent-Length: 5'],
    ['X: 1', 'Content-Length: 5'],
  ] as const) {
    const answer = bytes(`${OK}${text}\r\n\r\n`)
    const after = ourReading([answer], false, bytes(`${OK}${before}\r\n\r\n`))
    t.strictSame(after, ourReading([answer]), text)
  }
})

t.test('What it takes, Node takes for the same; what Node refuses, it refuses', async (t) => {
  for (const seed of SEEDS) t.equal(laxness(read(seed), nodesReading(bytes(seed)), false), undefined)
  let whole = 0
  const property = fc.property(mutated, fc.integer({ min: 0, max: 7 }), (text, nth) => {
    const isHead = nth === 0
    const ours = read(text, isHead)
    if (ours.end !== undefined) whole++
    const difference = laxness(ours, nodesReading(bytes(text), isHead), isHead)
    if (difference !== undefined) throw new Error(difference)
  })
  t.doesNotThrow(() => fc.assert(property, runs))
  t.ok(whole > runs.numRuns / 20, 'many of them are answers')
})
