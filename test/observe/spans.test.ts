import { type SpanContext, SpanKind } from '@opentelemetry/api'
import { emptyResource } from '@opentelemetry/resources'
import t from 'tap'
import { ProxyError } from '../../src/errors.ts'
import { type Exchange, endExchange, startExchange } from '../../src/observe/exchange.ts'
import { requestSpans } from '../../src/observe/spans.ts'

const context = (digit: string): SpanContext => ({
  traceId: digit.repeat(32),
  spanId: digit.repeat(16),
  traceFlags: 1,
})
const traced = {
  parent: undefined,
  server: context('1'),
  client: context('2'),
  upstream: undefined,
  path: '',
}

function spansOf(target: string, over: Partial<Exchange> = {}, status: number | null = 200) {
  const exchange = { ...startExchange('id', 'GET', target), ...over }
  endExchange(exchange, status)
  return requestSpans(exchange, traced, emptyResource())
}

t.test('the address is that of the listener', async (t) => {
  const address = (listener: Exchange['listener']) => {
    const [span] = spansOf('/x', { listener })
    return [span?.attributes['server.address'], span?.attributes['server.port']]
  }
  t.strictSame(address({ kind: 'tcp', host: '::1', port: 8377 }), ['::1', 8377])
  t.strictSame(address({ kind: 'tcp', host: '127.0.0.1', port: 0 }), ['127.0.0.1', undefined], 'any free one')
  t.strictSame(address({ kind: 'unix', path: '/run/x.sock', mode: 0o600 }), ['/run/x.sock', undefined])
  t.strictSame(address(undefined), [undefined, undefined])
})

t.test('long paths and queries are cut', async (t) => {
  const long = 'x'.repeat(1024)
  const [exact] = spansOf(`/${long.slice(1)}?${long}=1`)
  t.equal(exact?.attributes['url.path'], `/${long.slice(1)}`)
  t.equal(exact?.attributes['url.query'], `${long}…`)
  const [span] = spansOf(`/${long}`)
  t.equal(span?.attributes['url.path'], `/${long.slice(1)}…`)
})

t.test('an error of the proxy is an error of the span where it is not the fault of the caller', async (t) => {
  const failing = (cause: string | undefined, status: number | null) =>
    spansOf('/x', { cause, error: new ProxyError('internal_error', 'x') }, status)[0]?.status.code === 2
  t.equal(failing(undefined, 404), false)
  t.equal(failing(undefined, 502), true)
  t.equal(failing('rate_limited', 429), false)
  t.equal(failing('upstream_timeout', 504), true)
  t.equal(failing('upstream_protocol', 200), true, 'broken off')
  t.equal(failing('upstream_protocol', null), true)
  t.equal(failing('caller_gone', null), false)
  t.equal(failing('caller_gone', 200), false)
})

t.test('times are those of the exchange, by the wall clock', async (t) => {
  const spans = spansOf('/x', {
    at: 1_000_000.5,
    startedAt: performance.now() - 50,
    sentAt: performance.now(),
  })
  t.strictSame(
    spans.map(({ kind }) => kind),
    [SpanKind.CLIENT, SpanKind.SERVER],
  )
  const [sent, served] = spans
  t.strictSame(served?.startTime, [1000, 500_000])
  const ms = ([seconds, nanos]: [number, number]) => seconds * 1000 + nanos / 1e6
  t.ok(ms(sent?.startTime ?? [0, 0]) - ms(served?.startTime ?? [0, 0]) >= 49.9)
  t.ok(Math.abs(ms(served?.endTime ?? [0, 0]) - 1_000_000.5 - ms(served?.duration ?? [0, 0])) < 0.01)
  t.strictSame(sent?.events, [], 'nothing came')
  t.match(sent?.parentSpanContext, context('1'))
  t.equal(served?.parentSpanContext, undefined)
})
