// Covers src/forward/pace.ts, retry.ts and passing-handler.ts, with a dispatch made by hand and a clock of its own
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { RateLimitSettings } from '../../src/config/config.ts'
import type { ProxyError } from '../../src/errors.ts'
import { Budget } from '../../src/forward/budget.ts'
import type { CallerSide, Dispatch, ForwardOptions, Interceptor } from '../../src/forward/dispatch.ts'
import { pace } from '../../src/forward/pace.ts'
import { retry } from '../../src/forward/retry.ts'
import { RetryBudget } from '../../src/forward/retry-policy.ts'
import { ResponseTimeoutError } from '../../src/forward/upstream-error.ts'
import { AnswerError } from '../../src/http1/answer-parser.ts'
import type * as http1 from '../../src/http1/handler.ts'
import { ConnectionError } from '../../src/network/connection-error.ts'
import { fakeTime } from '../fixtures/clock.ts'

const { random } = Math

class Controller implements http1.Controller {
  aborted = false
  paused = false
  reason: Error | null = null
  abort(reason: Error): void {
    this.aborted = true
    this.reason = reason
  }
  pause(): void {
    this.paused = true
  }
  resume(): void {
    this.paused = false
  }
}

/** A request as it was handed on, to be answered by the test. */
interface Sent {
  readonly options: ForwardOptions
  readonly controller: Controller
  /** The connection stands, and the request is being written. */
  start(): Sent
  head(status: number, headers?: Record<string, string>): Sent
  data(text: string | Buffer): Sent
  end(): Sent
  fail(error: Error | string): Sent
}

type Body = Buffer | null | 'not at hand'

class Caller implements CallerSide {
  readonly lane = 'test'
  readonly class = 'test'
  gone = false
  onGone: (() => void) | undefined
  retries = 0
  readonly body: Body
  constructor(body: Body) {
    this.body = body
  }
  replayBody(): Buffer | null | undefined {
    return this.body === 'not at hand' ? undefined : this.body
  }
  waited(): void {}

  retried(): void {
    this.retries++
  }
  leave(): void {
    this.gone = true
    this.onGone?.()
  }
}

interface Call {
  readonly caller: Caller
  readonly heard: string[]
}

/** What goes through `pace` (and `retry` within it, where `retries` are given). */
function bench(t: Test, settings: Partial<RateLimitSettings> = {}, retries?: number) {
  const time = fakeTime(t)
  Math.random = () => 0
  t.teardown(() => {
    Math.random = random
  })
  const full: RateLimitSettings = { whenExhausted: 'wait', maxWaitMs: 60_000, maxQueued: 100, ...settings }
  const budget = new Budget(full)
  const retryBudget = new RetryBudget()
  const sent: Sent[] = []
  let broken: Error | undefined
  let inner: Dispatch = (options, handler) => {
    if (broken !== undefined) throw broken
    const controller = new Controller()
    const one: Sent = {
      options,
      controller,
      start: () => {
        handler.onRequestStart(controller, undefined)
        return one
      },
      head: (status, headers = {}) => {
        one.start()
        handler.onResponseStart(controller, status, headers, '')
        return one
      },
      data: (text) => {
        handler.onResponseData(controller, Buffer.from(text))
        return one
      },
      end: () => {
        handler.onResponseEnd(controller, {})
        return one
      },
      fail: (error) => {
        const cause = typeof error === 'string' ? Object.assign(new Error(error), { code: error }) : error
        handler.onResponseError(controller, cause)
        return one
      },
    }
    sent.push(one)
  }
  const within: Interceptor[] = retries === undefined ? [] : [retry(retries, retryBudget)]
  for (const interceptor of [...within, pace(budget, retryBudget, full)]) inner = interceptor(inner)
  return {
    time,
    budget,
    retryBudget,
    sent,
    breaks: (error: Error | undefined) => {
      broken = error
    },
    call(method = 'GET', body: Body = null, path = '/x'): Call {
      const caller = new Caller(body)
      const heard: string[] = []
      inner(
        { method, path, headers: [], body: Buffer.from('first'), caller },
        {
          onRequestStart: () => void heard.push('request'),
          onResponseStart: (_, status) => void heard.push(`start ${status}`),
          onResponseData: (_, chunk) => void heard.push(`data ${chunk}`),
          onResponseEnd: () => void heard.push('end'),
          onResponseError: (_, error) =>
            void heard.push(`error ${(error as { code?: string }).code ?? error.message}`),
        },
      )
      return { caller, heard }
    },
    idle: () => {
      const { waiting, inFlight } = budget.state()
      t.same({ waiting, inFlight, ...time.timers() }, { waiting: 0, inFlight: 0, set: 0, holding: 0 }, 'idle')
    },
  }
}

