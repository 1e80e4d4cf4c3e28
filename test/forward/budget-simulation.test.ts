// Covers src/forward/budget.ts and pace.ts over time
import t from 'tap'
import { type Simulation, simulate } from '../fixtures/budget-simulation.ts'

const usual: Simulation = { seconds: 240, hourly: 3600, spike: 25, greed: 40, latencyMs: 200, skewMs: 0 }

t.test('A greedy caller gets the rate it is allowed, and never sees a 429', async (t) => {
  for (const over of [
    {},
    { hourly: 200 },
    { latencyMs: 5 },
    { skewMs: 120_000 },
    { skewMs: -7_200_000 },
    { reset: 'clock' },
  ] satisfies Partial<Simulation>[]) {
    const { sent, allowed, seen } = await simulate({ ...usual, ...over })
    const what = `${JSON.stringify(over)}: ${sent} of ${allowed}`
    t.ok(sent / allowed >= 0.95, what)
    t.equal(seen, 0, what)
  }
})

t.test('Whole seconds rounded up, or a slow API, cost at most a second or two of each ten', async (t) => {
  for (const over of [{ reset: 'ceil' }, { latencyMs: 2_000 }] satisfies Partial<Simulation>[]) {
    const { sent, allowed, seen } = await simulate({ ...usual, ...over })
    t.ok(sent / allowed >= 0.75, `${JSON.stringify(over)}: ${sent} of ${allowed}`)
    t.equal(seen, 0)
  }
})

t.test('Without a cap on the wait nothing is refused; with one, only what would wait longer', async (t) => {
  const { sent, seen } = await simulate({ ...usual, hourly: 100, maxWaitMs: 60_000 })
  t.equal(sent, 100)
  t.ok(seen > 0)
})
