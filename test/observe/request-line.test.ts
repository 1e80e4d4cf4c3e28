// Twin of src/observe/request-line.ts: byte for byte what pino makes of the same request.
import fc from 'fast-check'
import t from 'tap'
import { type Exchange, startExchange } from '../../src/observe/exchange.ts'
import { createLogger, logExchange } from '../../src/observe/log.ts'
import { RequestLine } from '../../src/observe/request-line.ts'

const ms = fc.oneof(fc.double({ min: 0, max: 1e7, noNaN: true }), fc.integer({ min: 0, max: 100_000 }))
const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: 'binary' }),
  fc.constant('a"b\\c\n\x7f'),
)
const ended = fc
  .record({
    method: fc.constantFrom('GET', 'POST', 'DELETE'),
    target: text.map((rest) => `/rest/${rest}`),
    reqId: text,
    company: fc.option(text, { nil: undefined }),
    status: fc.option(fc.integer({ min: 200, max: 599 }), { nil: null }),
    durationMs: ms,
    upstreamMs: fc.option(ms, { nil: undefined }),
    bytesIn: fc.nat(),
    bytesOut: fc.nat(),
    retries: fc.nat(9),
  })
  .map((fields): Exchange => ({ ...startExchange('', '', ''), ...fields }))

t.test('It is the line that pino would write', async (t) => {
  const lines: string[] = []
  const log = createLogger({ level: 'info', format: 'json' }, { write: (line) => void lines.push(line) })
  // A child makes its lines pino's way.
  const child = log.child({})
  const withoutTime = (line: string | undefined) => line?.replace(/"time":"[^"]*"/, '')
  fc.assert(
    fc.property(ended, (exchange) => {
      lines.length = 0
      logExchange(log, exchange)
      logExchange(child, exchange)
      const [own, pinos] = lines.map(withoutTime)
      // Half of a surrogate pair, as JSON wants it: pino leaves it as it is in short texts.
      return own === pinos || JSON.stringify(JSON.parse(own!)) === JSON.stringify(JSON.parse(pinos!))
    }),
    { numRuns: 500 },
  )
  const plain = { ...startExchange('id', 'GET', '/rest/v1.0/me?a=secret'), company: 'acme', status: 200 }
  lines.length = 0
  logExchange(log, { ...plain, durationMs: 3.04, upstreamMs: 2.96 })
  t.match(lines, [
    /^\{"level":"info","time":"[^"]+","reqId":"id","method":"GET","path":"\/rest\/v1\.0\/me\?a=\*","company":"acme","status":200,"durationMs":3,"upstreamMs":3,"bytesIn":0,"bytesOut":0,"retries":0,"msg":"request"\}\n$/,
  ])
})

t.test('What a child says of itself is not lost, nor a cause', async (t) => {
  const lines: string[] = []
  const log = createLogger({ level: 'info', format: 'json' }, { write: (line) => void lines.push(line) })
  const exchange = { ...startExchange('id', 'GET', '/rest/x'), status: 200 }
  logExchange(log.child({ tenant: 'x' }), exchange)
  logExchange(log, { ...exchange, cause: 'caller_gone' })
  const [child, gone] = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  t.match(child, { tenant: 'x', reqId: 'id', msg: 'request' })
  t.match(gone, { cause: 'caller_gone', reqId: 'id', msg: 'request' })
  t.match(
    new RequestLine(exchange).text(',"time":"t"', 'request'),
    /^\{"level":"info","time":"t","reqId":"id"/,
  )
})
