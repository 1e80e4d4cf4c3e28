// Keeps a valid token for one service account: renews it ahead of its end, one request at a time, and remembers
// failures.
import type { LRUCache } from 'lru-cache'
import type { ServiceAccount } from '../config/config.ts'
import type { ProxyError } from '../errors.ts'
import { refusalMemoryMs, retryDelayMs } from './backoff.ts'
import { TokenFailure } from './token-failure.ts'
import { callerLeft, FIRST_TOKEN_WAIT_MS, tokenUnavailable } from './token-unavailable.ts'

/** Monotonic times are of `performance.now()`; all times are in ms. */
export interface LiveToken {
  readonly value: string
  readonly lifetimeMs: number
  /** Monotonic: when it was requested. */
  readonly issuedAt: number
  /** The same by the wall clock, for people. */
  readonly obtainedAt: number
  /** Monotonic: from this time on it is renewed in the background. */
  readonly renewAt: number
  /** Monotonic: from this time on it is never sent. */
  readonly endsAt: number
  /** The same end by the wall clock, because the monotonic clock stops while a laptop sleeps. */
  readonly wallEndsAt: number
}

/** Whether a token may no longer be sent. */
export function hasEnded(token: LiveToken, now: number): boolean {
  return now >= token.endsAt || Date.now() >= token.wallEndsAt
}

/** Whether a token should be renewed. */
export function isDue(token: LiveToken, now: number): boolean {
  return now >= token.renewAt || Date.now() >= token.wallEndsAt - (token.endsAt - token.renewAt)
}

/** A token's age in ms; never negative, whatever happens to the wall clock. */
export function ageMs(token: LiveToken): number {
  return Math.max(0, performance.now() - token.issuedAt)
}

/** What happened to an account's token, for logs and metrics. */
export type TokenEvent =
  | {
      readonly type: 'issued'
      readonly account: ServiceAccount
      readonly tookMs: number
      readonly lifetimeMs: number
    }
  | {
      readonly type: 'failed'
      readonly account: ServiceAccount
      readonly tookMs: number
      readonly failure: TokenFailure
      /** Undefined if no retry is scheduled: the next request that needs a token makes one. */
      readonly retryInMs: number | undefined
    }

/** The cache's entries by account key; its `fetchMethod` makes one token request with the source as context. */
export type TokenCache = LRUCache<string, LiveToken, TokenSource>

/**
 * What the status page shows about an account's token. `tried`: a token request was answered or failed since the
 * start.
 */
export interface TokenState {
  readonly token: LiveToken | undefined
  readonly lastFailure: { readonly failure: TokenFailure; readonly at: number } | undefined
  readonly tried: boolean
}

const FORCED_RENEWAL_INTERVAL_MS = 60_000
const IDLE_LIFETIMES = 2
const UNKNOWN_LIFETIME_MS = 900_000
const LONGEST_TIMER_MS = 2 ** 31 - 1

interface Waiter {
  readonly deadline: number
  readonly resolve: (token: LiveToken) => void
  readonly reject: (error: ProxyError) => void
}

export class TokenSource {
  readonly account: ServiceAccount
  readonly #cache: TokenCache
  readonly #report: (event: TokenEvent) => void
  readonly #waiters = new Set<Waiter>()
  #timer: NodeJS.Timeout | undefined
  #attempting = false
  #attemptedAt = 0
  #closed = false
  #tried = false
  #lastUsedAt = 0
  #lifetimeMs = UNKNOWN_LIFETIME_MS
  #failures = 0
  #refusals = 0
  /** Monotonic: no token request before this time. */
  #nextAttemptAt = 0
  #lastFailure: { failure: TokenFailure; at: number } | undefined
  /** The token that the API refused with 401; it is never sent again. */
  #dropped: LiveToken | undefined
  #lastForcedAt = Number.NEGATIVE_INFINITY

  constructor(account: ServiceAccount, cache: TokenCache, report: (event: TokenEvent) => void) {
    this.account = account
    this.#cache = cache
    this.#report = report
  }

  /** The live token, or undefined if the caller has to wait for one. Starts a renewal that is due, but never waits. */
  current(): LiveToken | undefined {
    const now = performance.now()
    this.#lastUsedAt = now
    const token = this.#live(now)
    if (token !== undefined && isDue(token, now) && now >= this.#nextAttemptAt) this.#attempt()
    return token
  }

  /** True while this token may be sent. */
  lives(token: LiveToken): boolean {
    return token !== this.#dropped && !hasEnded(token, performance.now())
  }

  /** The value of the last token that the API refused with 401. It must not be taken from another replica again. */
  get refused(): string | undefined {
    return this.#dropped?.value
  }

  #live(now: number): LiveToken | undefined {
    const token = this.#cache.get(this.account.key)
    // Invariant: a token is never sent after its end, by either clock, nor after the API refused it.
    return token === undefined || token === this.#dropped || hasEnded(token, now) ? undefined : token
  }