const rate = (remaining: number, more: Record<string, string> = {}) => ({
  'x-rate-limit-limit': '25',
  'x-rate-limit-remaining': String(remaining),
  ...more,
})

t.test('Everything passes on, in step', async (t) => {
  const it = bench(t)
  const { heard, caller } = it.call('POST')
  t.equal(it.sent.length, 1, 'at once')
  it.sent[0]?.head(100).head(201, rate(5)).data('a').data('b').end()
  t.strictSame(heard, ['request', 'start 100', 'request', 'start 201', 'data a', 'data b', 'end'])
  t.equal(caller.retries, 0)
  const failed = it.call()
  it.sent[1]?.head(200).data('a').fail('ECONNRESET')
  t.strictSame(failed.heard, ['request', 'start 200', 'data a', 'error ECONNRESET'])
  it.idle()
})

t.test('429 and 503 are sent again after the wait, their own answer thrown away', async (t) => {
  for (const [status, method, body] of [
    [429, 'POST', Buffer.from('kept')],
    [503, 'PATCH', Buffer.alloc(0)],
    [503, 'GET', null],
    [429, 'HEAD', null],
  ] as const) {
    const it = bench(t)
    const { heard, caller } = it.call(method, body)
    it.sent[0]?.head(status, { 'retry-after': '5' })
    if (method !== 'HEAD') it.sent[0]?.data('unwanted')
    it.sent[0]?.end()
    await it.time.pass(4_999)
    t.equal(it.sent.length, 1)
    t.ok(caller.onGone, 'it waits')
    await it.time.pass(1)
    t.equal(it.sent.length, 2, `${status}`)
    t.equal(it.sent[1]?.options.body, body, 'the kept body')
    t.equal(caller.onGone, undefined)
    it.sent[1]?.head(200).data('wanted').end()
    t.strictSame(heard, ['request', 'request', 'start 200', 'data wanted', 'end'])
    t.equal(caller.retries, 1)
    it.idle()
  }
})

t.test('What can’t be sent again, or only too late, passes through', async (t) => {
  for (const [what, status, body, headers, settings] of [
    ['no body at hand', 429, 'not at hand', { 'retry-after': '1' }, {}],
    ['no body at hand, 503', 503, 'not at hand', { 'retry-after': '1' }, {}],
    ['too long', 429, null, { 'retry-after': '61' }, {}],
    ['too long, 503', 503, null, { 'retry-after': '61' }, {}],
    ['not said', 429, null, {}, {}],
    ['not said, 503', 503, null, {}, {}],
    ['reject', 429, null, { 'retry-after': '1' }, { whenExhausted: 'reject' }],
    ['pass', 429, null, { 'retry-after': '1' }, { whenExhausted: 'pass' }],
    ['no wait at all', 429, null, { 'retry-after': '0' }, { maxWaitMs: 0 }],
    ['502', 502, null, { 'retry-after': '1' }, {}],
  ] as const) {
    const it = bench(t, settings)
    const { heard, caller } = it.call('GET', body)
    it.sent[0]?.head(status, headers).data('theirs').end()
    await it.time.pass(120_000)
    t.strictSame(heard, ['request', `start ${status}`, 'data theirs', 'end'], what)
    t.equal(it.sent.length, 1)
    t.equal(caller.retries, 0)
    it.idle()
  }
})

t.test('A 503 is sent again whatever is done about the budget', async (t) => {
  for (const whenExhausted of ['reject', 'pass'] as const) {
    const it = bench(t, { whenExhausted })
    it.call()
    it.sent[0]?.head(503, { 'retry-after': '1' }).end()
    await it.time.pass(1_000)
    t.equal(it.sent.length, 2, whenExhausted)
  }
})

