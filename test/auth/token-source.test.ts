// Covers src/auth/token-source.ts, on a fake clock.
import { getEventListeners } from 'node:events'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { type IssuedToken, TokenFailure } from '../../src/auth/request-token.ts'
import { refusalMemoryMs, type TokenEvent, Tokens, tokenRetryDelayMs } from '../../src/auth/token-source.ts'
import type { ServiceAccount } from '../../src/config/config.ts'
import { ProxyError } from '../../src/errors.ts'
import { OutboundProxyError } from '../../src/network/connection-error.ts'
import { fakeTime, watch } from '../fixtures/clock.ts'
import { testAccount } from '../fixtures/config.ts'
import { collectGarbage } from '../fixtures/memory.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

interface Call {
  readonly account: ServiceAccount
  readonly signal: AbortSignal
  readonly refused: string | undefined
  readonly at: number
}
type Answer = IssuedToken | Error | Promise<IssuedToken | Error>

const issued = (value: string, seconds = 5400): IssuedToken => ({ value, lifetimeMs: seconds * SECOND })
const failing = (retryAfterMs?: number) =>
  new TokenFailure('bad_status', 'the login server answered HTTP 500', { retryAfterMs })
const refusing = () => new TokenFailure('rejected', 'the login server refused the credentials (HTTP 401)')
const never = () => new Promise<never>(() => {})
const later = (ms: number, answer: IssuedToken | Error) =>
  new Promise<IssuedToken | Error>((resolve) => void setTimeout(() => resolve(answer), ms))

/** A login server in memory: `answer` says what the n-th request (from 1) gets; by default tokens `t1`, `t2`, … */
function start(t: Test, answer: (n: number) => Answer = (n) => issued(`t${n}`)) {
  const time = fakeTime(t)
  const calls: Call[] = []
  const events: TokenEvent[] = []
  const login = { answer }
  const tokens = new Tokens(
    async ({ account, signal, refused }) => {
      calls.push({ account, signal, refused, at: performance.now() })
      const result = await login.answer(calls.length)
      if (result instanceof Error) throw result
      return result
    },
    (event) => events.push(event),
  )
  const source = tokens.source(testAccount())
  return { time, calls, events, login, tokens, source }
}

/** Jitter without chance: 0 is the shortest wait, just below 1 the longest. */
function jitter(t: Test, value: number): void {
  t.intercept(Math, 'random', { value: () => value })
}

t.test('200 callers at once share one request', async (t) => {
  const { time, calls, source } = start(t, (n) => later(2 * SECOND, issued(`t${n}`)))
  t.equal(source.state().tried, false)
  const callers = Array.from({ length: 200 }, () => source.get())
  await time.pass(2 * SECOND)
  const values = new Set((await Promise.all(callers)).map(({ value }) => value))
  t.strictSame([...values], ['t1'])
  t.equal(calls.length, 1)
  t.equal((await source.get()).value, 't1')
  t.equal(calls.length, 1)
  t.equal(source.state().tried, true)
  t.strictSame(time.timers(), { set: 1, holding: 0 }, 'only the renewal is left, and it holds nothing up')
})

t.test('renewed in the background at 3/4 of its life; callers get the old token meanwhile', async (t) => {
  const { time, calls, events, source } = start(t, (n) => later(3 * SECOND, issued(`t${n}`)))
  const first = watch(source.get())
  await time.pass(3 * SECOND)
  t.equal(first.value?.value, 't1')
  // Counted from when the request left: 3 s are gone.
  await time.pass(4050 * SECOND - 3 * SECOND - 1)
  t.equal(calls.length, 1)
  await time.pass(1)
  t.equal(calls.length, 2)
  const meanwhile = Array.from({ length: 100 }, () => source.current()?.value)
  t.strictSame([...new Set(meanwhile)], ['t1'])
  t.equal((await source.get()).value, 't1')
  await time.pass(3 * SECOND)
  t.equal(source.current()?.value, 't2')
  t.equal(calls.length, 2)
  t.strictSame(
    events.map(({ type }) => type),
    ['issued', 'issued'],
  )
})

