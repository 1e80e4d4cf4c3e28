// The token cache: one entry a service account, kept in lru-cache, whose fetchMethod is the single flight.
import { LRUCache } from 'lru-cache'
import type { ServiceAccount } from '../config/config.ts'
import type { IssuedToken } from './request-token.ts'
import { type LiveToken, type TokenEvent, TokenSource } from './token-source.ts'

/** Makes one token request; throws TokenFailure. */
export type RequestToken = (account: ServiceAccount, signal: AbortSignal) => Promise<IssuedToken>

/** More accounts than this and the least used ones fetch their tokens anew. */
const MOST_ACCOUNTS = 4096
const RENEW_AFTER = 0.75
/** A token counts as ended a little early, so that it is not refused for the time it travels. */
const endMarginMs = (lifetimeMs: number) => Math.min(5_000, lifetimeMs * 0.02)

export class Tokens {
  readonly #sources = new Map<string, TokenSource>()
  readonly #cache: LRUCache<string, LiveToken, TokenSource>
  readonly #report: (event: TokenEvent) => void

  constructor(request: RequestToken, report: (event: TokenEvent) => void) {
    this.#report = report
    this.#cache = new LRUCache<string, LiveToken, TokenSource>({
      max: MOST_ACCOUNTS,
      ttl: 1, // each entry gets its own below; this only turns ttl tracking on
      ttlResolution: 0,
      noDeleteOnFetchRejection: true,
      perf: { now: () => performance.now() },
      fetchMethod: async (_key, _old, { signal, options, context }) => {
        // Measured from before the request left: the token is never older than we think.
        const sentAt = performance.now()
        const sentAtWall = Date.now()
        const issued = await request(context.account, signal)
        const usableMs = issued.lifetimeMs - endMarginMs(issued.lifetimeMs)
        options.ttl = Math.max(1, usableMs - (performance.now() - sentAt))
        return {
          value: issued.value,
          lifetimeMs: issued.lifetimeMs,
          obtainedAt: Date.now(),
          renewAt: sentAt + issued.lifetimeMs * RENEW_AFTER,
          endsAt: sentAt + usableMs,
          wallEndsAt: sentAtWall + usableMs,
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

  /** Closes the sources of all other accounts: what a reload left behind. */
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
