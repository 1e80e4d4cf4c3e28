// Covers src/shared/shared-budget.ts and budget-scripts.ts with several replicas, on a real Redis by a fake clock.
import t, { type Test } from 'tap'
import type { SharedSettings } from '../../src/config/config.ts'
import type { BudgetRequest } from '../../src/forward/budget.ts'
import { SharedDownError } from '../../src/shared/redis-link.ts'
import { SharedBudget } from '../../src/shared/shared-budget.ts'
import { budgetBench, headOfSaid } from '../fixtures/budget-bench.ts'
import { simulate } from '../fixtures/budget-simulation.ts'
import { fakeTime } from '../fixtures/clock.ts'
import { hasRedis, keepImmediate, startRedis, type TestRedis, TimedLink } from '../fixtures/redis.ts'

const { parse } = Date
const usual = { whenExhausted: 'wait', maxWaitMs: 60_000, maxQueued: 1000 } as const
let opened = 0

/** Replicas of one budget; all of them were seen, and the window has been learned. */
async function replicas(
  t: Test,
  redis: TestRedis,
  count: number,
  whenDown: SharedSettings['whenDown'] = 'split',
) {
  const name = String(++opened)
  const links = Array.from({ length: count }, (_, nth) => new TimedLink(redis.connection, 'test', `r${nth}`))
  const time = fakeTime(t, () => links.some((link) => link.isBusy))
  keepImmediate()
  Date.parse = parse
  const all = links.map((link) => {
    const options = { link, name, whenDown, holdMs: () => 20_000 }
    return { ...budgetBench(new SharedBudget(usual, options)), link }
  })
  const stored = async (command = 'GET', key = 'state') =>
    String(await redis.send(command, `test:v1:{${name}}:${key}`))
  const learn = async (said: Parameters<typeof headOfSaid>[0]) => {
    for (const it of all) it.ask()
    await time.settle()
    for (const it of all) {
      it.answer(said)
      it.entered.length = 0
    }
    await time.settle()
  }
  const setUp = (isUp: boolean) => void links.map((link) => Object.assign(link, { isUp }))
  const entered = () => all.map((it) => it.entered.length)
  return { all, time, learn, setUp, entered, stored }
}

type Replicas = Awaited<ReturnType<typeof replicas>>
const askAll = async ({ all, time }: Replicas, count: number, more: Partial<BudgetRequest> = {}) => {
  for (const it of all) for (let nth = 0; nth < count; nth++) it.ask('a', 'GET /x', 60_000, more)
  await time.settle()
}
const sum = (counts: number[]) => counts.reduce((all, each) => all + each, 0)

