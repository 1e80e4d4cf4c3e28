// Covers src/forward/budget.ts, rate-windows.ts and waiting-line.ts, on a clock of its own. What holds for shared budgets too is
// in fixtures/budget-suite.ts.
import t, { type Test } from 'tap'
import type { RateLimitSettings } from '../../src/config/config.ts'
import { Budget } from '../../src/forward/budget.ts'
import { HeldEndpoints } from '../../src/forward/rate-windows.ts'
import { budgetBench, headOfSaid, refusal, type Said } from '../fixtures/budget-bench.ts'
import { fakeTime } from '../fixtures/clock.ts'

const { parse } = Date
const { random } = Math
const usual: RateLimitSettings = { whenExhausted: 'wait', maxWaitMs: 60_000, maxQueued: 1000 }

/** A budget whose jitter is `jitter` of its most. */
function bench(t: Test, settings: Partial<RateLimitSettings> = {}, jitter = 0) {
  const time = fakeTime(t)
  // The fake clock's Date has no statics of its own.
  Date.parse = parse
  Math.random = () => jitter
  t.teardown(() => {
    Math.random = random
  })
  return { ...budgetBench(new Budget({ ...usual, ...settings })), time }
}

/** A bench that has learned of one window. */
function learned(t: Test, said: Said, settings: Partial<RateLimitSettings> = {}, jitter = 0) {
  const it = bench(t, settings, jitter)
  it.burst(1, said.endpoint)
  it.answer(said)
  return it
}

t.test('An API without rate headers is never held back', async (t) => {
  for (const said of [
    {},
    { limit: 'many', remaining: 3, resetIn: 5 },
    { limit: 25, resetIn: 5 },
    { limit: 0, remaining: 0, resetIn: 5 },
    { limit: 25, remaining: -1, resetIn: 5 },
    { limit: '25, 3600', remaining: '0, 3', resetIn: 5 },
  ]) {
    const it = learned(t, said)
    t.equal(it.burst(500), 500, JSON.stringify(said))
    t.equal(it.budget.state().limit, undefined)
  }
})

t.test('Before any response, what one caller sent holds back no first request of another', async (t) => {
  const it = bench(t)
  t.equal(it.burst(40), 16)
  it.ask('another')
  it.ask('another')
  await it.time.settle()
  t.strictSame(it.entered, ['another'])
})

t.test('At zero requests wait until Reset, first come first served', async (t) => {
  const it = learned(t, { limit: 25, remaining: 0, resetIn: 8 })
  for (const caller of ['1', '2', '3']) it.ask(caller)
  t.same(it.time.timers(), { set: 4, holding: 3 }, 'a deadline each, and the wake, which holds no process')
  await it.time.pass(7_999)
  t.strictSame(it.entered, [])
  t.equal(it.budget.waiting, 3)
  await it.time.pass(1)
  t.strictSame(it.entered, ['1', '2', '3'])
  t.same(it.time.timers(), { set: 0, holding: 0 })
  t.same(it.budget.state(), {
    limit: 25,
    remaining: 25,
    resetInMs: undefined,
    inFlight: 3,
  })
  t.equal(it.burst(100), 22, 'full again')
})

t.test('A window that has ended is shown as full, though no request asks', async (t) => {
  const it = learned(t, { limit: 25, remaining: 3, resetIn: 8 })
  await it.time.pass(8_000)
  t.match(it.budget.state(), { remaining: 25, resetInMs: undefined })
})

t.test('Several proxies of one budget do not start at the same moment', async (t) => {
  const it = learned(t, { limit: 25, remaining: 0, resetIn: 8 }, {}, 0.5)
  const fate = it.ask()
  await it.time.pass(8_124)
  t.notOk(fate.settled)
  await it.time.pass(1)
  t.ok(fate.settled)
})

t.test('A window that is not shown for longer than it lasts is forgotten', async (t) => {
  const it = learned(t, { limit: 50, remaining: 0, resetIn: 60 })
  await it.time.pass(60_000)
  for (let i = 0; i < 60; i++) {
    t.equal(it.burst(1), 1)
    it.answer({ limit: 25, remaining: 20, resetIn: 10 })
    if (i % 5 === 4) await it.time.pass(10_000)
  }
  t.equal(it.burst(100), 25, 'the hour of 50 began anew unseen: it does not hold back for ever')
})