t.test('Never at once, and not for ever, however short the wait that is asked for', async (t) => {
  const it = bench(t)
  const { heard } = it.call()
  const gaps: number[] = []
  let at = performance.now()
  for (let nth = 0; nth < 10; nth++) {
    it.sent[nth]?.head(429, { 'retry-after': '0' }).end()
    await it.time.pass(0)
    for (let ms = 0; it.sent.length === nth + 1 && ms < 5_000; ms += 10) await it.time.pass(10)
    gaps.push(performance.now() - at)
    at = performance.now()
  }
  t.equal(it.sent.length, 10)
  t.equal(heard.at(-1), 'end')
  t.equal(heard.at(-2), 'start 429')
  t.ok(
    gaps.slice(0, 9).every((ms) => ms >= 50),
    `${gaps}`,
  )
  t.ok(gaps.slice(5, 9).every((ms) => ms >= 1_000))
})

t.test('All tries together wait no longer than maxWait', async (t) => {
  const it = bench(t, { maxWaitMs: 10_000 })
  const { heard } = it.call()
  it.sent[0]?.head(503, { 'retry-after': '6' }).end()
  await it.time.pass(6_000)
  it.sent[1]?.head(503, { 'retry-after': '6' }).end()
  t.strictSame(heard.slice(-2), ['start 503', 'end'])
})

t.test('Retries of 503 end with the retry budget; those of 429 need none', async (t) => {
  const it = bench(t)
  const calls = Array.from({ length: 15 }, () => it.call())
  for (const one of it.sent.slice(0, 15)) one.head(503, { 'retry-after': '1' }).end()
  t.equal(calls.filter(({ heard }) => heard.includes('start 503')).length, 5, 'ten are sent again')
  await it.time.pass(1_000)
  t.equal(it.sent.length, 25)
  for (const one of it.sent.slice(15)) one.head(429, { 'retry-after': '1' }).end()
  await it.time.pass(1_000)
  t.equal(it.sent.length, 35)
  for (const one of it.sent.slice(25)) one.head(200).end()
  it.idle()
})

t.test('While the budget is used up requests wait; what can’t come in time is told so', async (t) => {
  const it = bench(t, { maxWaitMs: 5_000 })
  it.call()
  const now = Math.floor(Date.now() / 1000)
  it.sent[0]?.head(200, rate(0, { 'x-rate-limit-reset': `${now + 4}` })).end()
  const waiting = it.call()
  t.equal(it.sent.length, 1)
  await it.time.pass(4_000)
  t.equal(it.sent.length, 2)
  t.equal(String(it.sent[1]?.options.body), 'first', 'its own body, untouched')
  it.sent[1]?.head(200, rate(0, { 'x-rate-limit-reset': `${now + 14}` })).end()
  t.strictSame(waiting.heard, ['request', 'start 200', 'end'])
  const refused = it.call()
  await it.time.settle()
  t.strictSame(refused.heard, ['error rate_limited'])
  t.equal(refused.caller.onGone, undefined)
  it.idle()
})

t.test('A query is no other endpoint, a method is', async (t) => {
  const it = bench(t)
  it.call('GET', 'not at hand', '/x?page=1')
  it.sent[0]?.head(429, rate(9, { 'retry-after': '5' })).end()
  it.call('GET', null, '/x?page=2')
  it.call('GET', null, '/x')
  t.equal(it.sent.length, 1)
  it.call('HEAD', null, '/x')
  it.call('GET', null, '/x/y')
  t.equal(it.sent.length, 3)
  await it.time.pass(5_000)
  t.equal(it.sent.length, 5)
})

