import { emptyResource } from '@opentelemetry/resources'
import type { SpanExporter } from '@opentelemetry/sdk-trace'
import { Clock } from 'clock-mock'
import t, { type Test } from 'tap'
import { endExchange, startExchange } from '../../src/observe/exchange.ts'
import { createLogger } from '../../src/observe/log.ts'
import { SpanDelivery } from '../../src/observe/span-delivery.ts'
import { requestSpans } from '../../src/observe/spans.ts'

/** Before a fake clock takes its place. */
const realImmediate = setImmediate
const settled = () => new Promise<void>((resolve) => void realImmediate(resolve))

type Export = SpanExporter['export']

/** A delivery of at most four waiting spans, and what it exports and logs. */
function startDelivery(t: Test, exporting: Export = (_spans, done) => done({ code: 0 })) {
  const clock = new Clock()
  t.teardown(clock.enter())
  const lines: Record<string, unknown>[] = []
  const log = createLogger(
    { level: 'trace', format: 'json' },
    { write: (line) => void lines.push(JSON.parse(line)) },
  )
  const batches: number[] = []
  const delivery = new SpanDelivery(
    {
      export: (spans, done) => {
        batches.push(spans.length)
        exporting(spans, done)
      },
      shutdown: () => Promise.resolve(),
    },
    { origin: 'http://collector.test', delayMs: 1000, maxQueued: 4, timeoutMs: 10_000 },
    log,
  )
  const add = (count: number) => {
    for (let i = 0; i < count; i++) delivery.add(span())
  }
  return { delivery, clock, lines, batches, add }
}

function span() {
  const exchange = startExchange('id', 'GET', '/')
  endExchange(exchange, 200)
  const context = { traceId: '1'.repeat(32), spanId: '1'.repeat(16), traceFlags: 1 }
  const traced = { parent: undefined, server: context, client: context, upstream: undefined, path: '' }
  return requestSpans(exchange, traced, emptyResource())[0]!
}

t.test('spans are sent together once the first has waited', async (t) => {
  const { clock, batches, lines, add } = startDelivery(t)
  add(3)
  clock.advance(999)
  t.strictSame(batches, [])
  clock.advance(1)
  t.strictSame(batches, [3])
  t.strictSame(lines, [])
})

t.test('what is kept is bounded, and what is lost is counted and told of once a minute', async (t) => {
  const pending: (() => void)[] = []
  const { delivery, clock, batches, lines, add } = startDelivery(t, (_spans, done) =>
    pending.push(() =>
      done({ code: 1, error: Object.assign(new Error('Unauthorized: a-secret'), { code: 401 }) }),
    ),
  )
  add(3)
  clock.advance(1_000)
  t.strictSame(batches, [3])
  add(1)
  add(4)
  t.match(lines, [{ level: 'warn', lost: 1, error: 'more than 4 spans wait' }])
  clock.advance(59_999)
  pending.shift()?.()
  await settled()
  t.equal(lines.length, 1, 'three more that found no place, and a batch')
  clock.advance(1)
  add(4)
  t.match(lines[1], { level: 'warn', lost: 7, error: 'more than 4 spans wait' })
  const closing = delivery.close(2_000)
  await settled()
  for (const fail of pending.splice(0)) fail()
  await closing
  t.match(lines[2], {
    lost: 4,
    error: 'the proxy has stopped',
    msg: 'traces could not be sent to http://collector.test',
  })
  t.equal(lines.length, 3)
  t.notMatch(JSON.stringify(lines), 'a-secret', "the collector's own words")
})

t.test('a refusal is told by its status', async (t) => {
  const { clock, lines, add } = startDelivery(t, (_spans, done) =>
    done({ code: 1, error: Object.assign(new Error('a-secret'), { code: 401 }) }),
  )
  add(2)
  clock.advance(1_000)
  t.match(lines, [{ lost: 2, error: 'the collector answered HTTP 401' }])
})

t.test('the end does not wait for a collector that never answers', async (t) => {
  const { delivery, clock, lines, add, batches } = startDelivery(t, () => {})
  add(2)
  const closing = delivery.close(2_000)
  await settled()
  t.strictSame(batches, [2])
  t.strictSame(lines, [])
  clock.advance(2_000)
  await closing
  t.match(lines, [{ lost: 2, error: 'the proxy has stopped' }])
  add(1)
  t.strictSame(batches, [2], 'nothing is taken any more')
  t.equal(lines.length, 1)
})

t.test('a failure without a reason is told too', async (t) => {
  const { clock, lines, add } = startDelivery(t, (_spans, done) => done({ code: 1 }))
  add(1)
  clock.advance(1_000)
  t.match(lines, [{ lost: 1, error: 'it failed' }])
})