t.test('a token is never sent after its end, 2 % or 5 s early', async (t) => {
  for (const [seconds, usable] of [
    [7200, 7195],
    [5400, 5395],
    [900, 895],
    [100, 98],
    [10, 9.8],
  ] as const) {
    await t.test(`of ${seconds} s it is used for ${usable} s`, async (t) => {
      const { time, source } = start(t, (n) => (n === 1 ? issued('t1', seconds) : never()))
      const token = await source.get()
      const { value } = token
      await time.pass(usable * SECOND - 1)
      t.equal(source.current()?.value, value)
      t.equal(source.state().token?.value, value)
      t.ok(source.lives(token))
      await time.pass(1)
      t.notOk(source.lives(token))
      t.equal(source.current(), undefined)
      t.equal(source.state().token, undefined)
      const late = watch(source.get())
      await time.settle()
      t.notOk(late.settled)
    })
  }
})

t.test('a token that ended on its way is not sent either', async (t) => {
  jitter(t, 0)
  const { time, calls, events, source, login } = start(t, () => later(8 * SECOND, issued('late', 5)))
  const caller = watch(source.get())
  await time.pass(8 * SECOND)
  t.notOk(caller.settled)
  t.equal(source.current(), undefined)
  t.match(events, [{ type: 'failed', failure: { reason: 'bad_body' } }])
  login.answer = () => issued('good')
  await time.pass(249)
  t.equal(calls.length, 1, 'nor is the login server asked again at once')
  await time.pass(1)
  t.equal(caller.value?.value, 'good')
})

t.test('nor one that ended on its way by one clock alone', async (t) => {
  for (const [passes, sleeps] of [
    [8 * SECOND, -HOUR],
    [0, 8 * SECOND],
  ] as const) {
    jitter(t, 0)
    const { promise, resolve } = Promise.withResolvers<IssuedToken>()
    const { time, source } = start(t, (n) => (n === 1 ? promise : issued('good', 5)))
    const caller = watch(source.get())
    await time.pass(passes)
    time.sleep(sleeps)
    resolve(issued('late', 5))
    await time.pass(250)
    t.equal(caller.value?.value, 'good')
    t.equal(source.current()?.value, 'good')
  }
})

t.test('the shortest lifetimes do not hammer the login server', async (t) => {
  const { time, calls, source } = start(t, (n) => issued(`t${n}`, 1))
  for (let i = 0; i < 1000; i++) {
    source.get().catch(() => {})
    await time.pass(10)
  }
  t.ok(calls.length <= 14, `${calls.length} requests in 10 s`)
})

t.test(
  'the end holds by the wall clock too: the monotonic one stands still while a laptop sleeps',
  async (t) => {
    const { time, calls, source } = start(t)
    await source.get()
    time.sleep(5395 * SECOND - 1)
    t.equal(source.current()?.value, 't1')
    time.sleep(1)
    t.equal(source.current(), undefined)
    t.equal((await source.get()).value, 't2')
    t.equal(calls.length, 2)
    t.equal(source.current()?.value, 't2')
  },
)

t.test('so does the renewal ahead, with the next use', async (t) => {
  const { time, calls, source } = start(t)
  await source.get()
  time.sleep(4050 * SECOND - 1)
  source.current()
  t.equal(calls.length, 1)
  time.sleep(1)
  t.equal(source.current()?.value, 't1')
  t.equal(calls.length, 2)
  await time.settle()
  t.equal(source.current()?.value, 't2')
})

t.test('a wall clock that is set back changes nothing', async (t) => {
  const { time, source } = start(t, (n) => (n === 1 ? issued('t1') : never()))
  await source.get()
  time.sleep(-10 * DAY)
  await time.pass(5395 * SECOND - 1)
  t.equal(source.current()?.value, 't1')
  await time.pass(1)
  t.equal(source.current(), undefined)
})