t.test('A limit that was changed takes the place of the old one', async (t) => {
  const it = learned(t, { limit: 600, remaining: 2, resetIn: 1800 })
  it.burst(1)
  it.answer({ limit: 3600, remaining: 3001, resetIn: 1800 })
  t.equal(it.burst(100), 100, 'raised')
  const lowered = learned(t, { limit: 3600, remaining: 3001, resetIn: 1800 })
  lowered.burst(1)
  lowered.answer({ limit: 600, remaining: 2, resetIn: 1800 })
  t.equal(lowered.burst(100), 2)
})

t.test('No more windows are kept than Procore can have', async (t) => {
  const it = learned(t, { limit: 25, remaining: 0, resetIn: 100 })
  for (let limit = 100; limit < 108; limit++) {
    it.budget.learn('GET /x', 200, headOfSaid({ limit, remaining: 50, resetIn: limit * 5 }))
  }
  t.ok(it.burst(1), 'the oldest went')
})

t.test("A clock that disagrees with Procore's: the Date header tells", async (t) => {
  for (const skewMs of [-7_200_000, -30_000, 30_000, 7_200_000]) {
    const it = learned(t, { limit: 25, remaining: 0, resetIn: 8, skewMs })
    t.equal(it.budget.state().resetInMs, 8_000)
    const fate = it.ask()
    await it.time.pass(7_999)
    t.notOk(fate.settled)
    await it.time.pass(1)
    t.ok(fate.settled, String(skewMs))
  }
})

t.test('Without a Date our own clock has to do; what it makes of Reset may be nonsense', async (t) => {
  const agreeing = learned(t, { limit: 25, remaining: 0, resetIn: 8, noDate: true })
  t.equal(agreeing.burst(1), 0)
  t.equal(agreeing.budget.state().resetInMs, 8_000)
  const past = learned(t, { limit: 25, remaining: 0, resetIn: 8, skewMs: -30_000, noDate: true })
  t.equal(past.burst(1), 1, 'a reset in the past')
  past.answer({ limit: 25, remaining: 3, resetIn: 8, skewMs: -30_000, noDate: true })
  t.equal(past.budget.state().remaining, 25, 'tells nothing of the window that runs')
  const future = learned(t, { limit: 25, remaining: 0, resetIn: 8, skewMs: 86_400_000, noDate: true })
  t.equal(future.burst(3), 1, 'a reset in a day: one at a time finds out')
  future.answer({ limit: 25, remaining: 24, resetIn: 8, skewMs: 86_400_000, noDate: true })
  t.equal(future.burst(50), 24)
})

t.test(
  'Garbage as Reset: one request at a time finds out, and no request is shut out for ever',
  async (t) => {
    for (const reset of [undefined, 'soon', '', '1.5e9', '-5', `${Date.now()}`, '99999999999999999999']) {
      const it = learned(t, { limit: 25, remaining: 0, ...(reset !== undefined && { reset }) })
      t.equal(it.burst(5), 1, String(reset))
      const next = it.ask()
      it.answer({ limit: 25, remaining: 0, ...(reset !== undefined && { reset }) })
      await it.time.settle()
      t.ok(next.settled)
      it.answer({ limit: 25, remaining: 9, ...(reset !== undefined && { reset }) })
      t.equal(it.burst(50), 9)
    }
  },
)

t.test('A machine that slept through the reset need not wait for it', async (t) => {
  const it = learned(t, { limit: 3600, remaining: 0, resetIn: 1800 })
  it.time.sleep(1_000_000)
  t.equal(it.budget.state().resetInMs, 800_000)
  t.equal(it.burst(1), 0)
  it.time.sleep(800_000)
  t.equal(it.burst(1), 1)
  it.answer({ limit: 3600, remaining: 0, resetIn: 60 })
  it.time.sleep(-100_000)
  t.equal(it.budget.state().resetInMs, 60_000, 'a clock that is set back changes nothing')
})

