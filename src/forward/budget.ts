// What is left of a company's rate budget, learned from X-Rate-Limit-*, and who waits for it (CONTRACT section 6).
import type { RateLimitSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { FairQueue } from './fair-queue.ts'
import {
  type AnswerHeaders,
  askedWaitMs,
  headerValue,
  resetInMs,
  serverNowMs,
  wholeNumber,
} from './retry-policy.ts'

/** One of Procore's windows (hourly, ten seconds); each answer shows the one that is nearest to its end. */
interface Window {
  readonly limit: number
  /** Requests that it still allows, not counting those in flight. */
  left: number
  /** Monotonic ms; undefined until an answer says when. */
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

interface Waiter extends Entrant {
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
/** Spread over this time, so that several proxies of one budget don't start at the same moment. */
const JITTER_MS = 250

export class Budget {
  readonly #settings: RateLimitSettings
  readonly #windows = new Map<number, Window>()
  /** Endpoints that answered 429 while the budget was not used up: monotonic ms until they may be called again. */
  readonly #heldEndpoints = new Map<string, number>()
  readonly #queue = new FairQueue<Waiter>()
  /** The window of the newest answer. */
  #shown: Window | undefined
  #inFlight = 0
  /** An answer came: until then nobody knows how much there is, and only a few requests go up to find out. */
  #asked = false
  #wake: NodeJS.Timeout | undefined

  constructor(settings: RateLimitSettings) {
    this.#settings = settings
  }

  /** True where a request may go at once; it then counts as in flight. Never overtakes one that waits. */
  tryEnter(endpoint: string): boolean {
    if (this.#settings.whenExhausted !== 'pass') {
      if (this.#queue.size > 0 || this.#waitFor(endpoint, performance.now()) > 0) return false
    }
    this.#inFlight++
    return true
  }

  /** Waits for a turn; throws `rate_limited` where it can't come in time. The signal ends the wait. */
  enter(entrant: Entrant, signal: AbortSignal): Promise<void> {
    const now = performance.now()
    const wait = this.#waitFor(entrant.endpoint, now)
    if (wait === 0 && this.#queue.size === 0) {
      this.#inFlight++
      return Promise.resolve()
    }
    const exhausted = Number.isFinite(wait) ? wait : 0
    if (exhausted > 0 && this.#settings.whenExhausted === 'reject') {
      return Promise.reject(refused('The rate budget is used up.', exhausted))
    }
    if (now + exhausted > entrant.deadline) {
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
        ...entrant,
        go: () => {
          leave()
          resolve()
        },
        fail: (error) => {
          leave()
          reject(error)
          this.#pump()
        },
      }
      const onAbort = () => waiter.fail(refused('The caller went away.', 0))
      const timer = setTimeout(() => {
        const wait = this.#waitFor(entrant.endpoint, performance.now())
        waiter.fail(
          refused(
            'The rate budget did not recover within rateLimit.maxWait.',
            Number.isFinite(wait) ? wait : 0,
          ),
        )
      }, entrant.deadline - performance.now())
      signal.addEventListener('abort', onAbort, { once: true })
      this.#queue.add(entrant.caller, waiter)
      this.#scheduleWake()
    })
  }

  /** An answer came for a request that had entered: learns from it. */
  answered(endpoint: string, status: number, headers: AnswerHeaders): void {
    this.#inFlight--
    this.#asked = true
    const now = performance.now()
    const wallNow = Date.now()
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
    for (const other of this.#windows.values()) if (other.limit !== limit && other.left > 0) other.left--
    const resetsAt = resetIn === undefined ? undefined : now + resetIn
    const window = this.#windows.get(limit)
    if (window === undefined) {
      if (this.#windows.size >= MOST_WINDOWS) this.#windows.clear()
      this.#shown = { limit, left: remaining, resetsAt: jittered(resetsAt) }
      this.#windows.set(limit, this.#shown)
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

  #hold(
    endpoint: string,
    waitMs: number | undefined,
    limit: number | undefined,
    remaining: number | undefined,
    now: number,
  ): void {
    if (waitMs === undefined || this.#settings.whenExhausted === 'pass') return
    if (remaining !== undefined && remaining > 0) {
      if (this.#heldEndpoints.size >= MOST_ENDPOINTS) this.#heldEndpoints.clear()
      this.#heldEndpoints.set(endpoint, jittered(now + waitMs))
      return
    }
    const window = this.#windows.get(limit ?? 0) ?? { limit: limit ?? 0, left: 0, resetsAt: undefined }
    window.left = 0
    window.resetsAt = Math.max(window.resetsAt ?? 0, jittered(now + waitMs))
    this.#windows.set(window.limit, window)
  }

  /** Once its time has come a window is full again; how long it then runs, the next answer tells. */
  #renew(window: Window, now: number): void {
    if (window.resetsAt === undefined || now < window.resetsAt) return
    // Made up by a 429 without X-Rate-Limit-*: nothing is known of it but its end.
    if (window.limit === 0) this.#windows.delete(0)
    window.left = window.limit
    window.resetsAt = undefined
  }

  /** Ms until a request for this endpoint may go: 0 at once; Infinity where the answers in flight will tell. */
  #waitFor(endpoint: string, now: number): number {
    return Math.max(this.#waitForAny(now), this.#waitForEndpoint(endpoint, now))
  }

  #waitForEndpoint(endpoint: string, now: number): number {
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
    if (this.#queue.size === 0) return
    const now = performance.now()
    while (this.#waitForAny(now) === 0) {
      const waiter = this.#queue.take(({ endpoint }) => this.#waitForEndpoint(endpoint, now) === 0)
      if (waiter === undefined) break
      this.#inFlight++
      waiter.go()
    }
    this.#scheduleWake()
  }

  #scheduleWake(): void {
    clearTimeout(this.#wake)
    if (this.#queue.size === 0) return
    const now = performance.now()
    const all = this.#waitForAny(now)
    // An answer that is under way will pump.
    if (!Number.isFinite(all)) return
    let soonest = Number.POSITIVE_INFINITY
    if (this.#heldEndpoints.size === 0) soonest = 0
    else
      for (const { endpoint } of this.#queue)
        soonest = Math.min(soonest, this.#waitForEndpoint(endpoint, now))
    this.#wake = setTimeout(() => this.#pump(), Math.ceil(Math.max(all, soonest)))
    this.#wake.unref()
  }

  /** Requests that wait for their turn. */
  get waiting(): number {
    return this.#queue.size
  }

  state(): BudgetState {
    const now = performance.now()
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

function refused(detail: string, waitMs: number): ProxyError {
  return new ProxyError('rate_limited', detail, { retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) })
}
