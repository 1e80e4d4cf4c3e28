// Counts requests: for the metrics, and for each company since the start and in the last ten minutes.
import type { TokenEvent } from '../auth/token-source.ts'
import { ProxyError } from '../errors.ts'
import { isRead } from '../guards/access.ts'
import { type Exchange, isProcores, type SavedBy } from './exchange.ts'
import { causeText, type LikelyCause, likelyCauses } from './likely-causes.ts'
import { type Logger, tenths } from './log.ts'
import type { MetricsRegistry } from './metrics-registry.ts'
import type { LastReload, Live } from './status.ts'
import type { Viewer } from './viewer.ts'

/** The class that a status counts under; `none` if no response was sent. */
export const STATUS_CLASSES = ['2xx', '3xx', '4xx', '5xx', 'none'] as const
export type StatusClass = (typeof STATUS_CLASSES)[number]
type StatusCounts = Record<StatusClass, number>

function statusClass(status: number | null): StatusClass {
  if (status === null) return 'none'
  return status < 300 ? '2xx' : status < 400 ? '3xx' : status < 500 ? '4xx' : '5xx'
}

function noRequests(): StatusCounts {
  return { '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0, none: 0 }
}

// --- since the start ---------------------------------------------------------------------------------------------------

/** No status and company is warned of more often than this. */
const WARNING_INTERVAL_MS = 10 * 60_000

class Company {
  readonly requests = noRequests()
  /** Requests that did not have to go to Procore. */
  readonly saved: Record<SavedBy, number> = { coalesced: 0, kept: 0, refusal: 0 }
  /** Procore's consecutive 401, 403 and 404; undefined if its last response was another. `at` is a Unix time in ms. */
  refusals: { status: number; count: number; at: number; causes: readonly LikelyCause[] } | undefined
  /** When the log was last warned of a status, in ms of `performance.now()`. */
  readonly warnedAt = new Map<number, number>()
}

/** Companies by the name that their requests count under. */
export class CompanyHistory {
  readonly #log: Logger
  readonly #companies = new Map<string, Company>()
  readonly #callers = new Map<string, number>()

  constructor(log: Logger) {
    this.#log = log
  }

  /** Counts a request that has ended. Warns about a refusal, once in ten minutes for each company and status. */
  add(exchange: Exchange): void {
    const { group, status, caller, saved } = exchange
    if (caller !== undefined) this.#callers.set(caller, this.requestsOfCaller(caller) + 1)
    if (group === undefined) return
    const company = this.of(group)
    this.#companies.set(group, company)
    if (saved !== undefined) company.saved[saved]++
    company.requests[statusClass(status)]++
    if (status === null || !isProcores(exchange)) return
    if (status === 401 || status === 403 || status === 404) this.#refused(company, exchange, status)
    else if (status < 400) company.refusals = undefined
  }

  #refused(company: Company, exchange: Exchange, status: number): void {
    const causes = exchange.refusal === undefined ? likelyCauses(status) : [exchange.refusal]
    company.refusals = { status, count: (company.refusals?.count ?? 0) + 1, at: Date.now(), causes }
    const now = performance.now()
    if (now - (company.warnedAt.get(status) ?? Number.NEGATIVE_INFINITY) < WARNING_INTERVAL_MS) return
    company.warnedAt.set(status, now)
    this.#log.warn(
      { reqId: exchange.reqId, company: exchange.company, status, causes: causes.map(causeText) },
      `Procore answered ${status}: likely causes`,
    )
  }

  of(group: string): Company {
    return this.#companies.get(group) ?? new Company()
  }

  /** How many requests a caller with a name has made. */
  requestsOfCaller(name: string): number {
    return this.#callers.get(name) ?? 0
  }
}

// --- in the last ten minutes -------------------------------------------------------------------------------------------

const BUCKETS = 60
export const BUCKET_MS = 10_000
/** Latencies are counted in classes, each a quarter wider than the one before: 0.5 ms to 20 minutes in 64 numbers. */
const LATENCY_CLASSES = 64
const CLASSES_PER_OCTAVE = 3
const LEAST_MS = 0.5

interface Bucket {
  readonly at: number
  readonly counts: StatusCounts
  readonly latencies: Uint32Array
  readonly budgetRemaining: number | undefined
}

/** The last ten minutes of a company; all ids of `"*"` are one. */
export class Series {
  /** A ring, by the Unix time in ms at which a bucket begins. */
  readonly #buckets: (Bucket | undefined)[] = new Array(BUCKETS)

