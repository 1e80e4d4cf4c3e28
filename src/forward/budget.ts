// The rate budget of one service account and company: which request may be sent, and when.
import type { RateLimitSettings } from '../config/config.ts'
import { serverNowMs } from '../network/response.ts'
import { headerValue, type ResponseHead } from './call.ts'
import {
  HeldEndpoints,
  jittered,
  type RateReading,
  RateWindows,
  readingOf,
  resetInMs,
  wholeNumber,
} from './rate-windows.ts'
import { askedWaitMs } from './retry-policy.ts'
import { rateLimited, refusalOf, TOO_LATE, WaitingLine } from './waiting-line.ts'

/** A request that asks for a place in the budget. */
export interface BudgetRequest {
  /** Method and path without query, `GET /rest/v1.0/projects`: what an endpoint's own 429 holds back. */
  readonly endpoint: string
  /** Identifies the queue that it waits in: the listener and the key of its caller. */
  readonly queueKey: string
  /** The caller's name; empty if callers have no names. */
  readonly caller: string
  /**
   * The largest part (0 to 1) of a rate window that the caller may use while other callers use it too; undefined for
   * no limit.
   */
  readonly share: number | undefined
  /** The request stops waiting at this `performance.now()` time. */
  readonly deadline: number
}

/** The right to send one request. Call exactly one of its methods, exactly once. */
export interface Reservation {
  /** The head of the response has arrived. */
  answered(status: number, head: ResponseHead): void
  /** No response came, or the request was not sent after all. */
  left(): void
}

/** Even if Procore asks for a longer wait, a request is sent after an hour to find out whether it still applies. */
const LONGEST_HOLD_MS = 3_600_000
/** The machine has slept if the wall clock advanced by this much more than the monotonic clock. */
const SLEPT_MS = 5_000

/** The budget of a proxy that shares it with no other; `src/shared/shared-budget.ts` extends it for those that do. */
export class Budget {
  protected settings: RateLimitSettings
  protected readonly windows = new RateWindows()
  protected readonly endpoints = new HeldEndpoints()
  protected readonly line = new WaitingLine()
  #wake: NodeJS.Timeout | undefined
  #wakesAt = Number.POSITIVE_INFINITY
  #sleptMs = 0
  #wallAheadMs = Date.now() - performance.now()

  constructor(settings: RateLimitSettings) {
    this.settings = settings
  }

  /** Applies new settings. What is known about the budget stays, and so do the waiting requests. */
  configure(settings: RateLimitSettings): void {
    this.settings = settings
    this.pump()
  }

  /** The number of waiting requests. */
  get waiting(): number {
    return this.line.size
  }

  /** True while requests have to wait for the whole budget. */
  get isExhausted(): boolean {
    return this.windows.waitForAny(this.now()) > 0
  }

  /** What the status page shows, and the number of requests without a response. */
  state() {
    const now = this.now()
    const { limit, left, resetsAt } = this.windows.shown(now) ?? {}
    return {
      limit,
      remaining: left,
      resetInMs: resetsAt === undefined ? undefined : Math.max(0, resetsAt - now),
      inFlight: this.windows.inFlight,
    }
  }

  /**
   * Returns a reservation if the request may be sent immediately. It never overtakes a waiting request that may also
   * be sent.
   */
  tryReserve(request: BudgetRequest): Reservation | undefined {
    if (this.waitFor(request) > 0) return undefined
    if (this.line.size > 0) {
      // Waiting requests that may be sent now go first. The others wait only for their endpoint or share.
      this.pump()
      if (this.waitFor(request) > 0) return undefined
    }
    return this.reserved(request)
  }

  /** Waits for a reservation; throws `rate_limited` if there is none in time. The signal ends the wait. */
  reserve(request: BudgetRequest, signal: AbortSignal): Promise<Reservation> {
    if (signal.aborted) return Promise.reject(signal.reason)
    const reservation = this.tryReserve(request)
    if (reservation !== undefined) return Promise.resolve(reservation)
    const waitMs = this.waitFor(request)
    const waiting = this.queuedFor(waitMs)
    const refusal = refusalOf(request, { waitMs, waiting, settings: this.settings })
    if (refusal !== undefined) return Promise.reject(rateLimited(refusal, waitMs))
    const onTimeout = () => rateLimited(TOO_LATE, this.waitFor(request))
    const reserved = this.line.join(request, signal, onTimeout)
    this.joined(waitMs)
    // Others may have waited only because this caller did, and without a waiting request no wake-up timer is needed.
    reserved.catch(() => {
      if (!this.line.has(request.caller)) this.pump()
    })
    return reserved
  }

  /** A request that has to wait this long has begun to. */
  protected joined(waitMs: number): void {
    this.wakeIn(Math.min(waitMs, this.windows.waitForSilence(this.now())))
  }

  /** How many requests wait already, for one that would have to wait this long. */
  protected queuedFor(_waitMs: number): number {
    return this.line.size
  }

