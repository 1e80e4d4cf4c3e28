// Twin of src/forward/wire.ts; every flow test goes through it, too.
import fc from 'fast-check'
import t from 'tap'
import { readHead, Wire } from '../../src/forward/wire.ts'

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
const buffers = (...texts: string[]) => texts.map((text) => Buffer.from(text, 'latin1'))

t.test('only what somebody reads is read, in any case', async (t) => {
  t.strictSame(readHead([]), {})
  t.strictSame(readHead(buffers('DATE', 'x', 'Etag', 'y', 'Xate', 'z', 'X-Rate-Limit-RESET', '1')), {
    date: 'x',
    'x-rate-limit-reset': '1',
  })
  t.strictSame(readHead(buffers('date', '1', 'Date', '2', 'dATE', '3')), { date: ['1', '2', '3'] })
  t.strictSame(readHead(buffers('Content-Type', 't\xe9xt')), { 'content-type': 't\xe9xt' })
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
      const head = readHead(buffers(...fields.flat())) as Record<string, string | string[]>
      const got = Object.fromEntries(Object.entries(head).map(([name, value]) => [name, [value].flat()]))
      t.strictSame(got, wanted)
    }),
    { numRuns: 200 },
  )
})

t.test('it passes everything on, and tells undici when to pause', async (t) => {
  const seen: unknown[] = []
  const aborted: unknown[] = []
  let resumed = 0
  const wire: Wire = new Wire({
    onRequestStart: (controller, context) => void seen.push(controller === wire, context),
    onResponseStart: (controller, status, headers, message) => {
      seen.push(status, headers, message)
      if (status === 200) controller.pause()
    },
    onResponseData: (_controller, chunk) => void seen.push(String(chunk)),
    onResponseEnd: (_controller, trailers) => void seen.push(trailers),
    onResponseError: (_controller, error) => void seen.push(error.message),
  })
  const resume = () => resumed++
  wire.onConnect((reason) => aborted.push(reason), 'context')
  t.equal(wire.onHeaders(103, [], resume, 'Early'), true)
  const raw = buffers('Date', 'd', 'Server', 's')
  t.equal(wire.onHeaders(200, raw, resume, 'OK'), false)
  t.equal(wire.rawHeaders, raw)
  t.equal(wire.onData(Buffer.from('a')), false)
  wire.resume()
  wire.resume()
  t.equal(resumed, 1)
  t.equal(wire.onData(Buffer.from('b')), true)
  wire.onComplete()
  const reason = new Error('enough')
  wire.abort(reason)
  wire.abort(new Error('again'))
  t.strictSame(aborted, [reason])
  t.equal(wire.reason, reason)
  wire.onError(new Error('late'))
  t.strictSame(seen, [true, 'context', 103, {}, 'Early', 200, { date: 'd' }, 'OK', 'a', 'b', {}, 'late'])
})