  /** Counts a request that has ended. `budgetRemaining` is asked once for each bucket. */
  add({ at, durationMs, status }: Exchange, budgetRemaining: () => number | undefined): void {
    const begin = Math.floor((at + durationMs) / BUCKET_MS) * BUCKET_MS
    const place = (begin / BUCKET_MS) % BUCKETS
    let bucket = this.#buckets[place]
    if (bucket?.at !== begin) {
      const latencies = new Uint32Array(LATENCY_CLASSES)
      bucket = { at: begin, counts: noRequests(), latencies, budgetRemaining: budgetRemaining() }
      this.#buckets[place] = bucket
    }
    const latency = latencyClass(durationMs)
    bucket.counts[statusClass(status)]++
    bucket.latencies[latency] = (bucket.latencies[latency] as number) + 1
  }

  /**
   * The buckets up to `now`, a Unix time in ms: oldest first, without gaps; the last one is still being filled.
   * Latencies are whole durations, to within a quarter; null if there was no request.
   */
  read(now: number, remainingNow: number | undefined) {
    const last = now - (now % BUCKET_MS)
    return Array.from({ length: BUCKETS }, (_, index) => {
      const at = last - (BUCKETS - 1 - index) * BUCKET_MS
      const kept = this.#buckets[(at / BUCKET_MS) % BUCKETS]
      const bucket = kept?.at === at ? kept : undefined
      return {
        at,
        counts: { ...(bucket?.counts ?? noRequests()) },
        p50Ms: quantile(bucket?.latencies, 0.5),
        p95Ms: quantile(bucket?.latencies, 0.95),
        /** At the first request of the bucket; in the last bucket, the current one. */
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

// --- for the metrics ---------------------------------------------------------------------------------------------------

/** The `company` of requests without one: refused ones, and those for the proxy's own pages. Never a company's name. */
export const NO_COMPANY = '_proxy'
/** How many events are remembered before prom-client is loaded to count them. */
const MOST_EARLY = 1_000
/** If it cannot be loaded, the oldest beyond these are not counted. */
const MOST_KEPT = 10 * MOST_EARLY

type Event = (registry: MetricsRegistry) => void

/** Counts for the metrics page. prom-client takes 13 MB, so it is loaded when it is first needed. */
export class Metrics {
  readonly #open: () => Promise<MetricsRegistry>
  #registry: MetricsRegistry | undefined
  /** What happened before the registry was there. */
  #early: Event[] = []

  /** `importRegistry` loads prom-client. */
  constructor(
    live: () => Live,
    lastReload: () => LastReload | undefined,
    importRegistry = () => import('./metrics-registry.ts'),
  ) {
    this.#open = async () => new (await importRegistry()).MetricsRegistry(live, lastReload)
  }

  /** A request has ended. */
  add(exchange: Exchange): void {
    const { group: company = NO_COMPANY, caller = '', method, saved: by, upstreamMs, error } = exchange
    const { durationMs, bytesIn, bytesOut, retryReasons = [] } = exchange
    const status = statusClass(exchange.status)
    const code = error instanceof ProxyError ? error.code : undefined
    this.#record((registry) => {
      registry.add('requests', { company, caller, method: isRead(method) ? 'read' : 'write', status })
      registry.observe('duration', company, durationMs / 1000)
      if (upstreamMs !== undefined) registry.observe('upstreamDuration', company, upstreamMs / 1000)
      if (bytesIn > 0) registry.add('bytesIn', { company }, bytesIn)
      if (bytesOut > 0) registry.add('bytesOut', { company }, bytesOut)
      for (const reason of retryReasons) registry.add('retries', { company, reason })
      if (by !== undefined) registry.add('saved', { company, by })
      if (code !== undefined) registry.add('errors', { code })
    })
  }

  /** A token was issued, or a token request failed. */
  addToken(event: TokenEvent): void {
    const { name, environment } = event.account
    const labels = { account: name, environment: environment.name }
    this.#record((registry) => {
      if (event.type === 'issued') registry.add('tokensIssued', labels)
      else registry.add('tokenFailures', { ...labels, reason: event.failure.reason })
    })
  }

  /** The page in the Prometheus text format. Rejects if prom-client cannot be loaded; the next scrape tries again. */
  async text(viewer: Viewer): Promise<{ readonly text: string; readonly type: string }> {
    return (await this.#load()).text(viewer)
  }

  /** Stops watching the event loop. */
  close(): void {
    this.#registry?.close()
  }

  #record(event: Event): void {
    if (this.#registry !== undefined) {
      event(this.#registry)
      return
    }
    this.#early.push(event)
    // If that fails, it is tried again after as many events.
    if (this.#early.length % MOST_EARLY === 0) this.#load().catch(() => {})
    if (this.#early.length > MOST_KEPT) this.#early.splice(0, MOST_EARLY)
  }

  async #load(): Promise<MetricsRegistry> {
    const opened = await this.#open()
    this.#registry ??= opened
    for (const event of this.#early.splice(0)) event(this.#registry)
    return this.#registry
  }
}