  /**
   * Learns from a response. `sentAt`: when its request was sent. `redisNow`: the wall clock of Redis, if replicas share the
   * budget. Returns what the response says about the rate windows, and for how long the whole budget is used up if it
   * says that.
   */
  learn(endpoint: string, status: number, head: ResponseHead, sentAt?: number, redisNow?: number): Learned {
    const ownNow = Date.now()
    const now = this.now(ownNow)
    const wallNow = redisNow ?? ownNow
    const reading = readingOf(head, wallNow)
    if (reading === undefined) this.windows.learnNothing()
    else this.windows.learn(reading, now, sentAt ?? now)
    if (reading !== undefined && status !== 429) return { reading }
    const limit = wholeNumber(headerValue(head, 'x-rate-limit-limit'))
    const remaining = wholeNumber(headerValue(head, 'x-rate-limit-remaining'))
    let askedMs = status === 429 ? askedWaitMs(status, head, wallNow) : undefined
    // Nothing is left of a window that is not named.
    if (limit === undefined && remaining === 0) {
      askedMs = Math.max(askedMs ?? 0, resetInMs(head, serverNowMs(head, wallNow)) ?? 0) || undefined
    }
    if (askedMs === undefined || this.settings.whenExhausted === 'pass') return { reading }
    const usedUpMs = Math.min(askedMs, LONGEST_HOLD_MS)
    const until = jittered(now + usedUpMs)
    const known = remaining === undefined ? this.readings() : [{ remaining }]
    if (known.length > 0 && known.every((window) => window.remaining > 0)) {
      this.endpoints.hold(endpoint, until)
      return { reading }
    }
    this.windows.exhaust(limit ?? 0, until)
    return { reading, usedUpMs }
  }

  /**
   * From now on uses only 1/`parts` of the budget (1 for all of it), starting from what other replicas learned last.
   */
  split(parts: number, newest: RateReading | undefined): void {
    if (newest !== undefined) this.windows.assume(newest, this.now())
    this.windows.split(parts)
    this.pump()
  }

  /** What is known about the rate windows. */
  readings(): RateReading[] {
    return this.windows.readings(this.now())
  }

  /** Monotonic milliseconds that also count while the machine sleeps; `performance.now()` and timers may stop then. */
  protected now(wallNow = Date.now()): number {
    const now = performance.now()
    const wallAheadMs = wallNow - now
    if (wallAheadMs > this.#wallAheadMs + SLEPT_MS) this.#sleptMs += wallAheadMs - this.#wallAheadMs
    this.#wallAheadMs = wallAheadMs
    return now + this.#sleptMs
  }

  protected reserved(request: BudgetRequest): Reservation {
    const flight = this.windows.take(request, this.now())
    return {
      answered: (status, head) => {
        this.learn(request.endpoint, status, head, flight.at)
        this.windows.release(flight)
        this.pump()
      },
      left: () => {
        this.windows.release(flight)
        this.pump()
      },
    }
  }

  /** Milliseconds until this request may be sent: 0 for now, Infinity if that depends on responses in flight. */
  protected waitFor(request: BudgetRequest, now = this.now()): number {
    if (this.settings.whenExhausted === 'pass') return 0
    return Math.max(this.windows.waitForAny(now, request.queueKey), this.#waitForOwn(request, now))
  }

  /** The same, for limits that hold back this request but not all others. */
  #waitForOwn({ endpoint, caller, share }: BudgetRequest, now: number): number {
    const wait = this.endpoints.waitFor(endpoint, now)
    if (share === undefined) return wait
    const use = { caller, share, othersWait: this.line.hasOthers(caller) }
    return Math.max(wait, this.windows.waitForShare(use, now))
  }

  /**
   * Releases the requests that may be sent, in turn. Their promises settle later, so this function is not re-entered.
   */
  protected pump(): void {
    if (this.line.size === 0 && this.#wakesAt === Number.POSITIVE_INFINITY) return
    const now = this.now()
    const isOpen = () => this.settings.whenExhausted === 'pass' || this.windows.waitForAny(now) === 0
    while (this.line.size > 0 && isOpen()) {
      const waiter = this.line.take(({ request }) => this.waitFor(request, now) === 0)
      if (waiter === undefined) break
      waiter.go(this.reserved(waiter.request))
    }
    this.#scheduleWake(now)
  }

  #scheduleWake(now: number): void {
    this.stopWake()
    if (this.line.size === 0) return
    this.wakeIn(this.windows.waitForSilence(now))
    const all = this.windows.waitForAny(now)
    if (!Number.isFinite(all)) return
    let soonest = Number.POSITIVE_INFINITY
    for (const { request } of this.line) {
      soonest = Math.min(soonest, this.#waitForOwn(request, now))
      if (soonest <= all) break
    }
    this.wakeIn(Math.max(all, soonest))
  }

  /** Infinity sets no timer, because a response in flight will call pump. */
  protected wakeIn(ms: number): void {
    const at = performance.now() + ms
    if (at >= this.#wakesAt) return
    clearTimeout(this.#wake)
    this.#wakesAt = at
    this.#wake = setTimeout(() => this.pump(), Math.ceil(ms))
    this.#wake.unref()
  }

  protected stopWake(): void {
    clearTimeout(this.#wake)
    this.#wakesAt = Number.POSITIVE_INFINITY
  }
}

/** `usedUpMs`: how long the response asks to send nothing. */
type Learned = Readonly<{ reading: RateReading | undefined; usedUpMs?: number }>