t.test('where the renewal fails, the old token is used until its end; then callers wait', async (t) => {
  jitter(t, 0)
  const { time, calls, events, source, login } = start(t, (n) => (n === 1 ? issued('t1') : failing()))
  await source.get()
  await time.pass(4050 * SECOND)
  t.equal(calls.length, 2)
  const used = new Set<string | undefined>()
  for (let second = 4050; second < 5395; second++) {
    used.add(source.current()?.value)
    await time.pass(SECOND)
  }
  t.strictSame([...used], ['t1'])
  const seen = calls.length
  t.ok(seen > 30 && seen < 60, `${seen} requests`)
  t.equal(source.current(), undefined)
  t.match(events.at(-1), { type: 'failed', failure: { reason: 'bad_status' }, retryInMs: 30 * SECOND })
  t.match(source.state(), {
    token: undefined,
    lastFailure: { failure: { reason: 'bad_status' } },
    tried: true,
  })

  // Far from the next attempt: no use in waiting.
  const due = () => 30 * SECOND - (performance.now() - calls.at(-1)!.at)
  while (due() <= 15 * SECOND) await time.pass(SECOND)
  const inVain = watch(source.get())
  await time.settle()
  t.match(inVain.error, {
    code: 'token_unavailable',
    status: 503,
    retryAfterSeconds: Math.ceil(due() / SECOND),
    cause: { reason: 'bad_status' },
  })
  // Near it: the caller waits, and has its token once the login server is back.
  while (due() > 15 * SECOND) await time.pass(SECOND)
  const patient = watch(source.get())
  login.answer = () => issued('back')
  const before = calls.length
  await time.pass(15 * SECOND)
  t.equal(patient.value?.value, 'back')
  t.equal(calls.length, before + 1)
  t.equal(source.state().lastFailure, undefined)
})

t.test('the backoff grows, with jitter over its upper half', (t) => {
  const failure = failing()
  const ceilings = [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
  for (const [index, ceiling] of ceilings.entries()) {
    t.equal(tokenRetryDelayMs(index + 1, failure, 0), ceiling / 2)
    t.equal(tokenRetryDelayMs(index + 1, failure, 0.5), ceiling * 0.75)
    const most = tokenRetryDelayMs(index + 1, failure, 1 - 2 ** -53)
    t.ok(most > ceiling * 0.99 && most <= ceiling)
  }
  t.equal(tokenRetryDelayMs(1e6, failure, 0), 30_000, 'however many failures there were')
  t.equal(tokenRetryDelayMs(1, failing(7000), 0), 7000)
  t.equal(tokenRetryDelayMs(9, failing(100), 0), 30_000, 'Retry-After never shortens it')
  t.equal(tokenRetryDelayMs(1, failing(1e12), 0), HOUR, 'nor stops it for ever')
  const memory = [1, 2, 3, 4, 5, 6, 7, 1e6].map((refusals) => refusalMemoryMs(refusals) / SECOND)
  t.strictSame(memory, [30, 60, 120, 240, 480, 600, 600, 600])
  t.end()
})

t.test('attempts follow the backoff, without any caller', async (t) => {
  for (const [random, delays] of [
    [0, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]],
    [1 - 2 ** -53, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]],
  ] as const) {
    await t.test(`jitter ${random}`, async (t) => {
      jitter(t, random)
      const { time, calls, source } = start(t, () => failing())
      source.prefetch()
      await time.pass(10 * MINUTE)
      const gaps = calls.slice(1).map(({ at }, index) => Math.round(at - calls[index]!.at))
      t.strictSame(gaps.slice(0, delays.length), delays)
    })
  }
})

t.test('Retry-After is honoured, and named to the callers', async (t) => {
  jitter(t, 0)
  const { time, calls, source, login } = start(t, () => failing(10 * SECOND))
  const caller = watch(source.get())
  await time.settle()
  t.notOk(caller.settled, '10 s can be waited')
  login.answer = () => failing(40.5 * SECOND)
  await time.pass(10 * SECOND - 1)
  t.equal(calls.length, 1)
  await time.pass(1)
  t.equal(calls.length, 2)
  t.match(caller.error, { code: 'token_unavailable', retryAfterSeconds: 41 })
  await time.pass(30 * SECOND)
  const another = watch(source.get())
  await time.pass(10_499)
  t.notOk(another.settled)
  t.equal(calls.length, 2)
  await time.pass(1)
  t.equal(calls.length, 3)
})

t.test('a first token is waited for at most 15 s', async (t) => {
  jitter(t, 0)
  const timeout = () => new TokenFailure('timeout', 'the login server did not answer in time')
  const { time, calls, source } = start(t, () => later(10 * SECOND, timeout()))
  const caller = watch(source.get())
  await time.pass(5 * SECOND)
  const second = watch(source.get())
  await time.pass(10 * SECOND - 1)
  t.notOk(caller.settled)
  t.equal(calls.length, 2)
  await time.pass(1)
  t.match(caller.error, {
    code: 'token_unavailable',
    status: 503,
    retryAfterSeconds: 1,
    message: 'Service account app (lab): the login server did not answer in time.',
  })
  t.notOk(second.settled)
  await time.pass(5 * SECOND)
  t.match(second.error, { code: 'token_unavailable' })
})

