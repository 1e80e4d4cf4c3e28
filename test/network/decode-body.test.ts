// Covers src/network/decode-body.ts.
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { decodeBody } from '../../src/network/decode-body.ts'

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
    t.equal(decodeBody(bytes, encoding, 1000), TEXT, what)
  }
})

t.test('What is longer than allowed is not read, however small it was compressed', async (t) => {
  t.equal(decodeBody(plain, undefined, plain.length), TEXT)
  t.equal(decodeBody(plain, undefined, plain.length - 1), undefined)
  t.equal(decodeBody(gzipSync(Buffer.alloc(1e6)), 'gzip', 1000), undefined)
  t.equal(decodeBody(Buffer.of(0x1f, 0x8b, 0), 'gzip', 1000)?.length, 3, 'broken: as it is')
})
