// The rate budget of one service account and company: which request may be sent, and when.
import type { RateLimitSettings } from '../config/config.ts'
import { headerValue, type ResponseHead } from './call.ts'
import {
  HeldEndpoints,
  jittered,
  type RateReading,
  RateWindows,
  readingOf,
  wholeNumber,
} from './rate-windows.ts'
import { askedWaitMs } from './retry-policy.ts'
import { callerGone, rateLimited, refusalOf, TOO_LATE, WaitingLine } from './waiting-line.ts'

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

/** What the status page shows about a budget. */
export interface BudgetState {
  readonly limit: number | undefined
  readonly remaining: number | undefined
  readonly resetInMs: number | undefined
  readonly waiting: number
  readonly inFlight: number
}

/** A rate budget, either of this process alone or shared between replicas. */
export interface Budget {
  /**
   * Returns a reservation if the request may be sent immediately. It never overtakes a waiting request that may also
   * be sent.
   */
  tryReserve(request: BudgetRequest): Reservation | undefined
  /** Waits for a reservation; throws `rate_limited` if there is none in time. The signal ends the wait. */
  reserve(request: BudgetRequest, signal: AbortSignal): Promise<Reservation>
  /** The number of waiting requests. */
  readonly waiting: number
  /** True while requests have to wait for the whole budget. */
  readonly isExhausted: boolean
  state(): BudgetState
  /** Applies new settings. What is known about the budget stays, and so do the waiting requests. */
  configure(settings: RateLimitSettings): void
}

/** Even if Procore asks for a longer wait, a request is sent after an hour to find out whether it still applies. */
const LONGEST_HOLD_MS = 3_600_000
/** The machine has slept if the wall clock advanced by this much more than the monotonic clock. */
const SLEPT_MS = 5_000

/** The budget of a proxy that shares it with no other. */
export class LocalBudget implements Budget {
  #settings: RateLimitSettings
  readonly #windows = new RateWindows()
  readonly #endpoints = new HeldEndpoints()
  readonly #line = new WaitingLine()
  #wake: NodeJS.Timeout | undefined
  #wakesAt = Number.POSITIVE_INFINITY
  #sleptMs = 0
  #wallAheadMs = Date.now() - performance.now()

  constructor(settings: RateLimitSettings) {
    this.#settings = settings
  }

  configure(settings: RateLimitSettings): void {
    this.#settings = settings
    this.#pump()
  }

  get waiting(): number {
    return this.#line.size
  }

  get isExhausted(): boolean {
    return this.#windows.waitForAny(this.#now()) > 0
  }

  state(): BudgetState {
    const now = this.#now()
    const { limit, left, resetsAt } = this.#windows.shown(now) ?? {}
    return {
      limit,
      remaining: left,
      resetInMs: resetsAt === undefined ? undefined : Math.max(0, resetsAt - now),
      waiting: this.#line.size,
      inFlight: this.#windows.inFlight,
    }
  }