t.test('429 of the budget: until Retry-After or Reset, whichever is later', async (t) => {
  const cases: [Said, number][] = [
    [{ limit: 25, remaining: 0, resetIn: 5 }, 5_000],
    [{ limit: 25, remaining: 0, resetIn: 5, retryAfter: '9' }, 9_000],
    [{ limit: 25, remaining: 0, resetIn: 9, retryAfter: '5' }, 9_000],
    [{ limit: 25, resetIn: 5 }, 5_000],
    [{ retryAfter: '7' }, 7_000],
    [{ resetIn: 4 }, 4_000],
    [{ retryAfter: new Date(1_767_226_600_000 + 20_000).toUTCString() }, 20_000],
  ]
  for (const [said, waitMs] of cases) {
    const it = bench(t)
    it.burst(1)
    // The date above is of the fake clock's beginning.
    if (said.retryAfter?.includes('GMT')) t.equal(Date.now(), 1_767_226_600_000)
    it.answer({ status: 429, ...said })
    const fate = it.ask('a', 'GET /another')
    await it.time.pass(waitMs - 1)
    t.notOk(fate.settled, JSON.stringify(said))
    await it.time.pass(1)
    t.ok(fate.settled, JSON.stringify(said))
  }
  const known = learned(t, { limit: 25, remaining: 20 })
  known.burst(1)
  known.answer({ status: 429, limit: 25, remaining: 0, resetIn: 0, retryAfter: '9' })
  t.equal(known.burst(1), 0, 'though Reset is past')
  await known.time.pass(9_000)
  t.equal(known.burst(1), 1)
})

t.test('After a 429 without X-Rate-Limit-* nothing is known but its end', async (t) => {
  const it = learned(t, { status: 429, retryAfter: '7' })
  t.equal(it.burst(1), 0)
  await it.time.pass(7_000)
  t.equal(it.burst(300), 300)
  t.equal(it.budget.state().limit, undefined)
})

t.test('A 429 without X-Rate-Limit-* whose wait is over is nothing known', async (t) => {
  const it = bench(t)
  it.burst(2)
  it.answer({ status: 429, retryAfter: '1' })
  await it.time.pass(2_000)
  it.answer({ status: 429, retryAfter: '7' })
  t.equal(it.burst(1, 'GET /y'), 0)
})

t.test('A 429 that does not say how long holds no request back', async (t) => {
  const it = learned(t, { status: 429 })
  t.equal(it.burst(50), 50)
  const zero = learned(t, { status: 429, limit: 25, remaining: 0 })
  t.equal(zero.burst(50), 1, 'but zero left is zero left')
})

t.test('429 that asks for longer than any window is tried again after an hour', async (t) => {
  const it = learned(t, { status: 429, retryAfter: '99999999' })
  await it.time.pass(3_599_999)
  t.equal(it.burst(1), 0)
  await it.time.pass(1)
  t.equal(it.burst(1), 1)
})

t.test('Those that wait for their endpoint take no place from others', async (t) => {
  const it = learned(
    t,
    { status: 429, endpoint: 'POST /s', limit: 25, remaining: 9, resetIn: 10, retryAfter: '30' },
    { maxQueued: 2 },
  )
  for (let i = 0; i < 2; i++) it.ask('a', 'POST /s')
  const other = it.ask('a', 'GET /x')
  await it.time.settle()
  t.ok(other.settled && other.error === undefined)
  const both = learned(t, {
    status: 429,
    endpoint: 'POST /s',
    limit: 25,
    remaining: 1,
    resetIn: 9,
    retryAfter: '5',
  })
  both.ask('held', 'POST /s')
  both.burst(1)
  both.answer({ limit: 25, remaining: 0, resetIn: 9 })
  both.ask('free')
  await both.time.pass(8_999)
  t.strictSame(both.entered, [])
  await both.time.pass(1)
  t.strictSame(both.entered, ['held', 'free'], 'the first one goes first, once both may')
})

