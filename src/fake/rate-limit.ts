// Procore's two request budgets, hourly and spike, for each client and company (rate_limiting.md).

/** Requests allowed in an hour and in ten seconds; `Infinity` for no limit. */
export interface RateLimitOptions {
  hourly?: number
  spike?: number
  /** Length of the spike window; default 10. */
  spikeSeconds?: number
}

/** The budget nearest exhaustion after a request was counted. */
export interface RateReading {
  readonly limit: number
  readonly remaining: number
  /** When the window ends, in whole seconds since 1970. */
  readonly reset: number
  /** This request was one too many. */
  readonly exceeded: boolean
}

interface Window {
  readonly limit: number
  readonly lengthMs: number
  startedAt: number
  used: number
}

/** Counts requests. A window starts with its first request and not on the clock, so tests never straddle one. */
export class RateLimits {
  readonly #windows = new Map<string, Window[]>()
  readonly #hourly: number
  readonly #spike: number
  readonly #spikeMs: number
  readonly #now: () => number

  constructor(options: RateLimitOptions, now: () => number) {
    this.#hourly = options.hourly ?? 3600
    this.#spike = options.spike ?? 100
    this.#spikeMs = (options.spikeSeconds ?? 10) * 1000
    this.#now = now
  }

  /** Counts one request of this client in this company; undefined where neither window has a limit. */
  spend(clientId: string, companyId: string): RateReading | undefined {
    const now = this.#now()
    const key = JSON.stringify([clientId, companyId])
    const windows = this.#windows.get(key) ?? this.#open(key)
    for (const window of windows) {
      if (now >= window.startedAt + window.lengthMs) {
        window.startedAt = now
        window.used = 0
      }
    }
    const exceeded = windows.some((window) => window.used >= window.limit)
    if (!exceeded) for (const window of windows) window.used += 1
    const nearest = windows.reduce((a, b) => (b.limit - b.used < a.limit - a.used ? b : a))
    if (nearest.limit === Number.POSITIVE_INFINITY) return undefined
    return {
      limit: nearest.limit,
      remaining: nearest.limit - nearest.used,
      reset: Math.ceil((nearest.startedAt + nearest.lengthMs) / 1000),
      exceeded,
    }
  }

  #open(key: string): Window[] {
    const windows = [
      { limit: this.#spike, lengthMs: this.#spikeMs, startedAt: Number.NEGATIVE_INFINITY, used: 0 },
      { limit: this.#hourly, lengthMs: 3_600_000, startedAt: Number.NEGATIVE_INFINITY, used: 0 },
    ]
    this.#windows.set(key, windows)
    return windows
  }
}