t.test('callers fail at once where the next attempt is further away than they would wait', async (t) => {
  jitter(t, 0)
  const { time, calls, source } = start(t, () => failing())
  const caller = watch(source.get())
  await time.pass(7750)
  t.equal(calls.length, 6)
  // The next one would be at 15.75 s.
  t.match(caller.error, { code: 'token_unavailable', retryAfterSeconds: 8 })
  const another = watch(source.get())
  await time.pass(8 * SECOND)
  t.match(another.error, { code: 'token_unavailable', retryAfterSeconds: 16 })
  const third = watch(source.get())
  await time.settle()
  t.match(third.error, { code: 'token_unavailable', retryAfterSeconds: 16 })
  t.equal(calls.length, 7)
})

t.test('a refusal is final: remembered for 30 s, doubling to 10 min', async (t) => {
  const { time, calls, events, source } = start(t, refusing)
  let expected = 0
  for (const seconds of [30, 60, 120, 240, 480, 600, 600]) {
    const callers = Array.from({ length: 50 }, () => watch(source.get()))
    expected += 1
    await time.settle()
    const codes = callers.map(({ error }) => error instanceof ProxyError && error.code)
    t.strictSame([...new Set(codes)], ['credentials_rejected'])
    t.match(callers[0]?.error, { status: 502, cause: { reason: 'rejected' } })
    t.equal(calls.length, expected)
    t.match(events.at(-1), { type: 'failed', retryInMs: undefined }, 'no retry is scheduled')
    await time.pass(seconds * SECOND - 1)
    source.prefetch()
    t.equal(source.current(), undefined)
    await t.rejects(source.get(), { code: 'credentials_rejected' })
    t.equal(calls.length, expected)
    await time.pass(1)
    t.equal(calls.length, expected, 'and only a caller asks')
  }
  await time.pass(10 * DAY)
  t.equal(calls.length, expected)
  t.strictSame(time.timers(), { set: 0, holding: 0 })
})

t.test('forgetFailures: the next use asks again, and the doubling starts anew', async (t) => {
  const { time, calls, events, source, login } = start(t, refusing)
  await t.rejects(source.get(), { code: 'credentials_rejected' })
  await time.pass(30 * SECOND)
  await t.rejects(source.get(), { code: 'credentials_rejected' })
  source.forgetFailures()
  await t.rejects(source.get(), { code: 'credentials_rejected' })
  t.equal(calls.length, 3)
  await time.pass(30 * SECOND)
  await t.rejects(source.get(), { code: 'credentials_rejected' })
  t.equal(calls.length, 4)
  t.match(events.at(-1), { retryInMs: undefined })
  source.forgetFailures()
  login.answer = () => issued('good')
  source.prefetch()
  await time.settle()
  t.equal(source.current()?.value, 'good')
  t.equal(calls.length, 5)
})

t.test('a refusal while a token lives: the token is used to its end', async (t) => {
  const { time, calls, events, source, login } = start(t, (n) => (n === 1 ? issued('t1') : refusing()))
  await source.get()
  await time.pass(5395 * SECOND - 1)
  t.equal(source.current()?.value, 't1')
  const begin = calls[0]!.at
  t.strictSame(
    calls.map(({ at }) => (at - begin) / SECOND),
    [0, 4050, 4080, 4140, 4260, 4500, 4980],
  )
  t.match(events[1], { type: 'failed', retryInMs: 30 * SECOND }, 'retries are scheduled')
  await time.pass(1)
  await t.rejects(source.get(), { code: 'credentials_rejected' })
  login.answer = () => issued('fixed')
  await time.pass(10 * MINUTE)
  t.equal((await source.get()).value, 'fixed')
})

t.test('a refusal that turns into an outage is retried again, and the other way round not', async (t) => {
  jitter(t, 0)
  const { time, calls, source, login } = start(t, refusing)
  await t.rejects(source.get(), { code: 'credentials_rejected' })
  login.answer = () => failing()
  await time.pass(30 * SECOND)
  const caller = watch(source.get())
  await time.pass(250)
  t.notOk(caller.settled)
  t.equal(calls.length, 3)
  login.answer = refusing
  await time.pass(500)
  t.match(caller.error, { code: 'credentials_rejected' })
  await time.pass(DAY)
  t.equal(calls.length, 4)
})

