// Covers src/observe/recorded-body.ts: how much of a body is kept, and what of that is shown.
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { Bodies, Excerpt, MOST_EXCERPT_BYTES, recordedBody } from '../../src/observe/recorded-body.ts'

/** The excerpt of a body that passes by in pieces of so many bytes. */
function passed(body: string | Buffer, headers: string[], pieceBytes = Number.POSITIVE_INFINITY): Excerpt {
  const excerpt = new Excerpt(headers)
  const bytes = Buffer.from(body)
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    // Used anew by the sender as soon as it was given.
    const piece = Buffer.from(bytes.subarray(at, at + pieceBytes))
    excerpt.add(piece)
    piece.fill(0)
  }
  excerpt.end()
  return excerpt
}

const JSON_HEADERS = ['Content-Type', 'application/json']
const shown = (body: string | Buffer, headers = JSON_HEADERS) => recordedBody(passed(body, headers), false)

t.test('2 KiB are kept, whatever the pieces are, in bytes of their own', async (t) => {
  t.equal(MOST_EXCERPT_BYTES, 2048)
  for (const pieceBytes of [1, 7, 2047, 2048, 2049, 10_000]) {
    for (const [length, whole] of [
      [1, true],
      [2047, true],
      [2048, true],
      [2049, false],
      [9_000, false],
    ] as const) {
      const body = Buffer.alloc(length, 'abcdefghij')
      const excerpt = passed(body, JSON_HEADERS, pieceBytes)
      const what = `${length} in pieces of ${pieceBytes}`
      t.equal(excerpt.total, length, what)
      t.equal(excerpt.whole, whole, what)
      t.strictSame(excerpt.kept, body.subarray(0, 2048), what)
      t.equal(excerpt.kept.buffer.byteLength, Math.min(length, 2048), 'and nothing around them')
    }
  }
})

t.test('a body that did not come to its end is not whole', async (t) => {
  const excerpt = new Excerpt(['Content-Type', 'text/plain'])
  excerpt.add(Buffer.from('abc'))
  t.match(recordedBody(excerpt, false), { text: 'abc', whole: false, bytes: 3 })
  excerpt.end()
  t.match(recordedBody(excerpt, false), { text: 'abc', whole: true, masked: false })
})

t.test('no body is nothing', async (t) => {
  t.equal(recordedBody(undefined, false), undefined)
  t.equal(recordedBody(passed('', JSON_HEADERS), false), undefined)
  t.equal(new Bodies().cost, 0)
})

t.test('text is shown, anything else is counted and not kept', async (t) => {
  const cases: [contentType: string | undefined, type: string | undefined, hidden: string | undefined][] = [
    ['application/json', 'application/json', undefined],
    ['Application/JSON; charset=UTF-8', 'application/json', undefined],
    [' text/plain;charset="utf-8"', 'text/plain', undefined],
    ['text/html; charset=us-ascii', 'text/html', undefined],
    ['application/problem+json', 'application/problem+json', undefined],
    ['application/xml', 'application/xml', undefined],
    ['image/svg+xml', 'image/svg+xml', undefined],
    ['application/x-ndjson', 'application/x-ndjson', undefined],
    ['application/x-www-form-urlencoded', 'application/x-www-form-urlencoded', undefined],
    ['application/pdf', 'application/pdf', 'binary'],
    ['image/png', 'image/png', 'binary'],
    ['multipart/form-data; boundary=x', 'multipart/form-data', 'binary'],
    ['application/octet-stream', 'application/octet-stream', 'binary'],
    ['application/notjson', 'application/notjson', 'binary'],
    [undefined, undefined, 'of no known type'],
    ['json', undefined, 'of no known type'],
    ['application/json x', undefined, 'of no known type'],
    ['text/plain; charset=utf-16', 'text/plain', 'in utf-16'],
    ['application/json; charset=ebcdic-us', 'application/json', 'in ebcdic-us'],
  ]
  for (const [contentType, type, hidden] of cases) {
    const excerpt = passed('{"a":1}', contentType === undefined ? [] : ['content-type', contentType])
    const body = recordedBody(excerpt, false)
    const text = hidden === undefined ? '{"a":1}' : undefined
    t.strictSame(
      body,
      { type, bytes: 7, text, hidden, whole: hidden === undefined, masked: false },
      contentType ?? 'none',
    )
    if (hidden === 'binary' || hidden === 'of no known type')
      t.equal(excerpt.kept.length, 0, 'not kept either')
  }
})