t.test('No request overtakes one that waits', async (t) => {
  const it = learned(t, { limit: 25, remaining: 1, resetIn: 9 })
  it.burst(1)
  it.ask('first')
  it.leave()
  it.ask('second')
  await it.time.settle()
  t.strictSame(it.entered, ['first'])
  t.equal(it.burst(1), 0)
})

t.test('Waits are bounded by each request’s deadline', async (t) => {
  const it = bench(t)
  it.burst(2)
  it.answer({ limit: 25, remaining: 0, resetIn: 30 })
  const unlucky = it.ask('a', 'GET /x', 31_000)
  await it.time.pass(20_000)
  t.equal(it.budget.waiting, 1)
  // The window turns out to end later: another proxy uses it too.
  it.answer({ status: 429, limit: 25, remaining: 0, retryAfter: '50' })
  await it.time.pass(10_999)
  t.notOk(unlucky.settled)
  await it.time.pass(1)
  t.strictSame(refusal(unlucky), [
    'rate_limited',
    'The rate budget did not recover within rateLimit.maxWait.',
    39,
  ])
  t.equal(it.budget.waiting, 0)
  t.same(it.time.timers(), { set: 0, holding: 0 })
})

t.test('Answers that do not come end no wait early, but bound it', async (t) => {
  const it = learned(t, { limit: 25, remaining: 5, resetIn: 60 })
  it.burst(5)
  const fate = it.ask('a', 'GET /x', 5_000)
  await it.time.pass(4_999)
  t.notOk(fate.settled)
  await it.time.pass(1)
  t.strictSame(refusal(fate)?.[2], 1)
})

t.test('Many requests that wait for their endpoint slow down no others', async (t) => {
  const it = budgetBench(new Budget(usual))
  const answered = { limit: 3600, remaining: 3000, resetIn: 3000 }
  it.burst(1, 'GET /held')
  it.answer({ ...answered, status: 429, retryAfter: '30' })
  const waiting = Array.from({ length: 1000 }, (_, nth) => it.ask(`${nth % 3}`, 'GET /held'))
  t.equal(it.budget.waiting, 1000)
  const rounds = Array.from({ length: 5 }, () => {
    const since = performance.now()
    for (let nth = 0; nth < 50; nth++) {
      it.burst(1, 'GET /other')
      it.answer(answered)
    }
    return performance.now() - since
  })
  // It is 30 ms. It was 290 ms while the endpoint of each waiting request was hashed for each of the others.
  t.ok(Math.min(...rounds) < 120, `${Math.min(...rounds)} ms`)
  for (const each of waiting) each.abort()
})

t.test('Who waits only because others wait goes on once these have left', async (t) => {
  const held = {
    status: 429,
    endpoint: 'GET /held',
    limit: 100,
    remaining: 90,
    resetIn: 40,
    retryAfter: '50',
  }
  const it = bench(t)
  const greedy = { caller: 'greedy', share: 0.25 }
  it.burst(1, 'GET /held', greedy)
  it.answer(held)
  it.burst(30, 'GET /x', greedy)
  const other = it.ask('other', 'GET /held', 60_000, { caller: 'other' })
  const another = it.ask('another', 'GET /held', 60_000, { caller: 'another' })
  const fate = it.ask('greedy', 'GET /x', 60_000, greedy)
  other.abort()
  await it.time.pass(100)
  t.notOk(fate.settled)
  another.abort()
  await it.time.pass(100)
  t.ok(fate.value)
})

t.test('A thousand endpoints are held; one that is held again takes no place of another', async (t) => {
  const held = new HeldEndpoints()
  const waits = (nth: number) => held.waitFor(`GET /${nth}`, 0) > 0
  for (let nth = 0; nth < 1000; nth++) held.hold(`GET /${nth}`, 10)
  for (let times = 0; times < 3; times++) held.hold('GET /5', 10)
  t.ok(waits(0))
  held.hold('GET /1000', 10)
  t.strictSame([0, 1, 5, 1000].map(waits), [false, true, true, true], 'the oldest is forgotten')
})