t.test('A caller that goes away while it waits is never sent for', async (t) => {
  for (const status of [429, 503]) {
    const it = bench(t)
    const { caller, heard } = it.call()
    it.sent[0]?.head(status, { 'retry-after': '5' }).end()
    await it.time.pass(1_000)
    caller.leave()
    await it.time.pass(10_000)
    t.equal(it.sent.length, 1)
    t.strictSame(heard, ['request'])
    it.idle()
  }
  const it = bench(t)
  it.call()
  it.sent[0]?.head(200, rate(0, { 'x-rate-limit-reset': `${Math.floor(Date.now() / 1000) + 4}` })).end()
  const late = it.call()
  await it.time.settle()
  t.equal(it.budget.waiting, 1)
  // In the very moment in which its turn comes.
  const settled = it.time.pass(4_000)
  late.caller.gone = true
  await settled
  t.equal(it.sent.length, 1)
  it.idle()
  const answered = bench(t)
  const early = answered.call()
  early.caller.gone = true
  answered.sent[0]?.head(503, { 'retry-after': '1' }).end()
  await answered.time.pass(2_000)
  t.equal(answered.sent.length, 1, 'gone before the 503 came')
})

t.test('A dispatch that throws leaves nothing in flight', async (t) => {
  const it = bench(t)
  it.breaks(new Error('a defect'))
  t.throws(() => it.call(), 'a defect')
  it.idle()
  it.breaks(undefined)
  const { heard } = it.call()
  it.sent[0]?.head(503, { 'retry-after': '1' }).end()
  it.breaks(new Error('a defect'))
  await it.time.pass(1_000)
  t.strictSame(heard, ['request', 'error a defect'])
  it.idle()
})

t.test('Of an unwanted answer no more than a little is read, and not for long', async (t) => {
  const it = bench(t)
  it.call()
  it.sent[0]?.head(503, { 'retry-after': '1' }).data(Buffer.alloc(64 * 1024))
  t.notOk(it.sent[0]?.controller.aborted)
  it.sent[0]?.data('x')
  t.ok(it.sent[0]?.controller.aborted)
  it.sent[0]?.fail('aborted')
  it.call()
  it.sent[1]?.head(503, { 'retry-after': '20' }).data('and then nothing')
  await it.time.pass(4_999)
  t.notOk(it.sent[1]?.controller.aborted)
  await it.time.pass(1)
  t.ok(it.sent[1]?.controller.aborted, 'or it would hold its connection for ever')
})

t.test('A broken connection is retried where that can do nothing twice, up to the set number', async (t) => {
  for (const [method, what, tries] of [
    ['GET', 'sent', 3],
    ['DELETE', 'sent', 3],
    ['PUT', 'sent', 3],
    ['POST', 'sent', 1],
    ['PATCH', 'sent', 1],
    ['POST', 'refused', 3],
    ['PATCH', 'refused', 3],
  ] as const) {
    const it = bench(t, {}, 2)
    const { heard, caller } = it.call(method)
    for (let nth = 0; nth < 3; nth++) {
      const one = it.sent[nth]
      if (what === 'sent') one?.start().fail('ECONNRESET')
      else one?.fail('ECONNREFUSED')
      await it.time.pass(300)
    }
    t.equal(it.sent.length, tries, `${method} ${what}`)
    t.equal(caller.retries, tries - 1)
    t.equal(heard.at(-1), what === 'sent' ? 'error ECONNRESET' : 'error ECONNREFUSED')
    t.equal(heard.filter((each) => each.startsWith('error')).length, 1)
    it.idle()
  }
})

t.test('Which failures are the connection’s', async (t) => {
  const socket = new ConnectionError('UND_ERR_SOCKET', 'other side closed')
  const timeout = new ConnectionError('UND_ERR_CONNECT_TIMEOUT', 'slow')
  for (const [error, tries] of [
    [socket, 2],
    [timeout, 2],
    [Object.assign(new Error('x'), { code: 'EPIPE' }), 2],
    [new AggregateError([Object.assign(new Error('x'), { code: 'ECONNREFUSED' })]), 2],
    [Object.assign(new Error('x'), { code: 'ENOTFOUND' }), 1],
    [Object.assign(new Error('x'), { code: 'CERT_HAS_EXPIRED' }), 1],
    [new ResponseTimeoutError('slow'), 2],
    [new AnswerError('no HTTP'), 1],
    [new ConnectionError('UND_ERR_DESTROYED', 'closed'), 1],
  ] as const) {
    const it = bench(t, {}, 2)
    it.call('GET')
    it.sent[0]?.fail(error)
    await it.time.pass(300)
    t.equal(it.sent.length, tries, error.name + error.message)
  }
  const it = bench(t, {}, 2)
  it.call('GET')
  it.sent[0]?.start().fail(new ResponseTimeoutError('slow'))
  await it.time.pass(300)
  t.equal(it.sent.length, 1, 'an API that hangs is not asked again')
})

