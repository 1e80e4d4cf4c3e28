import t from 'tap'
import { judge } from '../../bench/goals.ts'
import { figure, figuresTables, goalsTable, ratioTables, spread, table } from '../../bench/tables.ts'
import { compared, withoutMeasures } from '../fixtures/bench.ts'

const metOf = (result: Parameters<typeof judge>[0], goal: string) => {
  const found = judge(result).find((each) => each.goal === goal)
  t.ok(found, `there is the goal "${goal}"`)
  return { met: found?.met, median: found?.measured?.median }
}

t.test('a ratio at its limit is met, above it is not', async (t) => {
  const goal = 'CPU a request, to @fastify/http-proxy (plain)'
  t.match(metOf(compared({ ownCpu: 60 }), goal), { met: true, median: 0.6 })
  t.match(metOf(compared({ ownCpu: 61 }), goal), { met: false })
})

t.test('of MB/s more is better', async (t) => {
  const goal = 'MB/s of a large download, to Caddy'
  t.match(metOf(compared({ ownMbPerSecond: 400 }), goal), { met: true, median: 0.8 })
  t.match(metOf(compared({ ownMbPerSecond: 399 }), goal), { met: false })
})

t.test('added latency is compared without the way that both have in common', async (t) => {
  // 100 µs of 120 are the direct way: 50 against 20 added.
  t.match(metOf(compared({ ownP50: 150 }), 'added p50 at one connection, to tuned nginx'), {
    met: false,
    median: 2.5,
  })
})

t.test('figures with a unit are held against it', async (t) => {
  t.match(metOf(compared({ startMs: 300 }), 'start to first proxied answer'), { met: true, median: 300 })
  t.match(metOf(compared({ startMs: 301 }), 'start to first proxied answer'), { met: false })
  t.match(metOf(compared({ startMs: 301 }), 'idle memory'), { met: true, median: 50 })
})

t.test('renewals may not be told from the rest', async (t) => {
  const goal = 'p99 within 250 ms of a renewal, to the rest'
  t.match(metOf(compared({ nearP99: 250 }), goal), { met: true, median: 1.25 })
  t.match(metOf(compared({ nearP99: 300 }), goal), { met: false })
})

t.test('what was not measured is neither met nor missed', async (t) => {
  for (const { measured, met, goal } of judge(withoutMeasures())) {
    t.equal(measured, undefined, goal)
    t.equal(met, undefined, goal)
  }
  t.match(
    goalsTable(judge(withoutMeasures())),
    /^\| CPU a request, to Caddy \(TLS\) .*\| – +\| not measured/m,
  )
})

t.test('the goals as a table say what is wanted, what came out, and whether that is enough', async (t) => {
  const text = goalsTable(judge(compared({ ownCpu: 61, startMs: 300 })))
  t.match(
    text,
    /^\| CPU a request, to @fastify\/http-proxy \(plain\) +\| ≤ 0\.6 +\| 0\.61 +\| \*\*no\*\* +\|$/m,
  )
  t.match(text, /^\| MB\/s of a large download, to Caddy +\| ≥ 0\.8 +\|/m)
  t.match(text, /^\| start to first proxied answer +\| ≤ 300 ms +\| 300 ms +\| yes +\|$/m)
})

t.test('ratios are to the tuned nginx, which is 1', async (t) => {
  const [cpu = ''] = ratioTables(compared({ ownCpu: 60 }))
  t.match(cpu, /^\| nginx, tuned +\| 1\.00 +\| 1\.00 +\| 1\.00 +\| 1\.00 +\|$/m)
  t.match(cpu, /^\| procore-proxy, all features on +\| 0\.17 +\| – +\| 6\.00 +\| – +\|$/m)
  t.strictSame(ratioTables(withoutMeasures()), [], 'no nginx, no ratios')
})

t.test('figures leave out contenders and groups of which nothing is known', async (t) => {
  const tables = figuresTables(compared({}))
  t.equal(tables.length, 4)
  t.notMatch(tables[1], 'http-proxy-middleware', 'its latency was not measured')
  t.strictSame(figuresTables(withoutMeasures()), [])
})

t.test('a figure has three digits, and a spread only where there is one', async (t) => {
  t.strictSame([0.123, 9.99, 12.34, 123.4, 0].map(figure), ['0.12', '9.99', '12.3', '123', '0.00'])
  t.equal(spread({ median: 2, least: 1, most: 3 }), '2.00 (1.00–3.00)')
  t.equal(spread({ median: 2, least: 2, most: 2.001 }), '2.00')
  t.equal(spread(undefined), '–')
})

t.test('a table stands in columns', async (t) => {
  t.equal(table(['a', 'long'], [['longer', '1']]), '| a      | long |\n|--------|------|\n| longer | 1    |')
})
