// Shares token requests between replicas: one asks the login server, and the others read the token from Redis.
import type { IssuedToken } from '../auth/request-token.ts'
import { TokenFailure, type TokenFailureReason } from '../auth/token-failure.ts'
import { RENEW_AFTER, type RequestToken, type TokenRequest } from '../auth/tokens.ts'
import { type Link, type Script, SharedDownError } from './redis-link.ts'
import { type Seal, sealOf } from './sealed.ts'
import { LOCK, READ, STORE, TOKEN_KEYS } from './token-scripts.ts'

/** A token request takes ten seconds at most; a lock whose owner died ends soon after. */
const LOCK_MS = 12_000
/** After a 401, all replicas together renew once in this time. */
const FORCED_INTERVAL_MS = 60_000
const POLL_MS = 100
/** Replicas that waited for a failed request share its failure. */
const FAILURE_MS = 5_000

interface StoredToken {
  readonly value: string
  readonly lifetimeMs: number
  /** Redis's time. */
  readonly issuedAt: number
}

interface StoredFailure {
  readonly reason: TokenFailureReason
  readonly message: string
  readonly retryAfterMs: number | undefined
  /** Redis's time. */
  readonly at: number
}

/** `prefix`: what all keys begin with; `replica`: this process's name in Redis. */
type SharedTokensOptions = Readonly<{ link: Link; prefix: string; replica: string }>

/** Makes token requests through Redis. If that does not work, acts as if the replica were alone. */
export function shareTokens(request: RequestToken, options: SharedTokensOptions): RequestToken {
  return async (asked) => {
    if (!options.link.isUp) return request(asked)
    try {
      return await new Exchange(request, asked, options).token()
    } catch (error) {
      if (error instanceof SharedDownError) return request(asked)
      throw error
    }
  }
}

/** One replica's request for one token. */
class Exchange {
  readonly #request: RequestToken
  readonly #asked: TokenRequest
  readonly #options: SharedTokensOptions
  readonly #seal: Seal
  readonly #keys: readonly string[]

  constructor(request: RequestToken, asked: TokenRequest, options: SharedTokensOptions) {
    this.#request = request
    this.#asked = asked
    this.#options = options
    this.#seal = sealOf(asked.account)
    this.#keys = TOKEN_KEYS.map((name) => `${options.prefix}:v1:{${this.#seal.name}}:${name}`)
  }

  async token(): Promise<IssuedToken> {
    const { refused, signal } = this.#asked
    let since: number | undefined
    for (;;) {
      const [now, sealed, failed] = (await this.#run(READ, [])) as [number, string, string]
      since ??= now
      const stored = this.#read<StoredToken>(sealed)
      if (stored !== undefined && stored.value !== refused && isFresh(stored, now)) return issued(stored, now)
      const failure = this.#read<StoredFailure>(failed)
      if (failure !== undefined && failure.at >= since) throw failureOf(failure)
      const isForced = stored !== undefined && stored.value === refused && isFresh(stored, now)
      const { replica } = this.#options
      const lock = [replica, LOCK_MS, sealed, isForced ? FORCED_INTERVAL_MS : 0]
      const fence = Number(await this.#run(LOCK, lock))
      if (fence > 0) return this.#logIn(fence, now)
      // The 401 that this token causes then reaches the caller.
      if (fence < 0 && stored !== undefined) return issued(stored, now)
      await sleep(POLL_MS * (0.75 + Math.random() / 2))
      signal.throwIfAborted()
    }
  }

  async #logIn(fence: number, now: number): Promise<IssuedToken> {
    try {
      const token = await this.#request(this.#asked)
      const stored: StoredToken = { value: token.value, lifetimeMs: token.lifetimeMs, issuedAt: now }
      await this.#store(fence, stored, token.lifetimeMs)
      return token
    } catch (error) {
      if (error instanceof TokenFailure) {
        const { reason, message, retryAfterMs } = error
        // By the time it began, so that those who came meanwhile share it, and those who come later try again.
        const at = now + Math.ceil(performance.now() - this.#startedAt)
        await this.#store(fence, { reason, message, retryAfterMs, at }, FAILURE_MS)
      }
      throw error
    }
  }

  readonly #startedAt = performance.now()

  /** What Redis can't keep, others have to ask for themselves. */
  async #store(fence: number, what: StoredToken | StoredFailure, keepMs: number): Promise<void> {
    const sealed = this.#seal.close(JSON.stringify(what))
    const kind = 'value' in what ? 'token' : 'failure'
    const args = [this.#options.replica, fence, sealed, Math.max(1, Math.floor(keepMs)), kind]
    await this.#run(STORE, args).catch(() => {})
  }

  #run(script: Script, args: readonly (string | number)[]): Promise<unknown> {
    return this.#options.link.run(script, this.#keys, args)
  }

  /** Undefined if there is none, or another secret sealed it. */
  #read<T>(sealed: string): T | undefined {
    const text = sealed === '' ? undefined : this.#seal.open(sealed)
    return text === undefined ? undefined : (JSON.parse(text) as T)
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}

function isFresh({ issuedAt, lifetimeMs }: StoredToken, now: number): boolean {
  return now < issuedAt + lifetimeMs * RENEW_AFTER
}

function issued({ value, lifetimeMs, issuedAt }: StoredToken, now: number): IssuedToken {
  return { value, lifetimeMs, ageMs: Math.max(0, now - issuedAt) }
}

function failureOf({ reason, message, retryAfterMs }: StoredFailure): TokenFailure {
  return new TokenFailure(reason, message, { retryAfterMs })
}