t.test(
  'No retry once an answer has begun, without its body, without retries, or with none left',
  async (t) => {
    const begun = bench(t, {}, 2)
    const half = begun.call()
    begun.sent[0]?.head(200).data('a').fail('ECONNRESET')
    await begun.time.pass(300)
    t.strictSame(half.heard, ['request', 'start 200', 'data a', 'error ECONNRESET'])
    t.equal(begun.sent.length, 1)
    const bodiless = bench(t, {}, 2)
    bodiless.call('PUT', 'not at hand')
    bodiless.sent[0]?.start().fail('ECONNRESET')
    await bodiless.time.pass(300)
    t.equal(bodiless.sent.length, 1)
    const none = bench(t, {}, 0)
    none.call()
    none.sent[0]?.fail('ECONNREFUSED')
    await none.time.pass(300)
    t.equal(none.sent.length, 1)
    const spent = bench(t, {}, 2)
    spent.call()
    while (spent.retryBudget.spend());
    const { heard } = spent.call()
    spent.sent[1]?.fail('ECONNREFUSED')
    t.strictSame(heard, ['error ECONNREFUSED'])
  },
)

t.test('A retry’s own 503 is waited for, and its body is the kept one', async (t) => {
  const it = bench(t, {}, 2)
  const { heard } = it.call('PUT', Buffer.from('kept'))
  it.sent[0]?.start().fail('ECONNRESET')
  await it.time.pass(300)
  t.equal(String(it.sent[1]?.options.body), 'kept')
  it.sent[1]?.head(503, { 'retry-after': '1' }).end()
  await it.time.pass(1_000)
  it.sent[2]?.head(200).end()
  t.strictSame(heard.slice(-2), ['start 200', 'end'])
  it.idle()
})

t.test('A caller that goes away before a retry is not sent for, nor counted any more', async (t) => {
  const it = bench(t, {}, 2)
  const { caller } = it.call()
  it.sent[0]?.start().fail('ECONNRESET')
  t.equal(it.budget.state().inFlight, 1)
  caller.leave()
  it.idle()
  await it.time.pass(300)
  t.equal(it.sent.length, 1)
  const gone = bench(t, {}, 2)
  const early = gone.call()
  early.caller.gone = true
  gone.sent[0]?.start().fail('ECONNRESET')
  await gone.time.pass(300)
  t.equal(gone.sent.length, 1)
  gone.idle()
})

t.test('A retry that can’t even be handed on is an error', async (t) => {
  const it = bench(t, {}, 2)
  const { heard } = it.call()
  it.sent[0]?.fail('ECONNREFUSED')
  it.breaks(new Error('a defect'))
  await it.time.pass(300)
  t.strictSame(heard, ['error a defect'])
})

