// Covers src/forward/authorize.ts and src/forward/dispatch.ts, with a dispatch and a login server made by hand
import { setImmediate as settle } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { IssuedToken } from '../../src/auth/request-token.ts'
import { TokenFailure } from '../../src/auth/token-failure.ts'
import { Tokens } from '../../src/auth/tokens.ts'
import { authorize } from '../../src/forward/authorize.ts'
import type { CallerSide, ForwardOptions } from '../../src/forward/dispatch.ts'
import type * as http1 from '../../src/http1/handler.ts'
import { NEVER_SENT } from '../../src/http1/handler.ts'
import { testAccount } from '../fixtures/config.ts'

interface Sent {
  readonly headers: string[]
  readonly body: unknown
  readonly handler: http1.Handler
}

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

class Caller implements CallerSide {
  readonly lane = 'test'
  readonly class = 'test'
  gone = false
  onGone: (() => void) | undefined
  retries = 0
  body: Buffer | null | undefined = null
  replayBody(): Buffer | null | undefined {
    return this.body
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

/** A source of tokens t1, t2, …, each given when the test says so; what is sent; what the caller's handler hears. */
function bench(t: Test, body: Buffer | null | 'not at hand' = null) {
  const logins: PromiseWithResolvers<IssuedToken>[] = []
  const tokens = new Tokens(
    () => {
      const login = Promise.withResolvers<IssuedToken>()
      logins.push(login)
      return login.promise
    },
    () => {},
  )
  t.teardown(() => tokens.close())
  const source = tokens.source(testAccount())
  const sent: Sent[] = []
  const heard: string[] = []
  const caller = new Caller()
  caller.body = body === 'not at hand' ? undefined : body
  const handler: http1.Handler = {
    onRequestStart: () => void heard.push('request'),
    onResponseStart: (_, status) => void heard.push(`start ${status}`),
    onResponseData: (_, chunk) => void heard.push(`data ${chunk}`),
    onResponseEnd: () => void heard.push('end'),
    onResponseError: (_, error) =>
      void heard.push(`error ${(error as { code?: string }).code ?? error.message}`),
  }
  const dispatch = authorize(source)((options, next) => {
    sent.push({ headers: [...options.headers], body: options.body, handler: next })
  })
  const options: ForwardOptions = {
    path: '/x',
    method: 'POST',
    headers: ['X-A', '1'],
    body: Buffer.from('first'),
    caller,
  }
  return {
    logins,
    source,
    sent,
    heard,
    caller,
    send: () => dispatch(options, handler),
    issue: async (at: number) => {
      logins[at]!.resolve({ value: `t${at + 1}`, lifetimeMs: 3_600_000 })
      await settle()
    },
    refuse: async (at: number) => {
      logins[at]!.reject(new TokenFailure('rejected', 'the login server refused the credentials (HTTP 401)'))
      await settle()
    },
    /** Plays an answer's head to what was sent; its controller tells what came of it. */
    answer: (at: number, status: number): Controller => {
      const controller = new Controller()
      sent[at]!.handler.onRequestStart(controller, undefined)
      sent[at]!.handler.onResponseStart(controller, status, {}, '')
      return controller
    },
    data: (at: number, controller: Controller, chunk: string | Buffer) =>
      sent[at]!.handler.onResponseData(controller, Buffer.from(chunk)),
    end: (at: number, controller: Controller) => sent[at]!.handler.onResponseEnd(controller, {}),
    fail: (at: number, controller: Controller, message: string) =>
      sent[at]!.handler.onResponseError(controller, new Error(message)),
  }
}

/** A bench whose first token is there, and whose first request got a 401. */
async function refused(t: Test, body: Buffer | null | 'not at hand' = null) {
  const it = bench(t, body)
  it.source.prefetch()
  await it.issue(0)
  it.send()
  return { ...it, controller: it.answer(0, 401) }
}

const bearer = (value: string) => ['X-A', '1', 'Authorization', `Bearer ${value}`]

t.test('Nothing is sent without a token', async (t) => {
  const it = bench(t)
  it.send()
  await settle()
  t.equal(it.sent.length, 0)
  await it.issue(0)
  t.strictSame(it.sent[0]?.headers, bearer('t1'))
  t.equal(String(it.sent[0]?.body), 'first')
  t.equal(it.caller.onGone, undefined)
  const none = bench(t)
  none.send()
  await none.refuse(0)
  t.equal(none.sent.length, 0)
  t.strictSame(none.heard, ['error credentials_rejected'])
  t.equal(none.caller.onGone, undefined)
})

t.test('A token that lives is sent at once, and everything that comes back is passed on', async (t) => {
  const it = bench(t)
  it.source.prefetch()
  await it.issue(0)
  it.send()
  t.strictSame(it.sent[0]?.headers, bearer('t1'))
  const controller = it.answer(0, 403)
  it.data(0, controller, 'no')
  it.end(0, controller)
  t.strictSame(it.heard, ['request', 'start 403', 'data no', 'end'])
  it.fail(0, controller, 'late')
  t.equal(it.heard.at(-1), 'error late')
  t.equal(it.logins.length, 1, '403 does not touch the token')
})

t.test('A caller that leaves while it waits for the token is never sent for', async (t) => {
  const it = bench(t)
  it.send()
  it.caller.leave()
  await settle()
  await it.issue(0)
  t.equal(it.sent.length, 0)
  const late = bench(t)
  late.send()
  late.logins[0]!.resolve({ value: 't1', lifetimeMs: 3_600_000 })
  late.caller.gone = true
  await settle()
  t.equal(late.sent.length, 0, 'not even in the moment in which the token comes')
})

t.test('A 401 is replayed once with another token, body and all; the second passes', async (t) => {
  for (const body of [null, Buffer.from('kept'), Buffer.alloc(0)]) {
    const it = await refused(t, body)
    t.strictSame(it.heard, ['request'])
    await it.issue(1)
    t.notOk(it.controller.paused)
    t.strictSame(it.sent[1]?.headers, bearer('t2'))
    t.equal(it.sent[1]?.body, body)
    t.equal(it.caller.retries, 1)
    t.equal(it.caller.onGone, undefined)
    it.data(0, it.controller, 'old')
    it.end(0, it.controller)
    it.fail(0, it.controller, 'old')
    const second = it.answer(1, 401)
    it.data(1, second, 'new')
    it.end(1, second)
    t.strictSame(it.heard, ['request', 'request', 'start 401', 'data new', 'end'])
    await settle()
    t.equal(it.sent.length, 2)
    t.equal(it.logins.length, 2)
  }
})

t.test('Where another caller has renewed the token already, it is used at once', async (t) => {
  const it = await refused(t)
  it.send()
  await it.issue(1)
  t.equal(it.sent.length, 3, 'one that waited for the first token since, and the replay')
  t.strictSame(it.sent.map(({ headers }) => headers.at(-1)).sort(), ['Bearer t1', 'Bearer t2', 'Bearer t2'])
  t.equal(it.logins.length, 2)
})

t.test('A body that is not at hand is not replayed, but the token is renewed', async (t) => {
  const it = await refused(t, 'not at hand')
  it.data(0, it.controller, 'no')
  it.end(0, it.controller)
  t.strictSame(it.heard, ['request', 'start 401', 'data no', 'end'])
  t.equal(it.caller.onGone, undefined, 'nobody waits')
  t.equal(it.logins.length, 2, 'renewed')
  await it.issue(1)
  t.equal(it.sent.length, 1)
  t.equal(it.source.current()?.value, 't2')
})

t.test('One forced renewal a minute: the next 401 passes', async (t) => {
  const it = await refused(t)
  await it.issue(1)
  it.end(1, it.answer(1, 200))
  it.send()
  const controller = it.answer(2, 401)
  t.notOk(controller.paused)
  t.equal(it.heard.at(-1), 'start 401')
  t.equal(it.logins.length, 2)
})

t.test('Where no other token is to be had the 401 passes, with its body', async (t) => {
  const it = await refused(t)
  await it.refuse(1)
  t.notOk(it.controller.paused)
  it.data(0, it.controller, 'the body')
  it.end(0, it.controller)
  t.strictSame(it.heard, ['request', 'start 401', 'data the body', 'end'])
  t.equal(it.sent.length, 1)
  t.equal(it.caller.retries, 0)
})

t.test('A 401 without a body may end while it is held back', async (t) => {
  const replayed = await refused(t)
  replayed.end(0, replayed.controller)
  t.strictSame(replayed.heard, ['request'])
  await replayed.issue(1)
  replayed.end(1, replayed.answer(1, 200))
  t.strictSame(replayed.heard, ['request', 'request', 'start 200', 'end'])
  const passed = await refused(t)
  passed.end(0, passed.controller)
  await passed.refuse(1)
  t.strictSame(passed.heard, ['request', 'start 401', 'end'])
})

t.test('The connection of a 401 may break while it is held back', async (t) => {
  const replayed = await refused(t)
  replayed.fail(0, replayed.controller, 'ECONNRESET')
  t.strictSame(replayed.heard, ['request'], 'nobody is answered while the request may yet be replayed')
  await replayed.issue(1)
  replayed.end(1, replayed.answer(1, 200))
  t.strictSame(replayed.heard, ['request', 'request', 'start 200', 'end'])
  const broken = await refused(t)
  broken.fail(0, broken.controller, 'reset')
  await broken.refuse(1)
  t.strictSame(broken.heard, ['request', 'error reset'])
})

t.test('A caller that leaves while the token is renewed is not sent for again', async (t) => {
  const it = await refused(t)
  it.caller.leave()
  await settle()
  t.strictSame(it.heard, ['request', 'error the caller went away'], 'and its place is given up')
  await it.issue(1)
  t.equal(it.sent.length, 1)
  const late = await refused(t)
  late.logins[1]!.resolve({ value: 't2', lifetimeMs: 3_600_000 })
  late.caller.gone = true
  await settle()
  t.equal(late.sent.length, 1)
})

t.test(
  'The rest of a replayed 401 is thrown away, and its connection given up where it is long',
  async (t) => {
    const it = await refused(t)
    await it.issue(1)
    it.data(0, it.controller, Buffer.alloc(64 * 1024))
    t.notOk(it.controller.aborted)
    it.data(0, it.controller, 'x')
    t.ok(it.controller.aborted)
    it.fail(0, it.controller, 'aborted')
    t.strictSame(it.heard, ['request'])
  },
)

t.test('The controller of what was never sent does nothing', async (t) => {
  t.ok(NEVER_SENT.aborted)
  t.doesNotThrow(() => {
    NEVER_SENT.abort(new Error('x'))
    NEVER_SENT.pause()
    NEVER_SENT.resume()
  })
  t.notOk(NEVER_SENT.paused)
})
