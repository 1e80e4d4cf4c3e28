// The behavior of budgets, on the local one and on the one that is shared through Redis.
import t from 'tap'
import type { RateLimitSettings } from '../../src/config/config.ts'
import { Budget } from '../../src/forward/budget.ts'
import { SharedBudget } from '../../src/shared/shared-budget.ts'
import { budgetBench } from '../fixtures/budget-bench.ts'
import { budgetSuite } from '../fixtures/budget-suite.ts'
import { fakeTime } from '../fixtures/clock.ts'
import { hasRedis, keepImmediate, startRedis, TimedLink } from '../fixtures/redis.ts'

const { parse } = Date
const usual: RateLimitSettings = { whenExhausted: 'wait', maxWaitMs: 60_000, maxQueued: 1000 }

t.test('Local', async (t) => {
  budgetSuite(t, async (t, settings) => {
    const time = fakeTime(t)
    Date.parse = parse
    return { ...budgetBench(new Budget({ ...usual, ...settings })), time }
  })
})

t.test('Shared', async (t) => {
  if (!hasRedis(t)) return
  const redis = await startRedis(t)
  let opened = 0
  budgetSuite(t, async (t, settings) => {
    const link = new TimedLink(redis.connection)
    const time = fakeTime(t, () => link.isBusy)
    keepImmediate()
    Date.parse = parse
    const budget = new SharedBudget(
      { ...usual, ...settings },
      { link, name: String(++opened), whenDown: 'split', holdMs: () => 60_000 },
    )
    return { ...budgetBench(budget), time }
  })
})