t.test('an idle account is renewed for two lifetimes', async (t) => {
  const { time, calls, source } = start(t, (n) => issued(`t${n}`, 1000))
  await source.get()
  await time.pass(1499 * SECOND)
  t.equal(source.state().token?.value, 't2', 'showing the token on the status page does not count as use')
  await time.pass(10_000 * SECOND)
  t.equal(calls.length, 3, 'at 0, 750, 1500 s, but not at 2250 s')
  t.equal(time.timers().set, 0)
  t.equal((await source.get()).value, 't4')
  await time.pass(750 * SECOND)
  t.equal(calls.length, 5, 'and so on')
})

t.test('an idle account that is used before its token ended gets it renewed at once', async (t) => {
  const { time, calls, source } = start(t, (n) => issued(`t${n}`, 1000))
  await source.get()
  await time.pass(2300 * SECOND)
  t.equal(calls.length, 3)
  t.equal(source.current()?.value, 't3')
  t.equal(calls.length, 4)
  await time.settle()
  t.equal(source.current()?.value, 't4')
})

t.test('lifetimes longer than any timer', async (t) => {
  const warnings: unknown[] = []
  const warned = (warning: unknown) => warnings.push(warning)
  process.on('warning', warned)
  t.teardown(() => process.off('warning', warned))
  const { time, calls, source } = start(t, (n) => issued(`t${n}`, (100 * DAY) / SECOND))
  await source.get()
  await time.pass(75 * DAY - 1)
  t.equal(calls.length, 1)
  await time.pass(1)
  t.equal(calls.length, 2)
  await time.settle()
  t.equal(source.current()?.value, 't2')
  t.strictSame(warnings, [])
})

t.test('after a 401: one renewal, however many callers saw it', async (t) => {
  const { time, calls, source } = start(t, (n) => later(SECOND, issued(`t${n}`)))
  const first = watch(source.get())
  await time.pass(SECOND)
  const refused = first.value!
  const waiting = Array.from({ length: 50 }, () => source.replacement(refused))
  t.notOk(waiting.includes(undefined))
  t.equal(source.current(), undefined, 'the refused token is never sent again')
  await time.pass(SECOND)
  const values = (await Promise.all(waiting)).map((token) => token?.value)
  t.strictSame([...new Set(values)], ['t2'])
  t.strictSame(
    calls.map(({ refused }) => refused),
    [undefined, 't1'],
    'the request names the refused one',
  )
  t.equal((await source.replacement(refused))?.value, 't2', 'a late one gets the new token at once')
  t.equal(calls.length, 2)
})

t.test('a token that another replica obtained is renewed and ended by its age', async (t) => {
  const { time, calls, source } = start(t, (n) => (n === 1 ? { ...issued('old'), ageMs: HOUR } : never()))
  const token = await source.get()
  t.equal(token.obtainedAt, Date.now() - HOUR)
  await time.pass(4050 * SECOND - HOUR - 1)
  t.equal(calls.length, 1)
  await time.pass(1)
  t.equal(calls.length, 2)
  await time.pass(5395 * SECOND - 4050 * SECOND - 1)
  t.equal(source.current()?.value, 'old')
  await time.pass(1)
  t.equal(source.current(), undefined)
})

t.test('after a 401: at most one renewal a minute', async (t) => {
  const { time, calls, source } = start(t)
  t.equal((await source.replacement(await source.get()))?.value, 't2')
  const second = await source.get()
  await time.pass(MINUTE - 1)
  t.equal(source.replacement(second), undefined)
  t.equal(source.current()?.value, 't2', 'and the token stays')
  t.equal(calls.length, 2)
  await time.pass(1)
  t.equal((await source.replacement(second))?.value, 't3')
  t.equal(calls.length, 3)
})

t.test('after a 401: the same token issued again ends in that 401', async (t) => {
  const { time, calls, source } = start(t, () => issued('same'))
  const refused = await source.get()
  const again = await source.replacement(refused)
  t.equal(again?.value, 'same')
  t.not(again, refused)
  t.equal(source.replacement(again!), undefined)
  t.equal(source.replacement(refused), undefined, 'no use in sending what was just refused')
  t.equal(source.current()?.value, 'same', 'requests are still sent: it is all there is')
  t.equal(calls.length, 2)
  await time.pass(MINUTE)
  t.equal((await source.replacement(again!))?.value, 'same')
  t.equal(calls.length, 3)
})