t.test('An endpoint may be long', async (t) => {
  const long = `GET /${'x'.repeat(1000)}`
  const it = learned(t, {
    status: 429,
    endpoint: long,
    limit: 25,
    remaining: 20,
    resetIn: 30,
    retryAfter: '5',
  })
  const fate = it.ask('a', long)
  t.equal(it.burst(1, `${long}x`), 1)
  await it.time.pass(4_999)
  t.notOk(fate.settled)
  await it.time.pass(1)
  t.ok(fate.value)
})

t.test('when exhausted, reject: at once, with the time to come back', async (t) => {
  const it = learned(t, { limit: 25, remaining: 2, resetIn: 8 }, { whenExhausted: 'reject' })
  it.burst(2)
  const unknown = it.ask()
  await it.time.settle()
  t.notOk(unknown.settled, 'while a response is on its way it is not known')
  it.answer({ limit: 25, remaining: 0, resetIn: 8 })
  const fate = it.ask()
  await it.time.settle()
  t.strictSame(refusal(fate), ['rate_limited', 'The rate budget is used up.', 8])
  await it.time.pass(8_000)
  it.burst(1, 'POST /s')
  it.answer({ status: 429, endpoint: 'POST /s', limit: 25, remaining: 5, resetIn: 8, retryAfter: '12' })
  const endpoint = it.ask('a', 'POST /s')
  await it.time.settle()
  t.strictSame(refusal(endpoint)?.[2], 12)
})

t.test('A caller that waits counts as another one; a share is never less than one request', async (t) => {
  const it = learned(t, { limit: 3, remaining: 0, resetIn: 10 })
  it.ask('small', 'GET /x', 60_000, { caller: 'small', share: 0.1 })
  it.ask('small', 'GET /x', 60_000, { caller: 'small', share: 0.1 })
  it.ask('other', 'GET /x', 60_000, { caller: 'other' })
  it.ask('other', 'GET /x', 60_000, { caller: 'other' })
  await it.time.pass(10_000)
  t.strictSame(it.entered, ['small', 'other', 'other'])
  for (const remaining of [2, 1, 0]) it.answer({ limit: 3, remaining, resetIn: 10 })
  it.ask('small', 'GET /x', 60_000, { caller: 'small', share: 0.1 })
  it.ask('small', 'GET /x', 60_000, { caller: 'small', share: 0.1 })
  await it.time.pass(10_000)
  t.strictSame(
    it.entered.slice(3),
    ['small', 'small', 'small'],
    'it waits alone, and may use the whole window',
  )
})

t.test('Where no response says when a window ends, its length is estimated for the shares', async (t) => {
  const it = learned(t, { limit: 20, remaining: 10, resetIn: 10 })
  await it.time.pass(10_000)
  const small = { caller: 'small', share: 0.25 }
  it.burst(1, 'GET /x', { caller: 'other' })
  t.equal(it.burst(9, 'GET /x', small), 5)
  for (let i = 0; i < 6; i++) it.answer()
  await it.time.pass(9_999)
  t.equal(it.burst(1, 'GET /x', small), 0)
  await it.time.pass(1)
  t.equal(it.burst(9, 'GET /x', small), 9, 'and no other caller was seen since')
})

t.test('A budget that is split leaves the other parts alone, in each window anew', async (t) => {
  const it = learned(t, { limit: 25, remaining: 16, resetIn: 10 })
  it.budget.split(8, undefined)
  t.equal(it.burst(9), 2)
  t.equal(it.budget.isExhausted, true)
  for (const remaining of [15, 14]) it.answer({ limit: 25, remaining, resetIn: 10 })
  await it.time.pass(10_000)
  t.equal(it.burst(9), 3)
  it.budget.split(1, undefined)
  t.equal(it.burst(100), 22)
  const many = learned(t, { limit: 25, remaining: 20, resetIn: 10 })
  many.budget.split(1_000, { limit: 25, remaining: 20, resetInMs: 10_000 })
  t.equal(many.burst(9), 1)
  many.answer({ limit: 3600, remaining: 3000, resetIn: 1000 })
  t.strictSame(
    many.budget.readings().map(({ limit, remaining }) => [limit, remaining]),
    [
      [25, 19],
      [3600, 3000],
    ],
  )
})