t.test('Whatever happens, what is in flight is counted right, and everybody is answered once', async (t) => {
  const event = fc.record({
    what: fc.constantFrom('call', 'call', 'answer', 'answer', 'answer', 'reset', 'refuse', 'leave', 'pass'),
    at: fc.nat(1000),
    status: fc.constantFrom(200, 200, 201, 401, 404, 429, 429, 503, 500),
    remaining: fc.constantFrom(undefined, 0, 0, 1, 3, 20),
    reset: fc.constantFrom(undefined, -5, 1, 3, 10, 1e7),
    retryAfter: fc.constantFrom(undefined, 0, 1, 4, 90),
    method: fc.constantFrom('GET', 'POST', 'PUT', 'HEAD'),
    path: fc.constantFrom('/x', '/y'),
    kept: fc.boolean(),
    body: fc.constantFrom('whole', 'broken', 'none'),
  })
  const it = { runs: 0, calls: 0 }
  await fc.assert(
    fc.asyncProperty(
      fc.array(event, { maxLength: 40, size: 'max' }),
      fc.constantFrom('wait', 'wait', 'reject', 'pass'),
      async (events, whenExhausted) => {
        await t.test(`run ${++it.runs}`, async (t) => {
          const rig = bench(t, { whenExhausted: whenExhausted as 'wait', maxQueued: 5, maxWaitMs: 20_000 }, 2)
          const calls: Call[] = []
          const open = new Set<Sent>()
          let known = 0
          const refresh = () => {
            for (; known < rig.sent.length; known++) open.add(rig.sent[known] as Sent)
          }
          const finish = (one: Sent, status: number, headers: Record<string, string>, body: string) => {
            open.delete(one)
            one.head(status, headers)
            if (body === 'broken') one.data('a').fail('ECONNRESET')
            else if (body === 'whole') one.data('a').end()
            else one.end()
          }
          for (const { what, at, status, remaining, reset, retryAfter, method, path, kept, body } of events) {
            refresh()
            const one = [...open][at % Math.max(1, open.size)]
            const seconds = Math.floor(Date.now() / 1000)
            if (what === 'call') calls.push(rig.call(method, kept ? null : 'not at hand', path))
            else if (what === 'pass') await rig.time.pass(at * 10)
            else if (what === 'leave') {
              const leaving = calls[at % Math.max(1, calls.length)]
              // As the forwarder does it: who waits is told; what is under way is aborted.
              if (leaving === undefined || leaving.caller.gone || ended(leaving)) continue
              leaving.caller.leave()
              for (const each of open) {
                if (each.options.caller !== leaving.caller) continue
                open.delete(each)
                each.fail('aborted')
              }
            } else if (one === undefined) continue
            else if (what === 'answer') {
              const headers = {
                ...(remaining !== undefined && rate(remaining)),
                ...(reset !== undefined && { 'x-rate-limit-reset': String(seconds + reset) }),
                ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
              }
              finish(one, status, headers, body)
            } else {
              open.delete(one)
              if (what === 'reset') one.start().fail('ECONNRESET')
              else one.fail('ECONNREFUSED')
            }
            await rig.time.settle()
          }
          // The outage is over: everything comes to its end.
          for (let turn = 0; turn < 60; turn++) {
            refresh()
            for (const one of open) finish(one, 200, {}, 'whole')
            await rig.time.pass(1_000)
          }
          const { inFlight, waiting } = rig.budget.state()
          if (inFlight !== 0 || waiting !== 0)
            throw new Error(`left: ${inFlight} in flight, ${waiting} waiting`)
          for (const call of calls) {
            if (!call.caller.gone && !ended(call)) throw new Error(`never answered: ${call.heard}`)
            const ends = call.heard.filter((each) => each === 'end' || each.startsWith('error'))
            const starts = call.heard.filter((each) => /^start [2-5]/.test(each))
            if (ends.length > 1 || starts.length > 1) throw new Error(`answered twice: ${call.heard}`)
          }
          if (rig.time.timers().holding > 0) throw new Error('a timer is left')
          it.calls += calls.length
        })
      },
    ),
    { numRuns: 150 },
  )
  t.ok(it.calls > 500, `${it.calls} calls`)
})

function ended({ heard }: Call): boolean {
  return heard.some((each) => each === 'end' || each.startsWith('error'))
}

t.test('Its own refusal tells when to come back', async (t) => {
  const it = bench(t, { maxWaitMs: 1_000 })
  it.call()
  it.sent[0]?.head(429, rate(0, { 'retry-after': '30' })).end()
  const errorsHeard: ProxyError[] = []
  const caller = new Caller(null)
  const budgetOf = pace(it.budget, it.retryBudget, { whenExhausted: 'wait', maxWaitMs: 1_000, maxQueued: 1 })
  budgetOf(() => {})(
    { method: 'GET', path: '/x', headers: [], body: null, caller },
    {
      onRequestStart: () => {},
      onResponseStart: () => {},
      onResponseData: () => {},
      onResponseEnd: () => {},
      onResponseError: (_, error) => void errorsHeard.push(error as ProxyError),
    },
  )
  await it.time.settle()
  t.match(errorsHeard, [{ code: 'rate_limited', retryAfterSeconds: 30 }])
})