t.test('after a 401 during a renewal in the background: that one serves', async (t) => {
  const { time, calls, source } = start(t, (n) => (n === 1 ? issued('t1') : later(SECOND, issued(`t${n}`))))
  const refused = await source.get()
  await time.pass(4050 * SECOND)
  t.equal(calls.length, 2)
  const replacement = watch(source.replacement(refused)!)
  await time.pass(SECOND)
  t.equal(replacement.value?.value, 't2')
  t.equal(calls.length, 2)
})

t.test('after a 401: a renewal that fails for now is tried again', async (t) => {
  jitter(t, 0)
  const { time, calls, source, login } = start(t)
  const refused = await source.get()
  login.answer = () => failing()
  const replacement = watch(source.replacement(refused)!)
  await time.settle()
  t.notOk(replacement.settled)
  t.equal(source.replacement(refused), undefined, 'none may be fetched right now')
  login.answer = (n) => issued(`t${n}`)
  const caller = watch(source.get())
  await time.pass(250)
  t.equal(replacement.value?.value, 't3')
  t.equal(caller.value?.value, 't3')
  t.equal(calls.length, 3)
})

t.test('after a 401: a renewal that is refused ends the wait', async (t) => {
  const { time, calls, source, login } = start(t)
  const refused = await source.get()
  login.answer = refusing
  const replacement = watch(source.replacement(refused)!)
  await time.settle()
  t.match(replacement.error, { code: 'credentials_rejected' })
  t.equal(source.replacement(refused), undefined, 'no replacement while the credentials are refused')
  await t.rejects(source.get(), { code: 'credentials_rejected' })
  t.equal(calls.length, 2)
})

t.test('a 401 while no token may be asked for: the live token stays', async (t) => {
  const { time, calls, source, login } = start(t, (n) => (n === 1 ? issued('t1') : refusing()))
  const live = await source.get()
  await time.pass(4050 * SECOND)
  t.equal(calls.length, 2)
  t.equal(source.replacement(live), undefined)
  t.equal(source.current()?.value, 't1', 'one path may answer 401 for reasons of its own')
  login.answer = (n) => issued(`t${n}`)
  source.forgetFailures()
  t.equal((await source.replacement(live))?.value, 't3', 'nor does it use up the one renewal a minute')
})

t.test('after a 401: the request that saw it need not wait for the replacement', async (t) => {
  const { time, source, login } = start(t)
  const refused = await source.get()
  login.answer = refusing
  source.replacement(refused)
  // An unhandled rejection would fail this test.
  await time.settle()
  await time.settle()
  t.equal(source.state().lastFailure?.failure.final, true)
})

t.test('a caller that goes away no longer waits; the others do', async (t) => {
  const { time, calls, source } = start(t, (n) => later(5 * SECOND, issued(`t${n}`)))
  const leaver = new AbortController()
  const gone = watch(source.get(leaver.signal))
  const patient = new AbortController()
  const stays = watch(source.get(patient.signal))
  const before = time.timers().set
  await time.pass(SECOND)
  leaver.abort()
  await time.settle()
  t.match(gone.error, { name: 'AbortError' })
  t.equal(time.timers().set, before - 1)
  t.notOk(stays.settled)
  await time.pass(4 * SECOND)
  t.equal(stays.value?.value, 't1')
  t.strictSame(
    [leaver.signal, patient.signal].flatMap((signal) => getEventListeners(signal, 'abort')),
    [],
  )
  t.equal(calls.length, 1)
  t.equal(calls[0]?.signal.aborted, false, 'the request goes on: others will need its token')
})

t.test('a caller that is gone already never waits', async (t) => {
  const { time, calls, source } = start(t, never)
  const gone = watch(source.get(AbortSignal.abort()))
  await time.settle()
  t.match(gone.error, { name: 'AbortError' })
  t.equal(calls.length, 0)
  t.equal(time.timers().set, 0)
})

