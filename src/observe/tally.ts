// Plain counters of what went through, by company: the request path only adds numbers, the metrics page reads them.
import type { Exchange, RetryReason } from './exchange.ts'

/** What a status counts under; `none`: no answer was sent. */
export const STATUS_CLASSES = ['2xx', '3xx', '4xx', '5xx', 'none'] as const
export type StatusClass = (typeof STATUS_CLASSES)[number]

/** `read` is GET, HEAD and OPTIONS. */
export const METHOD_CLASSES = ['read', 'write'] as const

export const RETRY_REASONS: readonly RetryReason[] = ['401', '429', '503', 'connection']

/** The index in {@link STATUS_CLASSES}. */
export function statusClass(status: number | null): number {
  if (status === null) return 4
  return status < 300 ? 0 : status < 400 ? 1 : status < 500 ? 2 : 3
}

/** Upper bounds in seconds, of histograms of durations. */
export const DURATION_BOUNDS: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120,
]

/** How many durations fell under each bound and over the one before; the last place is for those over all of them. */
export class Durations {
  readonly counts = new Float64Array(DURATION_BOUNDS.length + 1)
  sumSeconds = 0

  add(ms: number): void {
    const seconds = ms / 1000
    this.sumSeconds += seconds
    let place = 0
    while (place < DURATION_BOUNDS.length && seconds > (DURATION_BOUNDS[place] as number)) place++
    this.counts[place] = (this.counts[place] as number) + 1
  }
}

/** All that was counted of one company. */
export class Tally {
  /** By method class, and within by status class. */
  readonly requests = new Float64Array(METHOD_CLASSES.length * STATUS_CLASSES.length)
  readonly duration = new Durations()
  readonly upstream = new Durations()
  readonly retries = new Float64Array(RETRY_REASONS.length)
  bytesIn = 0
  bytesOut = 0

  add(exchange: Exchange): void {
    const { method, status, durationMs, upstreamMs, retryReasons } = exchange
    const read = method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
    const place = (read ? 0 : STATUS_CLASSES.length) + statusClass(status)
    this.requests[place] = (this.requests[place] as number) + 1
    this.duration.add(durationMs)
    if (upstreamMs !== undefined) this.upstream.add(upstreamMs)
    this.bytesIn += exchange.bytesIn
    this.bytesOut += exchange.bytesOut
    if (retryReasons === undefined) return
    for (const reason of retryReasons) {
      const index = RETRY_REASONS.indexOf(reason)
      this.retries[index] = (this.retries[index] as number) + 1
    }
  }

  /** How many requests of a status class, of either method class. */
  requestsOf(status: StatusClass): number {
    const index = STATUS_CLASSES.indexOf(status)
    return (this.requests[index] as number) + (this.requests[STATUS_CLASSES.length + index] as number)
  }
}
