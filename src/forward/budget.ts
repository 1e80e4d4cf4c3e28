// What is left of a company's rate budget, learned from X-Rate-Limit-*, and who waits for it (CONTRACT section 6).
import type { RateLimitSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import type { AnswerHead } from '../http1/handler.ts'
import { headerValue } from '../http1/read-head.ts'
import { FairQueue } from './fair-queue.ts'
import { askedWaitMs, resetInMs, serverNowMs, wholeNumber } from './retry-policy.ts'

/** One of Procore's windows (hourly, ten seconds); each answer shows the one that is nearest to its end. */
interface Window {
  readonly limit: number
  /** Requests that it still allows, not counting those in flight. */
  left: number
  /** By `#now`; undefined until an answer says when. */
  resetsAt: number | undefined
}

/** A request that wants to go up. */
export interface Entrant {
  /** Method and path: what a 429 of one endpoint holds back. */
  readonly endpoint: string
  /** Whose turn it uses: the listener and client key it came by. */
  readonly caller: string
  /** Monotonic ms: it waits no longer than this. */
  readonly deadline: number
}

interface Waiter {
  readonly endpoint: string
  readonly go: () => void
  readonly fail: (error: ProxyError) => void
}

/** What the status page shows. */
export interface BudgetState {
  readonly limit: number | undefined
  readonly remaining: number | undefined
  readonly resetInMs: number | undefined
  readonly waiting: number
  readonly inFlight: number
}

/** Reset times are whole seconds: answers of one window may differ by this much. */
const SAME_WINDOW_MS = 1_500
const MOST_BEFORE_AN_ANSWER = 16
const MOST_WINDOWS = 8
const MOST_ENDPOINTS = 1_000
/** However long Procore asks for: after so much the next request finds out whether it still holds. */
const LONGEST_HOLD_MS = 3_600_000
/** The wall clock went on by so much without the monotonic one: the machine slept. */
const SLEPT_MS = 5_000
/** Spread over this time, so that several proxies of one budget don't start at the same moment. */
const JITTER_MS = 250

export class Budget {
  readonly #settings: RateLimitSettings
  readonly #windows = new Map<number, Window>()
  /** Endpoints that answered 429 while the budget was not used up: until when (`#now`) they may not be called. */
  readonly #heldEndpoints = new Map<string, number>()
  readonly #queue = new FairQueue<Waiter>()
  /** The window of the newest answer. */
  #shown: Window | undefined
  #inFlight = 0
  /** An answer came: until then nobody knows how much there is, and only a few requests go up to find out. */
  #asked = false
  #wake: NodeJS.Timeout | undefined
  #wakesAt = Number.POSITIVE_INFINITY
  #sleptMs = 0
  #wallAheadMs = Date.now() - performance.now()

  constructor(settings: RateLimitSettings) {
    this.#settings = settings
  }

  /** Monotonic ms that go on while the machine sleeps, when performance.now and timers may stand still. */
  #now(wallNow = Date.now()): number {
    const now = performance.now()
    const wallAheadMs = wallNow - now
    if (wallAheadMs > this.#wallAheadMs + SLEPT_MS) this.#sleptMs += wallAheadMs - this.#wallAheadMs
    this.#wallAheadMs = wallAheadMs
    return now + this.#sleptMs
  }

  /** True where a request may go at once; it then counts as in flight. Never overtakes one that may go too. */
  tryEnter(endpoint: string): boolean {
    if (!this.#mayGo(endpoint)) return false
    this.#inFlight++
    return true
  }

  #mayGo(endpoint: string): boolean {
    if (this.#settings.whenExhausted === 'pass') return true
    if (this.#waitFor(endpoint, this.#now()) > 0) return false
    if (this.#queue.size === 0) return true
    // Whoever waits and may go goes first; the rest waits for its endpoints alone, and is in nobody's way.
    this.#pump()
    return this.#waitFor(endpoint, this.#now()) === 0
  }

  /** Waits for a turn; throws `rate_limited` where it can't come in time. The signal ends the wait. */
  enter(entrant: Entrant, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(callerGone())
    if (this.tryEnter(entrant.endpoint)) return Promise.resolve()
    const wait = this.#waitFor(entrant.endpoint, this.#now())
    const exhausted = Number.isFinite(wait) ? wait : 0
    if (exhausted > 0 && this.#settings.whenExhausted === 'reject') {
      return Promise.reject(refused('The rate budget is used up.', exhausted))
    }
    if (performance.now() + exhausted > entrant.deadline) {
      return Promise.reject(
        refused('Waiting for the rate budget would take longer than rateLimit.maxWait.', exhausted),
      )
    }
    if (this.#queue.size >= this.#settings.maxQueued) {
      return Promise.reject(
        refused('rateLimit.maxQueued requests wait for the rate budget already.', exhausted),
      )
    }
    return this.#join(entrant, signal)
  }

  #join(entrant: Entrant, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        this.#queue.remove(entrant.caller, waiter)
      }
      const waiter: Waiter = {
        endpoint: entrant.endpoint,
        go: () => {
          leave()
          resolve()
        },
        fail: (error) => {
          leave()
          reject(error)
          if (this.#queue.size === 0) this.#stopWake()
        },
      }
      const onAbort = () => waiter.fail(callerGone())
      const timer = setTimeout(() => {
        const wait = this.#waitFor(entrant.endpoint, this.#now())
        waiter.fail(
          refused(
            'The rate budget did not recover within rateLimit.maxWait.',
            Number.isFinite(wait) ? wait : 0,
          ),
        )
      }, entrant.deadline - performance.now())
      signal.addEventListener('abort', onAbort, { once: true })
      this.#queue.add(entrant.caller, waiter)
      this.#wakeIn(this.#waitFor(entrant.endpoint, this.#now()))
    })
  }

  /** An answer came for a request that had entered: learns from it. */
  answered(endpoint: string, status: number, headers: AnswerHead): void {
    this.#inFlight--
    this.#asked = true
    const wallNow = Date.now()
    const now = this.#now(wallNow)
    const limit = wholeNumber(headerValue(headers, 'x-rate-limit-limit'))
    const remaining = wholeNumber(headerValue(headers, 'x-rate-limit-remaining'))
    if (limit !== undefined && remaining !== undefined && limit > 0) {
      this.#learn(limit, remaining, resetInMs(headers, serverNowMs(headers, wallNow)), now)
    }
    if (status === 429) this.#hold(endpoint, askedWaitMs(status, headers, wallNow), limit, remaining, now)
    this.#pump()
  }

  /** A request that had entered got no answer. */
  left(): void {
    this.#inFlight--
    this.#pump()
  }

  #learn(limit: number, remaining: number, resetIn: number | undefined, now: number): void {
    // What this answer's request used of the windows that it does not show.
    for (const other of this.#windows.values()) {
      if (other.limit === limit) continue
      if (other.left > 0) other.left--
      // Near to its end it would have been shown: it has begun anew, unseen.
      if (other.left <= 0 && other.resetsAt === undefined) this.#windows.delete(other.limit)
    }
    const resetsAt = resetIn === undefined ? undefined : now + resetIn
    const window = this.#windows.get(limit)
    if (window === undefined) {
      for (const known of this.#windows.values()) {
        // The same window, whose limit was changed meanwhile.
        const apart = Math.abs((known.resetsAt ?? Number.NaN) - (resetsAt ?? Number.NaN))
        if (known.limit !== 0 && apart <= SAME_WINDOW_MS) this.#windows.delete(known.limit)
      }
      this.#shown = { limit, left: remaining, resetsAt: jittered(resetsAt) }
      this.#add(this.#shown)
      return
    }
    this.#shown = window
    this.#renew(window, now)
    const begins =
      resetsAt !== undefined && (window.resetsAt === undefined || resetsAt > window.resetsAt + SAME_WINDOW_MS)
    // An answer of a window that has ended meanwhile tells nothing of the one that runs.
    const past = resetsAt !== undefined && !begins && resetsAt < (window.resetsAt ?? 0) - SAME_WINDOW_MS
    if (past || resetIn === 0) return
    if (begins) window.resetsAt = jittered(resetsAt)
    // In one window what is left only falls: of answers that overtake each other, the lowest is right.
    window.left = begins || resetsAt === undefined ? remaining : Math.min(window.left, remaining)
  }

  #add(window: Window): void {
    if (this.#windows.size >= MOST_WINDOWS) this.#windows.clear()
    this.#windows.set(window.limit, window)
  }

  #hold(
    endpoint: string,
    askedMs: number | undefined,
    limit: number | undefined,
    remaining: number | undefined,
    now: number,
  ): void {
    if (askedMs === undefined || this.#settings.whenExhausted === 'pass') return
    const until = jittered(now + Math.min(askedMs, LONGEST_HOLD_MS))
    if (remaining !== undefined && remaining > 0) {
      const [oldest] = this.#heldEndpoints.keys()
      if (oldest !== undefined && this.#heldEndpoints.size >= MOST_ENDPOINTS)
        this.#heldEndpoints.delete(oldest)
      this.#heldEndpoints.set(endpoint, until)
      return
    }
    const window = this.#windows.get(limit ?? 0)
    if (window === undefined) this.#add({ limit: limit ?? 0, left: 0, resetsAt: until })
    else {
      window.left = 0
      window.resetsAt = Math.max(window.resetsAt ?? 0, until)
    }
  }

  /** Once its time has come a window is full again; how long it then runs, the next answer tells. */
  #renew(window: Window, now: number): void {
    if (window.resetsAt === undefined || now < window.resetsAt) return
    // Made up by a 429 without X-Rate-Limit-*: nothing is known of it but its end.
    if (window.limit === 0) this.#windows.delete(0)
    window.left = window.limit === 0 ? Number.POSITIVE_INFINITY : window.limit
    window.resetsAt = undefined
  }

  /** Ms until a request for this endpoint may go: 0 at once; Infinity where the answers in flight will tell. */
  #waitFor(endpoint: string, now: number): number {
    return Math.max(this.#waitForAny(now), this.#waitForEndpoint(endpoint, now))
  }

  #waitForEndpoint(endpoint: string, now: number): number {
    if (this.#heldEndpoints.size === 0) return 0
    const held = this.#heldEndpoints.get(endpoint)
    if (held === undefined) return 0
    if (held > now) return held - now
    this.#heldEndpoints.delete(endpoint)
    return 0
  }

  #waitForAny(now: number): number {
    let until = 0
    let inFlightBound = !this.#asked && this.#inFlight >= MOST_BEFORE_AN_ANSWER
    for (const window of this.#windows.values()) {
      this.#renew(window, now)
      if (window.left - this.#inFlight >= 1) continue
      // Used up, without a word when it starts anew: one request at a time finds out.
      if (window.left <= 0 && window.resetsAt !== undefined) until = Math.max(until, window.resetsAt)
      else if (this.#inFlight > 0) inFlightBound = true
    }
    if (until > now) return until - now
    return inFlightBound ? Number.POSITIVE_INFINITY : 0
  }

  /** Lets go who may go, in turn; those whose endpoint is held are passed over. */
  #pump(): void {
    if (this.#queue.size === 0 && this.#wakesAt === Number.POSITIVE_INFINITY) return
    const now = this.#now()
    while (this.#queue.size > 0 && this.#waitForAny(now) === 0) {
      const waiter = this.#queue.take(({ endpoint }) => this.#waitForEndpoint(endpoint, now) === 0)
      if (waiter === undefined) break
      this.#inFlight++
      waiter.go()
    }
    this.#scheduleWake()
  }

  #scheduleWake(): void {
    this.#stopWake()
    if (this.#queue.size === 0) return
    const now = this.#now()
    const all = this.#waitForAny(now)
    if (this.#heldEndpoints.size === 0 || !Number.isFinite(all)) {
      this.#wakeIn(all)
      return
    }
    let soonest = Number.POSITIVE_INFINITY
    for (const { endpoint } of this.#queue) soonest = Math.min(soonest, this.#waitForEndpoint(endpoint, now))
    this.#wakeIn(Math.max(all, soonest))
  }

  /** Infinity: an answer that is under way will pump. */
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

  /** Requests that wait for their turn. */
  get waiting(): number {
    return this.#queue.size
  }

  state(): BudgetState {
    const now = this.#now()
    for (const window of this.#windows.values()) this.#renew(window, now)
    const { limit, left, resetsAt } = this.#shown ?? {}
    return {
      limit,
      remaining: left,
      resetInMs: resetsAt === undefined ? undefined : Math.max(0, resetsAt - now),
      waiting: this.#queue.size,
      inFlight: this.#inFlight,
    }
  }
}

function jittered(at: number): number
function jittered(at: number | undefined): number | undefined
function jittered(at: number | undefined): number | undefined {
  return at === undefined ? undefined : at + Math.random() * JITTER_MS
}

function callerGone(): ProxyError {
  return refused('The caller went away.', 0)
}

function refused(detail: string, waitMs: number): ProxyError {
  return new ProxyError('rate_limited', detail, { retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) })
}