t.test('close ends waiters, request and timers', async (t) => {
  const { time, calls, events, tokens, source, login } = start(t, never)
  const caller = watch(source.get())
  await time.settle()
  tokens.close()
  await time.settle()
  t.match(caller.error, { code: 'token_unavailable' })
  t.equal(calls[0]?.signal.aborted, true)
  t.strictSame(time.timers(), { set: 0, holding: 0 })
  login.answer = () => issued('late')
  await t.rejects(source.get(), { code: 'token_unavailable' })
  source.prefetch()
  t.equal(source.current(), undefined)
  await time.pass(DAY)
  t.equal(calls.length, 1)
  t.strictSame(events, [])
  t.strictSame([...tokens.sources()], [])
})

t.test('close with a live token: it is gone, and so is its renewal', async (t) => {
  const { time, calls, tokens, source } = start(t)
  const token = await source.get()
  tokens.close()
  t.equal(source.current(), undefined)
  t.equal(source.replacement(token), undefined)
  t.equal(time.timers().set, 0)
  await time.pass(DAY)
  t.equal(calls.length, 1)
})

t.test('a token that arrives after close is thrown away', async (t) => {
  const { time, events, tokens, source, login } = start(t)
  const { promise, resolve } = Promise.withResolvers<IssuedToken>()
  login.answer = () => promise
  source.prefetch()
  await time.settle()
  tokens.close()
  // The account comes back with a reload, while the old request is still on its way.
  login.answer = () => issued('new')
  const again = tokens.source(source.account)
  t.not(again, source)
  t.equal((await again.get()).value, 'new')
  resolve(issued('old'))
  await time.settle()
  t.equal(again.current()?.value, 'new')
  t.equal(events.length, 1)
})

t.test('accounts with one key share their tokens, others do not', async (t) => {
  const { calls, tokens } = start(t)
  const app = testAccount({ name: 'app', key: 'one' })
  const inline = testAccount({ name: 'acme', key: 'one' })
  const other = testAccount({ name: 'other', key: 'two' })
  t.equal(tokens.source(app), tokens.source(inline))
  t.not(tokens.source(app), tokens.source(other))
  const values = [tokens.source(app), tokens.source(inline), tokens.source(other)].map((source) =>
    source.get(),
  )
  t.strictSame(
    (await Promise.all(values)).map(({ value }) => value),
    ['t1', 't1', 't2'],
  )
  t.strictSame(
    calls.map(({ account }) => account.key),
    ['one', 'two'],
  )
})

t.test(
  'retain keeps the named accounts with their tokens; the others serve only the calls under way',
  async (t) => {
    const { time, calls, tokens } = start(t)
    const [kept, left] = [testAccount({ key: 'kept' }), testAccount({ key: 'left' })]
    const [keptSource, leftSource] = [tokens.source(kept), tokens.source(left)]
    await Promise.all([keptSource.get(), leftSource.get()])
    const renamed = testAccount({ key: 'kept', name: 'renamed' })
    tokens.retain([renamed, testAccount({ key: 'kept', name: 'the same once more' })])
    t.strictSame([...tokens.sources()], [keptSource])
    t.equal(keptSource.account, renamed, 'it has the name that is in force')
    t.equal(keptSource.current()?.value, 't1')
    t.equal(leftSource.current()?.value, 't2')
    await time.pass(5000 * SECOND)
    t.equal(leftSource.current()?.value, 't2')
    await time.settle()
    const asked = () => calls.filter(({ account }) => account.key === 'left').length
    t.equal(asked(), 1, 'it is not renewed ahead, although it is used')
    await tokens.source(left).get()
    t.equal(asked(), 2, 'an account that comes back asks for a token of its own')
  },
)

t.test(
  'an account that leaves during its token request and comes back gets a token of its own',
  async (t) => {
    const { time, calls, tokens } = start(t, (n) => later(SECOND, issued(`t${n}`)))
    const left = testAccount({ key: 'left' })
    const before = watch(tokens.source(left).get())
    await time.settle()
    tokens.retain([testAccount({ key: 'other', clientId: 'another' })])
    await time.pass(SECOND)
    t.equal(before.value?.value, 't1', 'the call under way ends with it')
    t.equal(tokens.source(left).current(), undefined)
    const back = watch(tokens.source(left).get())
    await time.pass(SECOND)
    t.equal(back.value?.value, 't2')
    t.equal(calls.length, 2)
  },
)

