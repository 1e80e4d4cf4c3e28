// Covers src/network/response.ts.
import { Readable } from 'node:stream'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { decodeBody, readBounded, retryAfterMs, serverNowMs } from '../../src/network/response.ts'

t.test('a body is read whole, up to the limit', async (t) => {
  const pieces = () => Readable.from([Buffer.from('ab'), Buffer.from('c')])
  t.equal(String(await readBounded(pieces(), 3)), 'abc')
  t.equal(await readBounded(pieces(), 2), undefined)
  t.equal((await readBounded(Readable.from([]), 0))?.length, 0)
})

t.test('one that never ends is given up', async (t) => {
  let given = 0
  const endless = new Readable({
    read() {
      given++
      this.push(Buffer.alloc(1024))
    },
  })
  t.equal(await readBounded(endless, 10 * 1024), undefined)
  t.ok(endless.destroyed)
  t.ok(given < 100, `${given} pieces`)
})

const TEXT = '{"access_token":"plač"}'
const plain = Buffer.from(TEXT)

t.test('Bodies are decompressed by their name, and gzip by its first bytes too', async (t) => {
  for (const [what, bytes, encoding] of [
    ['plain', plain, undefined],
    ['identity', plain, 'identity'],
    ['an unknown name', plain, 'zstd9'],
    ['gzip', gzipSync(plain), 'gzip'],
    ['gzip with blanks and capitals', gzipSync(plain), ' GZip '],
    ['x-gzip', gzipSync(plain), 'x-gzip'],
    ['gzip without a name', gzipSync(plain), undefined],
    ['gzip by another name', gzipSync(plain), 'br'],
    ['deflate', deflateSync(plain), 'deflate'],
    ['brotli', brotliCompressSync(plain), 'br'],
    ['plain that is called gzip', plain, 'gzip'],
    ['with a byte-order mark', Buffer.from(`\uFEFF${TEXT}`), undefined],
    ['compressed, with a byte-order mark', gzipSync(Buffer.from(`\uFEFF${TEXT}`)), 'gzip'],
  ] as const) {
    t.equal(decodeBody(bytes, encoding ?? '', 1000), TEXT, what)
  }
})

t.test('What is longer than allowed is not read, however small it was compressed', async (t) => {
  t.equal(decodeBody(plain, '', plain.length), TEXT)
  t.equal(decodeBody(plain, '', plain.length - 1), undefined)
  const bomb = gzipSync(Buffer.alloc(1e6))
  t.ok(decodeBody(bomb, 'gzip', 2000)!.length <= bomb.length, 'as it is')
  t.equal(
    decodeBody(Buffer.from('\x1f\x8bno gzip at all', 'latin1'), 'gzip', 1000)?.length,
    16,
    'broken: as it is',
  )
})

const NOW = Date.UTC(2026, 5, 1, 12, 0, 0)
// So that local time is not UTC.
process.env['TZ'] = 'America/New_York'

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
    ['a date without a zone, which is in UTC', 'Mon Jun  1 12:01:00 2026', 60_000],
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

t.test('The server’s clock is its Date, where that is one', async (t) => {
  for (const form of [
    'Mon, 01 Jun 2026 12:00:09 GMT',
    'Monday, 01-Jun-26 12:00:09 GMT',
    'Mon Jun  1 12:00:09 2026',
  ]) {
    t.equal(serverNowMs({ date: form }, NOW), NOW + 9_000, form)
  }
  t.equal(serverNowMs({ date: [new Date(NOW + 9_000).toUTCString(), 'x'] }, NOW), NOW + 9_000)
  for (const text of ['', '5', '2026', 'yesterday', 'Monday morning']) {
    t.equal(serverNowMs({ date: text }, NOW), NOW, text)
  }
  t.equal(serverNowMs({}, NOW), NOW)
})
