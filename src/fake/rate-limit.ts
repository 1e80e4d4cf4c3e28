// Procore's two rate limits, hourly and spike, for each client and company (rate_limiting.md).

/** Requests allowed in an hour and in ten seconds; `Infinity` for no limit. */
export interface RateLimitOptions {
  hourly?: number
  spike?: number
  /** Length of the spike window; default 10. */
  spikeSeconds?: number
}

/** The budget that is closest to exhaustion after a request was counted. */
export interface RateReading {
  readonly limit: number
  readonly remaining: number
  /** When the window ends, in whole seconds since 1970. */
  readonly reset: number
  /** True if this request exceeded the limit. */
  readonly exceeded: boolean
}

interface Window {
  readonly limit: number
  readonly lengthMs: number
  startedAt: number
  used: number
}

/** Counts requests. A window starts with its first request, so that no test runs across a boundary. */
export class RateLimits {
  readonly #windows = new Map<string, Window[]>()
  readonly #sizes: readonly Pick<Window, 'limit' | 'lengthMs'>[]
  readonly #now: () => number

  constructor({ hourly = 3600, spike = 100, spikeSeconds = 10 }: RateLimitOptions, now: () => number) {
    const spikes = { limit: spike, lengthMs: spikeSeconds * 1000 }
    this.#sizes = [spikes, { limit: hourly, lengthMs: 3_600_000 }]
    this.#now = now
  }

  /** Counts one request of this client in this company; undefined if neither window has a limit. */
  spend(clientId: string, companyId: string): RateReading | undefined {
    const now = this.#now()
    const key = JSON.stringify([clientId, companyId])
    const windows =
      this.#windows.get(key) ?? this.#sizes.map((size) => ({ ...size, startedAt: now, used: 0 }))
    this.#windows.set(key, windows)
    for (const window of windows) {
      if (now >= window.startedAt + window.lengthMs) Object.assign(window, { startedAt: now, used: 0 })
    }
    const exceeded = windows.some(({ used, limit }) => used >= limit)
    if (!exceeded) for (const window of windows) window.used += 1
    const left = ({ limit, used }: Window) => limit - used
    const scarcest = windows.reduce((a, b) => (left(b) < left(a) ? b : a))
    const { limit, startedAt, lengthMs } = scarcest
    if (limit === Number.POSITIVE_INFINITY) return undefined
    return { limit, remaining: left(scarcest), reset: Math.ceil((startedAt + lengthMs) / 1000), exceeded }
  }
}
