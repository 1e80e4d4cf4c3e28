// Covers src/observe/{metrics,exchange}.ts: counts, and refusals of Procore's with their warnings.
import t from 'tap'
import { type Exchange, savedBy, startExchange } from '../../src/observe/exchange.ts'
import { createLogger } from '../../src/observe/log.ts'
import { CompanyHistory } from '../../src/observe/metrics.ts'
import { fakeTime } from '../fixtures/clock.ts'

function start() {
  const lines: Record<string, unknown>[] = []
  const log = createLogger(
    { level: 'info', format: 'json' },
    { write: (line: string) => void lines.push(JSON.parse(line)) },
  )
  const history = new CompanyHistory(log)
  const add = (over: Partial<Exchange>) =>
    history.add({
      ...startExchange('id', 'GET', '/x'),
      company: 'acme',
      group: 'acme',
      upstreamMs: 1,
      ...over,
    })
  return { history, lines, add }
}

t.test('requests are counted by class of status, by caller, and by how they were saved', async (t) => {
  const { history, add } = start()
  for (const status of [200, 204, 302, 404, 503, null]) add({ status, caller: 'excel' })
  add({ status: 200, cacheStatus: 'procore-proxy; hit; ttl=4' })
  add({ status: 200, group: undefined })
  t.match(history.of('acme'), {
    requests: { '2xx': 3, '3xx': 1, '4xx': 1, '5xx': 1, none: 1 },
    saved: { coalesced: 0, kept: 1, refusal: 0 },
  })
  t.match(history.of('other'), {
    requests: { '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0, none: 0 },
    saved: { coalesced: 0, kept: 0, refusal: 0 },
  })
  t.equal(history.requestsOfCaller('excel'), 6)
  t.equal(history.requestsOfCaller('other'), 0)
})

t.test('Procore’s refusals are counted until it answers otherwise', async (t) => {
  const { history, add } = start()
  add({ status: 403 })
  add({ status: 401 })
  t.match(history.of('acme').refusals, { status: 401, count: 2, causes: Array(5).fill({ cause: /./ }) })
  const refusal = { cause: 'The app is not connected to this company.', fix: 'Connect it.' }
  add({ status: 403, refusal })
  add({ status: 404, upstreamMs: undefined })
  add({ status: 403, cause: 'access_denied' })
  add({ status: 500 })
  t.match(
    history.of('acme').refusals,
    { status: 403, count: 3, causes: [refusal] },
    'the proxy’s own are none',
  )
  add({ status: 302 })
  t.equal(history.of('acme').refusals, undefined)
  t.equal(history.of('other').refusals, undefined)
})

t.test('the log warns once in ten minutes for each status and company', async (t) => {
  const time = fakeTime(t)
  const { lines, add } = start()
  add({ status: 403, company: '1', group: '*' })
  add({ status: 403, company: '2', group: '*' })
  add({ status: 404, company: '2', group: '*', cause: 'caller_gone' })
  add({ status: 403, refusal: { cause: 'The tool is switched off.', fix: 'Switch it on.' } })
  t.match(lines, [
    {
      level: 'warn',
      reqId: 'id',
      company: '1',
      msg: 'Procore answered 403: likely causes',
      causes: Array(6).fill(/./),
    },
    { company: '2', status: 404 },
    {
      causes: ['The tool is switched off. Switch it on.'],
    },
  ])
  await time.pass(600_000)
  add({ status: 403 })
  t.equal(lines.length, 4)
})

t.test('Cache-Status tells how a request was saved', async (t) => {
  const cases: [string | undefined, string | undefined][] = [
    [undefined, undefined],
    ['procore-proxy; hit; ttl=41', 'kept'],
    ['procore-proxy; hit', 'kept'],
    ['procore-proxy; hit; detail=refusal', 'refusal'],
    ['procore-proxy; fwd=miss; collapsed', 'coalesced'],
    ['procore-proxy; fwd=miss', undefined],
    ['procore-proxy; fwd=miss; stored', undefined],
  ]
  for (const [header, by] of cases) t.equal(savedBy(header), by, header ?? 'none')
})