t.test('it is cut between characters, and what is no UTF-8 is not shown', async (t) => {
  for (let before = 2040; before <= 2048; before++) {
    for (const character of ['é', '€', '𝄞']) {
      const text = 'a'.repeat(before) + character.repeat(4)
      const cut = shown(text, ['Content-Type', 'text/plain'])?.text ?? ''
      t.ok(text.startsWith(cut) && !cut.includes('\ufffd'), `${character} at ${before}`)
      t.ok(2048 - Buffer.byteLength(cut) < Buffer.byteLength(character))
    }
  }
  t.match(shown(Buffer.from([0x22, 0xff, 0x22])), { hidden: 'not UTF-8', text: undefined })
  t.match(shown(Buffer.from('€').subarray(0, 2)), { hidden: 'not UTF-8' }, 'whole, but ends within one')
  t.match(shown(Buffer.from('{"password":"s3cr3t"}', 'utf16le')), { hidden: 'binary', text: undefined })
  t.match(
    shown(Buffer.from('\ufeff{"password":"s3cr3t"}')),
    { text: '{"password":"*"}' },
    'a byte order mark',
  )
})

t.test('what is compressed is unpacked, as far as its beginning goes', async (t) => {
  const list = JSON.stringify(
    Array.from({ length: 400 }, (_, id) => ({
      id,
      token: `s3cr3t${id * 7919}`,
      name: `n${(id * 104729) % 997}`,
    })),
  )
  const short = '{"a":1,"token":"s3cr3t"}'
  const codings: [string, (bytes: Buffer) => Buffer][] = [
    ['gzip', gzipSync],
    ['X-GZIP', gzipSync],
    ['deflate', deflateSync],
    ['deflate', deflateRawSync],
    ['br', brotliCompressSync],
    ['zstd', zstdCompressSync],
    ['identity, gzip', gzipSync],
  ]
  for (const [coding, pack] of codings) {
    const headers = [...JSON_HEADERS, 'Content-Encoding', coding]
    const packed = pack(Buffer.from(short))
    t.match(shown(packed, headers), {
      text: '{"a":1,"token":"*"}',
      whole: true,
      masked: true,
      bytes: packed.length,
    })
    const long = shown(pack(Buffer.from(list)), headers)
    t.match(long, { whole: false, hidden: undefined }, coding)
    t.notMatch(long?.text, 's3cr3t', coding)
    const beginning = list.replace(/s3cr3t\d+/g, '*')
    t.ok(beginning.startsWith(long?.text ?? '-'), coding)
    // Some of them give nothing out before a whole block is there.
    if (!['br', 'zstd'].includes(coding)) t.ok((long?.text?.length ?? 0) > 1000, coding)
  }
  for (const [coding, hidden] of [
    ['br, gzip', 'compressed (br, gzip)'],
    ['compress', 'compressed (compress)'],
    ['constructor', 'compressed (constructor)'],
    ['gzip', 'compressed (gzip)'],
  ] as const) {
    t.match(shown('{"token":"s3cr3t"}', [...JSON_HEADERS, 'Content-Encoding', coding]), {
      hidden,
      text: undefined,
    })
  }
  const twice = shown(gzipSync(short), [
    ...JSON_HEADERS,
    'Content-Encoding',
    'br',
    'content-encoding',
    'gzip',
  ])
  t.match(twice, { hidden: 'compressed (br, gzip)' })
  const bomb = brotliCompressSync(Buffer.alloc(50_000_000, 'x'))
  t.match(shown(bomb, ['Content-Type', 'text/plain', 'Content-Encoding', 'br']), {
    hidden: 'compressed (br)',
  })
})

t.test('what the excerpt cuts in two is taken for that', async (t) => {
  for (const [end, shown] of [
    ['true}', 'tr'],
    ['123.5}', '12'],
    ['{"u":"https://me:s3cr3t@h/"}}', '{"u":"https://*'],
  ] as const) {
    const length = end.startsWith('{') ? 20 : 2
    const start = `{"a":"${'x'.repeat(2048 - 12 - length)}","b":`
    t.equal(Buffer.byteLength(start), 2048 - length)
    const body = recordedBody(passed(start + end, JSON_HEADERS), false)
    t.equal(body?.text, start + shown)
  }
})

t.test('a secret never shows, however the body comes in and wherever the excerpt ends', async (t) => {
  fc.assert(
    fc.property(
      fc.nat(4_100),
      fc.integer({ min: 1, max: 3_000 }),
      fc.constantFrom('{"list":[{"password":"', '[{"a":{"b":{"api_key" : "'),
      fc.constantFrom('a', 'é', '€', '\\"'),
      fc.boolean(),
      (before, pieceBytes, start, filler, gzip) => {
        const text = `{"a":"${filler.repeat(Math.floor(before / 2))}","b":${start}S3CR3T-value"}`
        const bytes = Buffer.from(text)
        const headers = gzip ? [...JSON_HEADERS, 'Content-Encoding', 'gzip'] : JSON_HEADERS
        const body = recordedBody(passed(gzip ? gzipSync(bytes) : bytes, headers, pieceBytes), false)
        return body?.text !== undefined && !body.text.includes('S3C')
      },
    ),
  )
  t.pass()
})
