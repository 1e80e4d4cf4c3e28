// Twin of src/http1/read-head.ts
import fc from 'fast-check'
import t from 'tap'
import { readHead } from '../../src/http1/read-head.ts'

const READ = [
  'date',
  'retry-after',
  'content-type',
  'content-range',
  'content-length',
  'content-encoding',
  'transfer-encoding',
  'x-rate-limit-limit',
  'x-rate-limit-reset',
  'x-rate-limit-remaining',
]
/** Without the names that were not there. */
const headOf = (rawHeaders: readonly (Buffer | string)[]) =>
  Object.fromEntries(Object.entries(readHead(rawHeaders)).filter(([, value]) => value !== undefined))
const buffers = (...texts: string[]) => texts.map((text) => Buffer.from(text, 'latin1'))

t.test('only what somebody reads is read, in any case', async (t) => {
  t.strictSame(headOf([]), {})
  t.strictSame(headOf(buffers('DATE', 'x', 'Etag', 'y', 'Xate', 'z', 'X-Rate-Limit-RESET', '1')), {
    date: 'x',
    'x-rate-limit-reset': '1',
  })
  t.strictSame(headOf(buffers('date', '1', 'Date', '2', 'dATE', '3')), { date: ['1', '2', '3'] })
  t.strictSame(headOf(buffers('Content-Type', 't\xe9xt')), { 'content-type': 't\xe9xt' })
  const spelling = fc.mixedCase(
    fc.constantFrom(...READ, 'server', 'link', 'total', '__proto__', 'constructor'),
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(spelling, fc.string({ unit: 'grapheme-ascii' }))), (fields) => {
      const wanted: Record<string, string[]> = {}
      for (const [name, value] of fields) {
        const lower = name.toLowerCase()
        if (!READ.includes(lower)) continue
        wanted[lower] = [...(wanted[lower] ?? []), value]
      }
      const head = headOf(buffers(...fields.flat())) as Record<string, string | string[]>
      const got = Object.fromEntries(Object.entries(head).map(([name, value]) => [name, [value].flat()]))
      t.strictSame(got, wanted)
    }),
    { numRuns: 200 },
  )
})
