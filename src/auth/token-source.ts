// Keeps a valid token for each service account: renews it ahead of its end, one request at a time, and remembers failures.
import { LRUCache } from 'lru-cache'
import type { ServiceAccount } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { type IssuedToken, TokenFailure } from './request-token.ts'

/** The input of a token request. */
export interface TokenRequest {
  readonly account: ServiceAccount
  readonly signal: AbortSignal
  /** A token that the API refused with 401, and that must not be given again; undefined for none. Later ones take its place. */
  readonly refused: string | undefined
}

/** Makes one token request; throws TokenFailure. */
export type RequestToken = (request: TokenRequest) => Promise<IssuedToken>

/** What happened to an account's token, for logs and metrics. */
export type TokenEvent = Readonly<{ account: ServiceAccount; tookMs: number }> &
  (
    | Readonly<{ type: 'issued'; lifetimeMs: number }>
    /** `retryInMs` is undefined if no retry is scheduled: the next request that needs a token makes one. */
    | Readonly<{ type: 'failed'; failure: TokenFailure; retryInMs: number | undefined }>
  )

/** A token is renewed after this part of its lifetime. */
export const RENEW_AFTER = 0.75
/** The longest that a caller waits for a first token. */
const FIRST_TOKEN_WAIT_MS = 15_000
const FORCED_RENEWAL_INTERVAL_MS = 60_000
const IDLE_LIFETIMES = 2
const UNKNOWN_LIFETIME_MS = 900_000
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** All times are in ms; monotonic ones are of `performance.now()`. */
export type LiveToken = Readonly<ReturnType<typeof liveToken>>

/** `askedAt` is measured before the request is sent, so that the token is never older than we think. */
function liveToken({ value, lifetimeMs, ageMs = 0 }: IssuedToken, askedAt: number, askedAtWall: number) {
  // It ends a little early, so that it does not end on its way to the API.
  const usableMs = lifetimeMs - Math.min(5_000, lifetimeMs * 0.02)
  return {
    value,
    lifetimeMs,
    /** By the wall clock, for people. */
    obtainedAt: Date.now() - ageMs,
    /** Monotonic: from this time on it is renewed in the background. */
    renewAt: askedAt - ageMs + lifetimeMs * RENEW_AFTER,
    /** Monotonic: from this time on it is never sent. */
    endsAt: askedAt - ageMs + usableMs,
    /** The same end by the wall clock, because the monotonic clock stops while a laptop sleeps. */
    wallEndsAt: askedAtWall - ageMs + usableMs,
  }
}

function hasEnded(token: LiveToken, now: number): boolean {
  return now >= token.endsAt || Date.now() >= token.wallEndsAt
}

function isDue(token: LiveToken, now: number): boolean {
  return now >= token.renewAt || Date.now() >= token.wallEndsAt - (token.endsAt - token.renewAt)
}

/** What the status page shows about an account's token. */
export type TokenState = ReturnType<TokenSource['state']>

interface Waiter {
  readonly deadline: number
  readonly resolve: (token: LiveToken) => void
  readonly reject: (error: Error) => void
}

/** The newest token of each source. Its `fetch` makes one token request at a time for each. */
type TokenCache = LRUCache<TokenSource, LiveToken>

export class TokenSource {
  /** As in the configuration in force: a reload may give the same credentials another name. */
  account: ServiceAccount
  readonly #cache: TokenCache
  readonly #report: (event: TokenEvent) => void
  readonly #waiters = new Set<Waiter>()
  #timer: NodeJS.Timeout | undefined
  #attempting = false
  #tried = false
  #isClosed = false
  #isRetired = false
  /** Has another secret of the same client, since a reload. */
  #successor: TokenSource | undefined
  #lastUsedAt = 0
  #failures = 0
  #refusals = 0
  /** Monotonic: no token request begins before this time. While one is under way, it is past. */
  #nextAttemptAt = 0
  #lastFailure: Readonly<{ failure: TokenFailure; at: number }> | undefined
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
    if (this.#successor !== undefined) return this.#successor.current()
    const now = performance.now()
    this.#lastUsedAt = now
    const token = this.#live(now)
    const isRenewed = token !== undefined && !this.#isRetired && isDue(token, now)
    if (isRenewed && now >= this.#nextAttemptAt) void this.#attempt()
    return token
  }

  /** True while this token may be sent. */
  lives(token: LiveToken): boolean {
    if (this.#successor !== undefined) return this.#successor.lives(token)
    return token !== this.#dropped && !hasEnded(token, performance.now())
  }

  /** A token that the API refused with 401, and that must not be given again; undefined for none. */
  get refused(): string | undefined {
    return this.#dropped?.value
  }

  #live(now: number): LiveToken | undefined {
    const token = this.#newest()
    // Invariant: a token is never sent after its end, by either clock, nor after the API refused it.
    return token === undefined || token === this.#dropped || hasEnded(token, now) ? undefined : token
  }

  /** The newest token; it may have ended. */
  #newest(): LiveToken | undefined {
    return this.#cache.get(this)
  }