  /** Waits up to 15 s for a live token; throws `credentials_rejected` or `token_unavailable`. */
  get(signal?: AbortSignal): Promise<LiveToken> {
    const token = this.current()
    if (token !== undefined) return Promise.resolve(token)
    if (this.#closed) return Promise.reject(this.#unavailable())
    if (signal?.aborted) return Promise.reject(callerLeft())
    const now = performance.now()
    if (!this.#attempting) {
      if (now >= this.#nextAttemptAt) this.#attempt()
      else if (this.#lastFailure?.failure.final || this.#nextAttemptAt > now + FIRST_TOKEN_WAIT_MS) {
        return Promise.reject(this.#unavailable())
      } else this.#schedule(this.#nextAttemptAt)
    }
    return this.#wait(now + FIRST_TOKEN_WAIT_MS, signal)
  }

  #wait(deadline: number, signal: AbortSignal | undefined): Promise<LiveToken> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        this.#waiters.delete(waiter)
      }
      const waiter: Waiter = {
        deadline,
        resolve: (token) => {
          leave()
          resolve(token)
        },
        reject: (error) => {
          leave()
          reject(error)
        },
      }
      const onAbort = () => waiter.reject(callerLeft())
      const timer = setTimeout(() => waiter.reject(this.#unavailable()), deadline - performance.now())
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiters.add(waiter)
    })
  }

  /**
   * After a 401 for `refused`: a promise for another token to send the request again with. Undefined if none may be
   * fetched, because a 401 caused a renewal less than a minute ago or a failure is being waited out; the token then stays.
   */
  replacement(refused: LiveToken, signal?: AbortSignal): Promise<LiveToken> | undefined {
    const now = performance.now()
    const live = this.#live(now)
    // By value: a login server may issue the same token again.
    if (live !== undefined && live.value !== refused.value) return Promise.resolve(live)
    if (this.#closed || (!this.#attempting && now < this.#nextAttemptAt)) return undefined
    if (live !== undefined) {
      if (now - this.#lastForcedAt < FORCED_RENEWAL_INTERVAL_MS) return undefined
      this.#lastForcedAt = now
      this.#dropped = live
    }
    const token = this.get(signal)
    // The request that asked may not wait for this, because its body may not be repeatable.
    token.catch(() => {})
    return token
  }

  /** Fetches a token if there is none. Counts as use of the account. Failures are reported, not thrown. */
  prefetch(): void {
    if (this.current() === undefined && !this.#attempting && performance.now() >= this.#nextAttemptAt) {
      this.#attempt()
    }
  }

  /** Forgets remembered failures, so that the next use asks the login server again (a reload does this). */
  forgetFailures(): void {
    this.#failures = 0
    this.#refusals = 0
    this.#nextAttemptAt = 0
  }

  /** One token request was answered or failed since the start. */
  get tried(): boolean {
    return this.#tried
  }

  state(): TokenState {
    return { token: this.#live(performance.now()), lastFailure: this.#lastFailure, tried: this.#tried }
  }

  /** Stops renewals and ends a token request that is under way. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#cache.delete(this.account.key)
    for (const waiter of this.#waiters) waiter.reject(this.#unavailable())
  }

  #attempt(): void {
    if (this.#attempting || this.#closed) return
    this.#attempting = true
    this.#attemptedAt = performance.now()
    clearTimeout(this.#timer)
    this.#cache.fetch(this.account.key, { forceRefresh: true, context: this }).then(
      (token) => this.#settled(() => token !== undefined && this.#issued(token)),
      (error: unknown) =>
        this.#settled(() =>
          this.#failed(
            error instanceof TokenFailure
              ? error
              : new TokenFailure('unreachable', 'the token request failed', { cause: error }),
          ),
        ),
    )
  }

  #settled(then: () => void): void {
    this.#attempting = false
    this.#tried = true
    if (!this.#closed) then()
  }

  #issued(token: LiveToken): void {
    if (hasEnded(token, performance.now())) {
      this.#failed(new TokenFailure('bad_body', "the login server's token had expired when it arrived"))
      return
    }
    this.forgetFailures()
    this.#lastFailure = undefined
    this.#lifetimeMs = token.lifetimeMs
    this.#schedule(token.renewAt)
    const tookMs = performance.now() - this.#attemptedAt
    this.#report({ type: 'issued', account: this.account, tookMs, lifetimeMs: token.lifetimeMs })
    for (const waiter of this.#waiters) waiter.resolve(token)
  }

  #failed(failure: TokenFailure): void {
    const now = performance.now()
    this.#lastFailure = { failure, at: Date.now() }
    const waitMs = failure.final
      ? refusalMemoryMs(++this.#refusals)
      : retryDelayMs(++this.#failures, failure, Math.random())
    this.#nextAttemptAt = now + waitMs
    // Refused credentials are tried again for the next caller only, unless a token still lives.
    const isScheduled = !failure.final || this.#live(now) !== undefined
    if (isScheduled) this.#schedule(this.#nextAttemptAt)
    const tookMs = now - this.#attemptedAt
    const retryInMs = isScheduled ? waitMs : undefined
    this.#report({ type: 'failed', account: this.account, tookMs, failure, retryInMs })
    for (const waiter of this.#waiters) {
      if (failure.final || waiter.deadline < this.#nextAttemptAt) waiter.reject(this.#unavailable())
    }
  }

  #schedule(at: number): void {
    clearTimeout(this.#timer)
    const delay = Math.min(LONGEST_TIMER_MS, Math.max(0, at - performance.now()))
    this.#timer = setTimeout(() => {
      const now = performance.now()
      if (now < at) this.#schedule(at)
      else if (!this.#idle(now)) this.#attempt()
    }, delay)
    this.#timer.unref()
  }

  #idle(now: number): boolean {
    return this.#waiters.size === 0 && now - this.#lastUsedAt > IDLE_LIFETIMES * this.#lifetimeMs
  }

  #unavailable(): ProxyError {
    const retryInMs = this.#nextAttemptAt - performance.now()
    return tokenUnavailable(this.account, this.#lastFailure?.failure, retryInMs)
  }
}