  tryReserve(request: BudgetRequest): Reservation | undefined {
    if (this.#waitFor(request, this.#now()) > 0) return undefined
    if (this.#line.size > 0) {
      // Waiting requests that may be sent now go first. The others wait only for their endpoint or share.
      this.#pump()
      if (this.#waitFor(request, this.#now()) > 0) return undefined
    }
    return this.#reserved(request)
  }

  reserve(request: BudgetRequest, signal: AbortSignal): Promise<Reservation> {
    if (signal.aborted) return Promise.reject(callerGone())
    const reservation = this.tryReserve(request)
    if (reservation !== undefined) return Promise.resolve(reservation)
    const wait = this.#waitFor(request, this.#now())
    const refusal = refusalOf(request, { waitMs: wait, waiting: this.#line.size, settings: this.#settings })
    if (refusal !== undefined) return Promise.reject(rateLimited(refusal, wait))
    const reserved = this.#line.join(request, signal, () =>
      rateLimited(TOO_LATE, this.#waitFor(request, this.#now())),
    )
    this.#wakeIn(wait)
    // Without a waiting request, no wake-up timer is needed.
    reserved.catch(() => this.#line.size === 0 && this.#stopWake())
    return reserved
  }

  /** Learns from a response whose request was not reserved here, as happens with a shared budget. */
  observe(endpoint: string, status: number, head: ResponseHead): void {
    const wallNow = Date.now()
    const now = this.#now(wallNow)
    const reading = readingOf(head, wallNow)
    if (reading === undefined) this.#windows.learnNothing()
    else this.#windows.learn(reading, now)
    const askedMs = status === 429 ? askedWaitMs(status, head, wallNow) : undefined
    if (askedMs !== undefined) this.#hold(endpoint, jittered(now + Math.min(askedMs, LONGEST_HOLD_MS)), head)
    this.#pump()
  }

  /**
   * From now on uses only 1/`parts` of the budget (1 for all of it), starting from what other replicas learned last.
   */
  split(parts: number, newest: RateReading | undefined): void {
    const now = this.#now()
    if (newest !== undefined) this.#windows.assume(newest, now)
    this.#windows.split(parts, now)
    this.#pump()
  }

  /** Releases the requests that wait here, so that they can wait for another budget. */
  handOver(to: Budget): void {
    for (const waiter of [...this.#line]) waiter.go(to.reserve(waiter.request, waiter.signal))
  }

  /** What is known about the rate windows. */
  readings(): RateReading[] {
    return this.#windows.readings(this.#now())
  }

  /** Monotonic milliseconds that also count while the machine sleeps; `performance.now()` and timers may stop then. */
  #now(wallNow = Date.now()): number {
    const now = performance.now()
    const wallAheadMs = wallNow - now
    if (wallAheadMs > this.#wallAheadMs + SLEPT_MS) this.#sleptMs += wallAheadMs - this.#wallAheadMs
    this.#wallAheadMs = wallAheadMs
    return now + this.#sleptMs
  }

  #reserved(request: BudgetRequest): Reservation {
    this.#windows.take(request.caller)
    return {
      answered: (status, head) => {
        this.#windows.release()
        this.observe(request.endpoint, status, head)
      },
      left: () => {
        this.#windows.release()
        this.#pump()
      },
    }
  }

  #hold(endpoint: string, until: number, head: ResponseHead): void {
    if (this.#settings.whenExhausted === 'pass') return
    const remaining = wholeNumber(headerValue(head, 'x-rate-limit-remaining'))
    if (remaining !== undefined && remaining > 0) this.#endpoints.hold(endpoint, until)
    else this.#windows.exhaust(wholeNumber(headerValue(head, 'x-rate-limit-limit')) ?? 0, until)
  }

  /** Milliseconds until this request may be sent: 0 for now, Infinity if that depends on responses in flight. */
  #waitFor(request: BudgetRequest, now: number): number {
    if (this.#settings.whenExhausted === 'pass') return 0
    return Math.max(this.#windows.waitForAny(now), this.#waitForOwn(request, now))
  }

  /** The same, for limits that hold back this request but not all others. */
  #waitForOwn({ endpoint, caller, share }: BudgetRequest, now: number): number {
    const wait = this.#endpoints.waitFor(endpoint, now)
    if (share === undefined) return wait
    const use = { caller, share, othersWait: this.#line.hasOthers(caller) }
    return Math.max(wait, this.#windows.waitForShare(use, now))
  }

  /**
   * Releases the requests that may be sent, in turn. Their promises settle later, so this function is not re-entered.
   */
  #pump(): void {
    if (this.#line.size === 0 && this.#wakesAt === Number.POSITIVE_INFINITY) return
    const now = this.#now()
    const isOpen = () => this.#settings.whenExhausted === 'pass' || this.#windows.waitForAny(now) === 0
    while (this.#line.size > 0 && isOpen()) {
      const waiter = this.#line.take((request) => this.#waitFor(request, now) === 0)
      if (waiter === undefined) break
      waiter.go(this.#reserved(waiter.request))
    }
    this.#scheduleWake(now)
  }

  #scheduleWake(now: number): void {
    this.#stopWake()
    if (this.#line.size === 0) return
    const all = this.#windows.waitForAny(now)
    if (!Number.isFinite(all)) return
    let soonest = Number.POSITIVE_INFINITY
    for (const { request } of this.#line) {
      soonest = Math.min(soonest, this.#waitForOwn(request, now))
      if (soonest <= all) break
    }
    this.#wakeIn(Math.max(all, soonest))
  }

  /** Infinity sets no timer, because a response in flight will call pump. */
  #wakeIn(ms: number): void {
    const at = performance.now() + ms
    if (at >= this.#wakesAt) return
    clearTimeout(this.#wake)
    this.#wakesAt = at
    this.#wake = setTimeout(() => this.#pump(), Math.ceil(ms))
    this.#wake.unref()
  }

  #stopWake(): void {
    clearTimeout(this.#wake)
    this.#wakesAt = Number.POSITIVE_INFINITY
  }
}