t.test('the token of an account that a reload took away is forgotten at its end', async (t) => {
  const time = fakeTime(t)
  const tokens = new Tokens(
    async () => issued('t1'),
    () => {},
  )
  const source = tokens.source(testAccount())
  const held = new WeakRef(await source.get())
  tokens.retain([])
  const collect = async () => {
    await time.settle()
    collectGarbage()
  }
  await time.pass(5000 * SECOND)
  await collect()
  t.equal(source.current()?.value, 't1')
  await time.pass(500 * SECOND)
  await collect()
  t.equal(source.current(), undefined)
  t.equal(held.deref(), undefined)
  t.equal(time.timers().set, 0)
})

t.test('a renewal that fails after a reload took its account away leaves the token as it was', async (t) => {
  const { time, tokens, login, calls, source } = start(t)
  t.equal((await source.get()).value, 't1')
  login.answer = () => later(10 * SECOND, failing())
  await time.pass(4055 * SECOND)
  t.equal(calls.length, 2, 'it is being renewed')
  tokens.retain([])
  await time.pass(1000 * SECOND)
  t.equal(source.current()?.value, 't1')
  await time.pass(400 * SECOND)
  t.equal(source.current(), undefined)
  t.equal(calls.length, 2)
  t.equal(time.timers().set, 0)
})

t.test('callers that wait for a token while their account changes get that of its new secret', async (t) => {
  const { time, tokens, login } = start(t)
  login.answer = () => new Promise(() => {})
  const [old, other] = [testAccount({ key: 'old' }), testAccount({ key: 'other', clientId: 'another' })]
  const [waiting, lost] = [watch(tokens.source(old).get()), watch(tokens.source(other).get())]
  await time.settle()
  login.answer = () => issued('of the new secret')
  tokens.retain([testAccount({ key: 'new' })])
  await time.settle()
  t.match(waiting, { value: { value: 'of the new secret' } })
  t.notOk(lost.settled, 'a call of another account ends as it began')
  await time.pass(15 * SECOND)
  t.match(lost.error, {
    code: 'token_unavailable',
    retryAfterSeconds: 1,
    message: 'Service account app (lab): No answer within 15 s.',
  })
})

t.test(
  'a certificate that is not trusted, or an outbound proxy in the way: the advice is about it',
  async (t) => {
    jitter(t, 0)
    const proxy = { origin: 'http://proxy.example:3128', authorization: undefined }
    const cause = new OutboundProxyError(proxy, 'login.example:443', 407)
    const message = 'TLS with the login server failed'
    const tls = { help: 'Check the clock.', proxyStatus: 'tls_certificate_error' }
    const detail = `Service account app (lab): ${message}.`
    for (const [failure, expected] of [
      [new TokenFailure('tls', message, tls), { message: detail, ...tls }],
      [new TokenFailure('unreachable', 'x', { cause, help: cause.help }), { help: cause.help }],
    ] as const) {
      const { time, source } = start(t, () => failure)
      const caller = watch(source.get())
      await time.settle()
      t.notOk(caller.settled, 'it may pass')
      await time.pass(15 * SECOND)
      t.match(caller.error, { code: 'token_unavailable', ...expected })
    }
  },
)

t.test('an error that is no TokenFailure may pass', async (t) => {
  jitter(t, 0)
  const { time, source, login } = start(t, () => new TypeError('a defect'))
  const caller = watch(source.get())
  await time.settle()
  t.match(source.state().lastFailure?.failure, { reason: 'unreachable', final: false })
  login.answer = () => issued('good')
  await time.pass(250)
  t.equal(caller.value?.value, 'good')
})

t.test('events and errors tell what happened, and no secret', async (t) => {
  jitter(t, 0)
  const { time, events, source, login } = start(t, () => failing(20 * SECOND))
  const caller = watch(source.get())
  await time.settle()
  login.answer = () => issued('token-value', 900)
  await time.pass(20 * SECOND)
  t.match(events, [
    { type: 'failed', account: source.account, retryInMs: 20 * SECOND },
    { type: 'issued', account: source.account, lifetimeMs: 900 * SECOND },
  ])
  t.ok(caller.error instanceof ProxyError)
  const text = inspect([events, caller.error], { depth: 9 }) + JSON.stringify(events)
  t.notMatch(text, 'app-client-secret')
  t.notMatch(text, 'token-value')
  t.match(source.state(), {
    token: { value: 'token-value', obtainedAt: Date.now() },
    lastFailure: undefined,
    tried: true,
  })
})
