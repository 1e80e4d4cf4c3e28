// The token cache: one entry per service account in an lru-cache, whose fetchMethod makes one request at a time.
import { LRUCache } from 'lru-cache'
import type { ServiceAccount } from '../config/config.ts'
import type { IssuedToken } from './request-token.ts'
import { type LiveToken, type TokenEvent, TokenSource } from './token-source.ts'

/** The input of a token request. */
export interface TokenRequest {
  readonly account: ServiceAccount
  readonly signal: AbortSignal
  /** A token that the API refused with 401, and that must not be given again; undefined for none. */
  readonly refused: string | undefined
}

/** Makes one token request; throws TokenFailure. */
export type RequestToken = (request: TokenRequest) => Promise<IssuedToken>

/** With more accounts than this, the least recently used ones have to fetch a new token. */
const MOST_ACCOUNTS = 4096
/** A token is renewed after this part of its lifetime. */
export const RENEW_AFTER = 0.75
/** A token ends a little early, so that it does not end on its way to the API. */
const endMarginMs = (lifetimeMs: number) => Math.min(5_000, lifetimeMs * 0.02)

export class Tokens {
  readonly #sources = new Map<string, TokenSource>()
  readonly #cache: LRUCache<string, LiveToken, TokenSource>
  readonly #report: (event: TokenEvent) => void

  constructor(request: RequestToken, report: (event: TokenEvent) => void) {
    this.#report = report
    this.#cache = new LRUCache<string, LiveToken, TokenSource>({
      max: MOST_ACCOUNTS,
      ttl: 1, // Enables lifetimes; each entry gets its own below.
      ttlResolution: 0,
      noDeleteOnFetchRejection: true,
      perf: performance,
      fetchMethod: async (_key, _old, { signal, options, context }) => {
        // Measured before the request is sent, so that the token is never older than we think.
        const askedAt = performance.now()
        const askedAtWall = Date.now()
        const { account, refused } = context
        const issued = await request({ account, signal, refused })
        const { value, lifetimeMs, ageMs = 0 } = issued
        const issuedAt = askedAt - ageMs
        const usableMs = lifetimeMs - endMarginMs(lifetimeMs)
        options.ttl = Math.max(1, issuedAt + usableMs - performance.now())
        return {
          value,
          lifetimeMs,
          issuedAt,
          obtainedAt: Date.now() - ageMs,
          renewAt: issuedAt + lifetimeMs * RENEW_AFTER,
          endsAt: issuedAt + usableMs,
          wallEndsAt: askedAtWall - ageMs + usableMs,
        }
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

  /** Every account's source. */
  sources(): Iterable<TokenSource> {
    return this.#sources.values()
  }

  /** Closes the sources of all other accounts, after a reload. */
  retain(accounts: readonly ServiceAccount[]): void {
    const keys = new Set(accounts.map((account) => account.key))
    for (const [key, source] of this.#sources) {
      if (keys.has(key)) continue
      this.#sources.delete(key)
      source.close()
    }
  }

  close(): void {
    this.retain([])
  }
}