t.test('Replicas', async (t) => {
  if (!hasRedis(t)) return
  const redis = await startRedis(t)

  t.test('take from one budget, each its part, and together no more than there is', async (t) => {
    const it = await replicas(t, redis, 4)
    await it.learn({ limit: 25, remaining: 0, resetIn: 5 })
    await askAll(it, 20)
    t.strictSame(it.entered(), [0, 0, 0, 0])
    await it.time.pass(6_500)
    t.equal(sum(it.entered()), 25)
    t.ok(
      it.entered().every((count) => count >= 6 && count <= 7),
      String(it.entered()),
    )
  })

  t.test('that want little leave the rest to the others; one that died holds up none of them', async (t) => {
    const it = await replicas(t, redis, 3)
    await it.learn({ limit: 24, remaining: 0, resetIn: 5 })
    const [greedy, modest, dead] = it.all
    for (let nth = 0; nth < 30; nth++) greedy?.ask()
    modest?.ask()
    for (let nth = 0; nth < 30; nth++) dead?.ask()
    await it.time.settle()
    if (dead !== undefined) dead.link.run = () => new Promise(() => {})
    await it.time.pass(7_000)
    t.strictSame(it.entered(), [23, 1, 0])
  })

  t.test('are forgotten in Redis once they have been gone for five minutes', async (t) => {
    const it = await replicas(t, redis, 3)
    await it.learn({ limit: 25, remaining: 25, resetIn: 3600 })
    const known = async () => [await it.stored('ZCARD', 'seen'), await it.stored('HLEN', 'served')]
    t.strictSame(await known(), ['3', '3'])
    await it.time.pass(301_000)
    it.all[0]?.ask()
    await it.time.settle()
    t.strictSame(await known(), ['1', '1'])
  })

  t.test('share out the turns over time: who had less goes first', async (t) => {
    const it = await replicas(t, redis, 2)
    await it.learn({ limit: 3, remaining: 0, resetIn: 5 })
    await askAll(it, 20)
    for (let window = 0; window < 4; window++) {
      await it.time.pass(6_500)
      for (const one of it.all) {
        for (const _ of one.entered.splice(0)) one.answer({ limit: 3, remaining: 0, resetIn: 5 })
      }
      await it.time.settle()
    }
    const waiting = it.all.map(({ budget }) => budget.waiting)
    t.strictSame(waiting, [14, 14], '12 in four windows, 6 for each')
  })

  t.test('get a reservation back after its deadline where a replica died', async (t) => {
    const it = await replicas(t, redis, 2)
    await it.learn({ limit: 5, remaining: 5, resetIn: 3600 })
    const [dying, other] = it.all
    for (let nth = 0; nth < 5; nth++) dying?.ask()
    await it.time.settle()
    const fate = other?.ask('a', 'GET /x', 60_000)
    await it.time.pass(19_000)
    t.notOk(fate?.settled)
    await it.time.pass(1_500)
    t.ok(fate?.settled && fate.error === undefined)
  })

  t.test('give back what Redis reserved, though its reply was lost', async (t) => {
    const it = await replicas(t, redis, 2)
    await it.learn({ limit: 5, remaining: 5, resetIn: 3600 })
    const [one, two] = it.all
    if (one === undefined || two === undefined) throw new Error('no replicas')
    const loseReply = () => {
      const run = one.link.run.bind(one.link)
      one.link.run = async (...args) => {
        one.link.run = run
        await run(...args)
        one.link.isUp = false
        throw new SharedDownError(undefined)
      }
    }
    const isAllThere = async () => {
      await it.time.settle()
      one.link.isUp = true
      await it.time.pass(1_500)
      const others = Array.from({ length: 5 }, () => two.ask())
      await it.time.pass(500)
      t.equal(others.filter(({ settled }) => settled).length, 5)
      for (const _ of others) two.leave()
    }
    loseReply()
    const fates = Array.from({ length: 5 }, () => one.ask())
    await it.time.settle()
    t.strictSame(it.entered(), [2, 0], 'its part of the budget')
    one.leave()
    one.leave()
    for (const fate of fates) fate.abort()
    await isAllThere()
    loseReply()
    const gone = Array.from({ length: 5 }, () => one.ask())
    for (const fate of gone) fate.abort()
    await isAllThere()
  })

  t.test('give back what ended while Redis was away, also if they are idle', async (t) => {
    const it = await replicas(t, redis, 2)
    await it.learn({ limit: 5, remaining: 5, resetIn: 3600 })
    const [one, two] = it.all
    for (let nth = 0; nth < 4; nth++) one?.ask()
    await it.time.settle()
    t.strictSame(it.entered(), [4, 0])
    // Redis goes while it is told of the first.
    if (one !== undefined) {
      const { link } = one
      const run = link.run.bind(link)
      link.run = () => {
        Object.assign(link, { run, isUp: false })
        return Promise.reject(new SharedDownError(undefined))
      }
    }
    one?.leave()
    await it.time.settle()
    for (let nth = 0; nth < 3; nth++) one?.leave()
    const late = one?.ask('a', 'GET /x', 0)
    await it.time.settle()
    late?.abort()
    await it.time.settle()
    it.setUp(true)
    const { runs = 0 } = one?.link ?? {}
    await it.time.pass(1_500)
    t.equal(one?.link.runs, runs + 2, 'what it knows of the window, and all reservations in one command')
    const others = Array.from({ length: 5 }, () => two?.ask())
    await it.time.pass(500)
    t.equal(others.filter((each) => each?.settled).length, 5)
  })

  t.test(
    'look for Redis each second while a request waits, also one that takes the place of another',
    async (t) => {
      const it = await replicas(t, redis, 1, 'local')
      await it.learn({ limit: 1, remaining: 0, resetIn: 30 })
      const [one] = it.all
      it.setUp(false)
      const first = one?.ask()
      await it.time.settle()
      // The machine sleeps until the window is over, and its timers with it.
      it.time.sleep(40_000)
      const second = one?.ask()
      await it.time.settle()
      t.strictSame([first?.settled, second?.settled], [true, false])
      it.setUp(true)
      await it.time.pass(1_500)
      t.ok(second?.settled)
    },
  )

  t.test('hold the shares of callers together', async (t) => {
    const it = await replicas(t, redis, 2)
    await it.learn({ limit: 20, remaining: 20, resetIn: 10 })
    const [one, two] = it.all
    one?.ask('other', 'GET /x', 60_000, { caller: 'other' })
    await it.time.settle()
    await askAll(it, 9, { caller: 'small', share: 0.25 })
    t.equal(sum(it.entered()) - 1, 5, 'a quarter of 20')
    for (const caller of ['other', 'third']) two?.ask(caller, 'GET /x', 60_000, { caller })
    await it.time.settle()
    t.equal(sum(it.entered()) - 3, 5, 'it holds up no other caller')
    const [[, window] = []] = Object.entries(JSON.parse(await it.stored()).windows)
    const { others, ...small } = (window as { sent: Record<string, number> }).sent
    t.equal(others, 5, 'callers without a share count together, however many there are')
    t.match(Object.entries(small), [[/^(?!small)[\w-]{16}$/, 5]], 'Redis does not learn their names')
  })

  t.test('count those that wait at another replica as other callers', async (t) => {
    const it = await replicas(t, redis, 2)
    await it.learn({ limit: 24, remaining: 0, resetIn: 5 })
    const [one, two] = it.all
    const small = Array.from({ length: 30 }, () => {
      return one?.ask('small', 'GET /x', 60_000, { caller: 'small', share: 0.25 })
    })
    const other = two?.ask('other', 'GET /x', 60_000, { caller: 'other' })
    await it.time.pass(7_000)
    t.strictSame(it.entered(), [6, 1], 'a quarter of 24')
    // Until now they have waited for a caller that is there no more.
    const again = await replicas(t, redis, 2)
    await again.learn({ limit: 24, remaining: 0, resetIn: 5 })
    const [left, gone] = again.all
    const fate = gone?.ask('other', 'GET /x', 60_000, { caller: 'other' })
    for (let nth = 0; nth < 30; nth++) {
      left?.ask('small', 'GET /x', 60_000, { caller: 'small', share: 0.25 })
    }
    await again.time.settle()
    fate?.abort()
    await again.time.pass(7_000)
    t.strictSame(again.entered(), [24, 0], 'it is lent what no other caller waits for')
    t.ok(other?.settled)
    t.equal(small.filter((each) => each?.settled).length, 6)
  })

  t.test('believe the clock of Redis, not their own', async (t) => {
    const it = await replicas(t, redis, 1)
    await it.learn({ limit: 25, remaining: 24, resetIn: 9 })
    const { now } = Date
    const [one] = it.all
    one?.ask()
    await it.time.settle()
    const head = headOfSaid({ limit: 25, remaining: 3, resetIn: 9, noDate: true })
    Date.now = () => now() + 3_600_000
    t.teardown(() => {
      Date.now = now
    })
    one?.answer({ limit: 25, remaining: 3, reset: String(head['x-rate-limit-reset']), noDate: true })
    Date.now = now
    await it.time.settle()
    t.match(one?.budget.state(), { remaining: 3 })
  })

  t.test('know what others learned when a 429 does not say what is left', async (t) => {
    const it = await replicas(t, redis, 2)
    const [one, two] = it.all
    one?.ask()
    await it.time.settle()
    one?.answer({ limit: 25, remaining: 20, resetIn: 60 })
    two?.ask()
    await it.time.settle()
    two?.answer({ status: 429, retryAfter: '30' })
    await it.time.settle()
    const [held, other] = [two?.ask(), two?.ask('a', 'GET /y')]
    await it.time.settle()
    t.strictSame([held?.settled, other?.settled], [false, true])
  })

  t.test('know that the budget is used up as soon as a response says so, at any replica', async (t) => {
    const it = await replicas(t, redis, 2)
    const [one, two] = it.all
    const exhausted = () => it.all.map(({ budget }) => budget.isExhausted)
    await it.learn({ limit: 25, remaining: 5, resetIn: 30 })
    await askAll(it, 1)
    t.strictSame(exhausted(), [false, false])
    one?.answer({ limit: 25, remaining: 0, resetIn: 30 })
    await it.time.settle()
    t.strictSame(exhausted(), [true, false])
    two?.leave()
    await it.time.settle()
    t.strictSame(exhausted(), [true, true], 'Redis said so, without being asked')
    await it.time.pass(31_500)
    t.strictSame(exhausted(), [false, false])
  })

  t.test('give back what was reserved for a caller that had left', async (t) => {
    const it = await replicas(t, redis, 1)
    await it.learn({ limit: 25, remaining: 1, resetIn: 9 })
    const [one] = it.all
    const fate = one?.ask()
    fate?.abort()
    await it.time.settle()
    t.match(fate?.error, { name: 'AbortError' })
    const next = one?.ask()
    await it.time.settle()
    t.ok(next?.settled && next.error === undefined, 'the only one that was left')
  })

  t.test('go on with their part when Redis goes, and come back to it', async (t) => {
    const it = await replicas(t, redis, 4)
    await it.learn({ limit: 25, remaining: 0, resetIn: 5 })
    await askAll(it, 20)
    it.setUp(false)
    await it.time.pass(6_500)
    t.strictSame(it.entered(), [6, 6, 6, 6])
    t.equal(it.all[0]?.budget.isExhausted, true)
    for (const one of it.all) {
      for (let nth = 0; nth < 6; nth++) one.answer({ limit: 25, remaining: 1, resetIn: 5 })
    }
    it.setUp(true)
    await it.time.pass(1_500)
    t.equal(
      sum(it.all.map(({ budget }) => budget.waiting)),
      80 - 24 - 1,
      'they wait for the next window of all',
    )
    await it.time.pass(6_000)
    t.equal(sum(it.entered()), 24 + 1 + 24, 'what was left, and a window but for the one still in flight')
  })

  t.test('use the whole budget each, or refuse, if told so', async (t) => {
    const local = await replicas(t, redis, 2, 'local')
    await local.learn({ limit: 10, remaining: 0, resetIn: 5 })
    await askAll(local, 9)
    local.setUp(false)
    await local.time.pass(6_500)
    t.strictSame(local.entered(), [9, 9])
    const reject = await replicas(t, redis, 1, 'reject')
    await reject.learn({ limit: 10, remaining: 0, resetIn: 5 })
    const waiting = reject.all[0]?.ask()
    await reject.time.settle()
    reject.setUp(false)
    await reject.time.pass(1_500)
    t.match(waiting?.error, { code: 'overloaded', status: 503, retryAfterSeconds: 1 })
    const late = reject.all[0]?.ask()
    await reject.time.settle()
    t.match(late?.error, { code: 'overloaded' })
    t.equal(reject.all[0]?.burst(1), 0)
  })

  t.test('go at once while Redis is down, and responses count', async (t) => {
    const it = await replicas(t, redis, 1)
    it.setUp(false)
    const [one] = it.all
    t.equal(one?.burst(3), 3)
    one?.answer({ limit: 25, remaining: 20, resetIn: 9 })
    one?.leave()
    t.match(one?.budget.state(), { limit: 25, remaining: 20, inFlight: 1 })
    one?.answer({ limit: 25, remaining: 1, resetIn: 9 })
    t.equal(one?.burst(2), 1)
    const fate = one?.ask()
    one?.leave()
    await it.time.settle()
    t.ok(fate?.settled, 'without a look at whether Redis is back')
    it.setUp(true)
    one?.answer({ limit: 25, remaining: 19, resetIn: 9 })
    await it.time.settle()
    t.match(JSON.parse(await it.stored()), { windows: { 25: { left: 19 } } })
  })

  t.test('do not fail where Redis fails while it is asked', async (t) => {
    const it = await replicas(t, redis, 1)
    await it.learn({ limit: 25, remaining: 20, resetIn: 9 })
    const [one] = it.all
    if (one === undefined) throw new Error('no replica')
    one.link.run = () => {
      one.link.isUp = false
      return Promise.reject(new SharedDownError(undefined))
    }
    const fate = one.ask()
    await it.time.settle()
    t.ok(fate.settled && fate.error === undefined)
    one.link.isUp = true
    one.link.run = () => Promise.reject(new TypeError('a defect'))
    const defect = one.ask('x', 'GET /x', 50)
    await it.time.pass(100)
    t.match(defect.error, { code: 'rate_limited' })
  })

  t.test('with greedy callers use what Procore allows, evenly, and callers see no 429', async (t) => {
    const greedy = { hourly: 1e8, spike: 25, greed: 30, latencyMs: 200, skewMs: 0, proxies: 8 }
    const outcome = await simulate({ ...greedy, seconds: 240, redis: redis.connection })
    t.ok(outcome.sent / outcome.allowed >= 0.95, `${outcome.sent} of ${outcome.allowed}`)
    t.equal(outcome.refused, 0)
    t.equal(outcome.seen, 0)
    const { perProxy } = outcome
    t.ok(Math.max(...perProxy) <= 1.1 * Math.min(...perProxy), String(perProxy))
    const outage = { from: 30, seconds: 60 }
    const away = await simulate({ ...greedy, seconds: 120, redis: redis.connection, outage })
    t.ok(away.sent / away.allowed >= 0.9, `${away.sent} of ${away.allowed}`)
    t.ok(away.refused <= 25, `${away.refused} refused`)
    t.equal(away.seen, 0)
  })
})
