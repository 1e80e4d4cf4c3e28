// Twin of src/forward/wire.ts; test/flow/http2.test.ts goes through it, too.
import { PassThrough } from 'node:stream'
import { setImmediate as settle } from 'node:timers/promises'
import t from 'tap'
import { Wire } from '../../src/forward/wire.ts'

const buffers = (...texts: string[]) => texts.map((text) => Buffer.from(text, 'latin1'))

t.test('it passes everything on, and tells undici when to pause', async (t) => {
  const seen: unknown[] = []
  const aborted: unknown[] = []
  let resumed = 0
  const wire: Wire = new Wire({
    onRequestStart: (controller, context) => void seen.push(controller === wire, context),
    onResponseStart: (controller, status, headers, message) => {
      // Without the names that were not there.
      seen.push(status, JSON.parse(JSON.stringify(headers)), message)
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
  t.strictSame(seen, [true, 'context', 103, {}, 'Early', 200, { date: 'd' }, 'OK', 'a', 'b', {}, 'enough'])
})

t.test('a body that is still on its way ends before undici is told to abort', async (t) => {
  const aborted: unknown[] = []
  const body = new PassThrough()
  const nothing = () => {}
  const wire = new Wire(
    {
      onRequestStart: nothing,
      onResponseStart: nothing,
      onResponseData: nothing,
      onResponseEnd: nothing,
      onResponseError: nothing,
    },
    body,
  )
  wire.onConnect((reason) => aborted.push(reason, body.destroyed))
  const reason = new Error('enough')
  wire.abort(reason)
  t.strictSame([aborted, body.destroyed], [[], true])
  await settle()
  t.strictSame(aborted, [reason, true])
})

t.test('an unknown transfer coding is refused: undici would pass it on as the body', async (t) => {
  const seen: unknown[] = []
  const aborted: unknown[] = []
  const wire: Wire = new Wire({
    onRequestStart: () => {},
    onResponseStart: (_controller, status) => void seen.push(status),
    onResponseData: () => {},
    onResponseEnd: () => {},
    onResponseError: () => {},
  })
  wire.onConnect((reason) => aborted.push(reason))
  wire.onHeaders(103, buffers('Transfer-Encoding', 'gzip'), () => {}, '')
  wire.onHeaders(200, buffers('Transfer-Encoding', 'Chunked'), () => {}, 'OK')
  t.strictSame([seen, aborted], [[103, 200], []])
  wire.onHeaders(200, buffers('Transfer-Encoding', 'gzip', 'transfer-encoding', 'chunked'), () => {}, 'OK')
  t.match(aborted, [{ message: 'unknown transfer coding' }])
  t.strictSame(seen, [103, 200])
})