  /** Waits up to 15 s for a live token; throws `credentials_rejected`, `token_unavailable`, or the signal's reason. */
  get(signal?: AbortSignal): Promise<LiveToken> {
    if (this.#successor !== undefined) return this.#successor.get(signal)
    const token = this.current()
    if (token !== undefined) return Promise.resolve(token)
    if (this.#isClosed) return Promise.reject(this.#unavailable())
    if (signal?.aborted) return Promise.reject(signal.reason)
    const now = performance.now()
    if (now >= this.#nextAttemptAt) void this.#attempt()
    else if (this.#lastFailure?.failure.final || this.#nextAttemptAt > now + FIRST_TOKEN_WAIT_MS) {
      return Promise.reject(this.#unavailable())
    } else this.#schedule(this.#nextAttemptAt)
    return this.#wait(now + FIRST_TOKEN_WAIT_MS, signal)
  }

  async #wait(deadline: number, signal: AbortSignal | undefined): Promise<LiveToken> {
    const { promise, resolve, reject } = Promise.withResolvers<LiveToken>()
    const waiter = { deadline, resolve, reject }
    const onAbort = () => reject(signal?.reason)
    const timer = setTimeout(() => reject(this.#unavailable()), deadline - performance.now())
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#waiters.add(waiter)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      this.#waiters.delete(waiter)
    }
  }

  /**
   * After a 401 for `refused`: a promise for another token to send the request again with. Undefined if none may be
   * fetched, because a 401 caused a renewal less than a minute ago or a failure is being waited out; the token then stays.
   */
  replacement(refused: LiveToken, signal?: AbortSignal): Promise<LiveToken> | undefined {
    if (this.#successor !== undefined) return this.#successor.replacement(refused, signal)
    const now = performance.now()
    const live = this.#live(now)
    // By value: a login server may issue the same token again.
    if (live !== undefined && live.value !== refused.value) return Promise.resolve(live)
    if (this.#isClosed || now < this.#nextAttemptAt) return undefined
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
    if (this.current() === undefined && performance.now() >= this.#nextAttemptAt) void this.#attempt()
  }

  /** Forgets remembered failures, so that the next use asks the login server again (a reload does this). */
  forgetFailures(): void {
    this.#failures = 0
    this.#refusals = 0
    this.#nextAttemptAt = 0
  }

  /** `tried`: a token request was answered or failed since the start. */
  state() {
    return { token: this.#live(performance.now()), lastFailure: this.#lastFailure, tried: this.#tried }
  }

  /** Only calls under way still use it and its token, which is not renewed ahead of its end, and forgotten then. */
  retire(): void {
    this.#isRetired = true
    if (this.#newest() !== undefined && this.#waiters.size === 0) this.#forgetAtEnd()
  }

  #forgetAtEnd(): void {
    const endsAt = this.#newest()?.endsAt ?? 0
    if (performance.now() < endsAt) this.#schedule(endsAt)
    else this.#cache.delete(this)
  }

  /** Stops renewals and ends a token request that is under way. Calls under way use `successor` instead. */
  close(successor?: TokenSource): void {
    this.#isClosed = true
    this.#successor = successor
    clearTimeout(this.#timer)
    this.#cache.delete(this)
    for (const waiter of this.#waiters) {
      if (successor === undefined) waiter.reject(this.#unavailable())
      else successor.get().then(waiter.resolve, waiter.reject)
    }
  }

  /** Makes one token request, unless one is under way. Never throws. */
  async #attempt(): Promise<void> {
    if (this.#attempting || this.#isClosed) return
    this.#attempting = true
    clearTimeout(this.#timer)
    const askedAt = performance.now()
    const token = await this.#cache
      .fetch(this, { forceRefresh: true })
      .catch((error: unknown) =>
        error instanceof TokenFailure
          ? error
          : new TokenFailure('unreachable', 'the token request failed', { cause: error }),
      )
    this.#attempting = false
    this.#tried = true
    if (this.#isClosed || token === undefined) return
    const tookMs = performance.now() - askedAt
    if (token instanceof TokenFailure) this.#failed(token, tookMs)
    else this.#issued(token, tookMs)
  }

  #issued(token: LiveToken, tookMs: number): void {
    this.forgetFailures()
    this.#lastFailure = undefined
    this.#schedule(this.#isRetired ? token.endsAt : token.renewAt)
    this.#report({ type: 'issued', account: this.account, tookMs, lifetimeMs: token.lifetimeMs })
    for (const waiter of this.#waiters) waiter.resolve(token)
  }

  #failed(failure: TokenFailure, tookMs: number): void {
    const now = performance.now()
    this.#lastFailure = { failure, at: Date.now() }
    const waitMs = failure.final
      ? refusalMemoryMs(++this.#refusals)
      : tokenRetryDelayMs(++this.#failures, failure, Math.random())
    this.#nextAttemptAt = now + waitMs
    // Refused credentials are tried again for the next caller only, unless a token still lives.
    const isScheduled = !failure.final || this.#live(now) !== undefined
    if (isScheduled) this.#schedule(this.#nextAttemptAt)
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
      const idleMs = IDLE_LIFETIMES * (this.#newest()?.lifetimeMs ?? UNKNOWN_LIFETIME_MS)
      if (now < at) this.#schedule(at)
      else if (this.#waiters.size > 0 || (!this.#isRetired && now - this.#lastUsedAt <= idleMs)) {
        void this.#attempt()
      } else if (this.#isRetired) this.#forgetAtEnd()
    }, delay)
    this.#timer.unref()
  }

  /** The error for a request, after the last token request failed or while none has been answered. */
  #unavailable(): ProxyError {
    const { name, environment } = this.account
    const failure = this.#lastFailure?.failure
    const late = `No answer within ${FIRST_TOKEN_WAIT_MS / 1000} s.`
    const ended = 'The wait ended, because the configuration changed, or the proxy is stopping.'
    const reason = failure ? `${failure.message}.` : this.#isClosed ? ended : late
    const detail = `Service account ${name} (${environment.name}): ${reason}`
    if (failure?.final) return new ProxyError('credentials_rejected', detail, { cause: failure })
    return new ProxyError('token_unavailable', detail, {
      retryAfterSeconds: Math.max(1, Math.ceil((this.#nextAttemptAt - performance.now()) / 1000)),
      ...(failure && { cause: failure }),
      ...(failure?.help && { help: failure.help }),
      ...(failure?.proxyStatus && { proxyStatus: failure.proxyStatus }),
    })
  }
}

/**
 * Milliseconds to wait after a failure that may pass: 500 ms, doubling to 60 s, with jitter over the upper half, and at
 * least Retry-After, which counts for an hour at most. `failures` counts from 1; `random` is in [0, 1).
 */
export function tokenRetryDelayMs(failures: number, failure: TokenFailure, random: number): number {
  const ceiling = Math.min(60_000, 500 * 2 ** (failures - 1))
  const jittered = ceiling / 2 + (ceiling / 2) * random
  return Math.max(jittered, Math.min(failure.retryAfterMs ?? 0, 3_600_000))
}

/** How many milliseconds refused credentials are remembered: 30 s, doubling to 10 min. `refusals` counts from 1. */
export function refusalMemoryMs(refusals: number): number {
  return Math.min(600_000, 30_000 * 2 ** (refusals - 1))
}

/** With more accounts than this, the least recently used ones have to fetch a new token. */
const MOST_ACCOUNTS = 4096

/** The sources of all service accounts; those of equal keys are one. */
export class Tokens {
  readonly #sources = new Map<string, TokenSource>()
  readonly #cache: TokenCache
  readonly #report: (event: TokenEvent) => void

  constructor(request: RequestToken, report: (event: TokenEvent) => void) {
    this.#report = report
    this.#cache = new LRUCache<TokenSource, LiveToken>({
      max: MOST_ACCOUNTS,
      noDeleteOnFetchRejection: true,
      fetchMethod: async (source, _old, { signal }) => {
        const askedAt = performance.now()
        const askedAtWall = Date.now()
        const asked = {
          account: source.account,
          signal,
          get refused() {
            return source.refused
          },
        }
        const token = liveToken(await request(asked), askedAt, askedAtWall)
        if (!hasEnded(token, performance.now())) return token
        throw new TokenFailure('bad_body', "the login server's token had expired when it arrived")
      },
    })
  }

  /** The source of an account's tokens; accounts with equal keys share one. */
  source(account: ServiceAccount): TokenSource {
    let source = this.#sources.get(account.key)
    if (source === undefined) {
      source = new TokenSource(account, this.#cache, this.#report)
      this.#sources.set(account.key, source)
    }
    return source
  }

  sources(): Iterable<TokenSource> {
    return this.#sources.values()
  }

  /** Takes the names of these accounts, and forgets all others, after a reload. Calls under way end with the account that they began with. */
  retain(accounts: readonly ServiceAccount[]): void {
    // Of several accounts with one key the first counts, as after a start.
    const kept = new Map(accounts.toReversed().map((account) => [account.key, account]))
    for (const [key, source] of this.#sources) {
      const account = kept.get(key)
      if (account !== undefined) {
        source.account = account
        continue
      }
      this.#sources.delete(key)
      // Another secret of the same client is as good for those who wait.
      const { clientId, environment } = source.account
      const same = accounts.find(
        (one) => one.clientId === clientId && one.environment.apiUrl === environment.apiUrl,
      )
      if (same === undefined) source.retire()
      else source.close(this.source(same))
    }
  }

  close(): void {
    for (const source of this.#sources.values()) source.close()
    this.#sources.clear()
  }
}
