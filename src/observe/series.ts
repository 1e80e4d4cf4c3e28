// The last ten minutes of a company in buckets of ten seconds: statuses, latency and what was left of the rate budget.
import {
  countsByClass,
  increment,
  STATUS_CLASSES,
  type StatusCounts,
  statusClass,
} from './company-history.ts'
import type { Exchange } from './exchange.ts'
import { tenths } from './log.ts'

/** The last ten minutes of a company; all ids of `"*"` are one. */
export interface CompanySeries {
  readonly company: string
  readonly bucketSeconds: number
  /** Oldest first, without gaps; the last one is still being filled. */
  readonly buckets: readonly SeriesBucket[]
}

export interface SeriesBucket {
  /** Unix time in ms at which it begins. */
  readonly at: number
  /** `none`: no response was sent. */
  readonly counts: StatusCounts
  /** The whole duration, to within a quarter; null if there was no request. */
  readonly p50Ms: number | null
  readonly p95Ms: number | null
  /** The remaining rate budget at the first request of the bucket; in the last bucket, the current one. */
  readonly budgetRemaining: number | null
}

const BUCKETS = 60
export const BUCKET_MS = 10_000

/** Latencies are counted in classes, each a quarter wider than the one before: 0.5 ms to 20 minutes in 64 numbers. */
const LATENCY_CLASSES = 64
const CLASSES_PER_OCTAVE = 3
const LEAST_MS = 0.5

interface Bucket {
  readonly at: number
  readonly counts: Uint32Array
  readonly latencies: Uint32Array
  readonly budgetRemaining: number | undefined
}

export class Series {
  /** A ring, by the time at which a bucket begins. */
  readonly #buckets: (Bucket | undefined)[] = new Array(BUCKETS)

  /** Counts a request that has ended. `budgetRemaining` is asked once for each bucket. */
  add({ at, durationMs, status }: Exchange, budgetRemaining: () => number | undefined): void {
    const begin = Math.floor((at + durationMs) / BUCKET_MS) * BUCKET_MS
    const place = (begin / BUCKET_MS) % BUCKETS
    let bucket = this.#buckets[place]
    if (bucket?.at !== begin) {
      const counts = new Uint32Array(STATUS_CLASSES.length)
      const latencies = new Uint32Array(LATENCY_CLASSES)
      bucket = { at: begin, counts, latencies, budgetRemaining: budgetRemaining() }
      this.#buckets[place] = bucket
    }
    increment(bucket.counts, statusClass(status))
    increment(bucket.latencies, latencyClass(durationMs))
  }

  /** The buckets up to `now`, a Unix time in ms. */
  read(now: number, remainingNow: number | undefined): SeriesBucket[] {
    const last = now - (now % BUCKET_MS)
    return Array.from({ length: BUCKETS }, (_, index) => {
      const at = last - (BUCKETS - 1 - index) * BUCKET_MS
      const kept = this.#buckets[(at / BUCKET_MS) % BUCKETS]
      const bucket = kept?.at === at ? kept : undefined
      return {
        at,
        counts: countsByClass(bucket?.counts),
        p50Ms: quantile(bucket?.latencies, 0.5),
        p95Ms: quantile(bucket?.latencies, 0.95),
        budgetRemaining: (at === last ? remainingNow : bucket?.budgetRemaining) ?? null,
      }
    })
  }
}

function latencyClass(ms: number): number {
  if (ms <= LEAST_MS) return 0
  return Math.min(LATENCY_CLASSES - 1, Math.ceil(Math.log2(ms / LEAST_MS) * CLASSES_PER_OCTAVE))
}

/** The upper end of the class that holds the quantile. */
function quantile(latencies: Uint32Array | undefined, share: number): number | null {
  if (latencies === undefined) return null
  const wanted = Math.max(1, Math.ceil(latencies.reduce((sum, count) => sum + count, 0) * share))
  let seen = 0
  const found = latencies.findIndex((count) => {
    seen += count
    return seen >= wanted
  })
  return tenths(LEAST_MS * 2 ** (found / CLASSES_PER_OCTAVE))
}
