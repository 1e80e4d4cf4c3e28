// Keeps the last requests, the last errors, and the last ten minutes of each company, for page and status.
import type { InspectorSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { headerValues } from '../routing/raw-request.ts'
import type { Bodies } from './excerpt.ts'
import type { Exchange } from './exchange.ts'
import { errorText, tenths } from './log.ts'
import { maskQuery } from './mask.ts'
import { countsByClass, increment, STATUS_CLASSES, type StatusCounts, statusClass } from './metrics.ts'
import { recordedBody } from './recorded-body.ts'
import {
  type HeaderChanges,
  type Kept,
  type RecordedDetail,
  type RecordedFailure,
  type RecordedRequest,
  shownRequest,
} from './recorded-request.ts'
import { EVERYTHING, seesCompany, seesRequest, type Viewer } from './viewer.ts'

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

/** What `/_proxy/status` shows of a request that went wrong. */
export interface RecordedError
  extends RecordedFailure,
    Pick<Exchange, 'at' | 'method' | 'company' | 'caller' | 'status'> {
  readonly id: string
  /** Query values are always masked. */
  readonly target: string
}

export interface RecorderDeps extends HeaderChanges {
  /** What is left of a company's rate budget, by the name that it counts under. */
  readonly budgetRemaining: (group: string) => number | undefined
}

const MOST_ERRORS = 20
/** The most memory for targets, headers and bodies, however many requests are kept. */
const MOST_BYTES = 4 * 1024 * 1024
const ENTRY_BYTES = 512
/** The most requests in one list; the newest ones are chosen. */
const MOST_LISTED = 200
const MOST_LISTED_BYTES = 1024 * 1024

interface Entry extends Kept {
  bodies: Bodies | undefined
  /** Roughly its size in memory, and as JSON. */
  bytes: number
}

export class Recorder {
  readonly #deps: RecorderDeps
  #settings: InspectorSettings
  #seq = 0
  /** Oldest first. */
  #entries: Entry[] = []
  #bytes = 0
  readonly #errors: Entry[] = []
  readonly #series = new Map<string, Series>()

  constructor(settings: InspectorSettings, deps: RecorderDeps) {
    this.#settings = settings
    this.#deps = deps
  }

  get enabled(): boolean {
    return this.#settings.enabled
  }

  /** Whether the beginnings of bodies are kept. */
  get keepsBodies(): boolean {
    return this.#settings.enabled && this.#settings.bodies
  }

  /** Applies new settings after a reload, and forgets what they do not allow. */
  configure(settings: InspectorSettings): void {
    this.#settings = settings
    for (const entry of settings.bodies ? [] : this.#entries) {
      const { cost = 0 } = entry.bodies ?? {}
      this.#bytes -= cost
      entry.bytes -= cost
      entry.bodies = undefined
    }
    if (settings.enabled) this.#forgetOldest()
    else {
      this.#entries = []
      this.#bytes = 0
      this.#series.clear()
    }
  }

  /** Keeps a request that has ended, unless it was for one of the proxy's own pages. */
  record(exchange: Exchange): void {
    const { status, cause, own } = exchange
    const hasFailed = cause === undefined ? status !== null && status >= 500 : cause !== 'caller_gone'
    if (!own && (this.#settings.enabled || hasFailed)) {
      const entry = this.#entryOf(exchange)
      if (hasFailed) {
        this.#errors.push(entry)
        if (this.#errors.length > MOST_ERRORS) this.#errors.shift()
      }
      if (this.#settings.enabled) this.#keep(entry)
    }
    // Invariant: no value of a caller's header outlives its request, and no error object, which may contain headers.
    exchange.rawHeaders = undefined
    exchange.bodies = undefined
    exchange.error = undefined
    exchange.errorBody = undefined
  }

  #entryOf(exchange: Exchange): Entry {
    const { rawHeaders = [], answerHeaders = [], target, upstreamUrl = '' } = exchange
    const bodies = this.keepsBodies ? exchange.bodies : undefined
    const names: string[] = []
    let bytes = ENTRY_BYTES + target.length + upstreamUrl.length + (bodies?.cost ?? 0)
    for (let at = 0; at < rawHeaders.length; at += 2) {
      const name = rawHeaders[at] as string
      names.push(name)
      bytes += name.length
    }
    for (const text of answerHeaders) bytes += text.length
    const [connection] = headerValues(rawHeaders, 'connection')
    return { seq: ++this.#seq, exchange, names, connection, failure: failureOf(exchange), bodies, bytes }
  }

  #keep(entry: Entry): void {
    this.#entries.push(entry)
    this.#bytes += entry.bytes
    this.#forgetOldest()
    const { group } = entry.exchange
    if (group === undefined) return
    const series = this.#series.get(group) ?? new Series()
    this.#series.set(group, series)
    series.add(entry.exchange, () => this.#deps.budgetRemaining(group))
  }

  #forgetOldest(): void {
    const { requests } = this.#settings
    while (this.#entries.length > requests || (this.#bytes > MOST_BYTES && this.#entries.length > 1)) {
      this.#bytes -= this.#entries.shift()?.bytes ?? 0
    }
  }

  /** The newest requests that the viewer may see and that came after `seq`, newest first: at most 200, and 1 MB. */
  requests(viewer: Viewer = EVERYTHING, after = 0): RecordedRequest[] {
    const shown: RecordedRequest[] = []
    let bytes = 0
    for (const entry of this.#entries.toReversed()) {
      if (entry.seq <= after || shown.length === MOST_LISTED) break
      if (!seesRequest(viewer, entry.exchange)) continue
      bytes += entry.bytes - (entry.bodies?.cost ?? 0)
      if (bytes > MOST_LISTED_BYTES && shown.length > 0) break
      shown.push(this.#shown(entry))
    }
    return shown
  }

  /**
   * One request with its bodies: the newest with this id, or the one with `seq`, because callers may use an id twice.
   */
  request(id: string, seq?: number, viewer: Viewer = EVERYTHING): RecordedDetail | undefined {
    const entry = this.#entries.findLast(
      ({ exchange, seq: own }) =>
        exchange.reqId === id && (seq === undefined || own === seq) && seesRequest(viewer, exchange),
    )
    if (entry === undefined) return undefined
    const { showQueryValues } = this.#settings
    return {
      ...this.#shown(entry),
      requestBody: recordedBody(entry.bodies?.request, showQueryValues),
      answerBody: recordedBody(entry.bodies?.answer, showQueryValues),
    }
  }

  #shown(entry: Entry): RecordedRequest {
    return shownRequest(entry, this.#deps, this.#settings.showQueryValues)
  }

  /** The last ten minutes of each company that was called and that the viewer may see. */
  series(viewer: Viewer = EVERYTHING): CompanySeries[] {
    return [...this.#series]
      .filter(([company]) => seesCompany(viewer, company))
      .map(([company, series]) => ({
        company,
        bucketSeconds: BUCKET_MS / 1000,
        buckets: series.read(Date.now(), this.#deps.budgetRemaining(company)),
      }))
  }

  /** The last requests that the proxy refused or that failed, newest first. Kept even if the inspector is off. */
  errors(viewer: Viewer = EVERYTHING): RecordedError[] {
    return this.#errors
      .filter(({ exchange }) => seesRequest(viewer, exchange))
      .toReversed()
      .map(({ exchange, failure }) => {
        const { at, reqId: id, method, target, company, caller, status } = exchange
        const procores = { code: 'upstream_status', detail: `Procore answered ${status}.`, help: undefined }
        return {
          ...(failure ?? procores),
          at,
          id,
          method,
          target: maskQuery(target),
          company,
          caller,
          status,
        }
      })
  }
}

/** The error as text, because an error object may contain headers. */
function failureOf({ cause, error }: Exchange): RecordedFailure | undefined {
  if (cause === undefined) return undefined
  if (error instanceof ProxyError) return { code: error.code, detail: error.message, help: error.help }
  const detail = error === undefined ? 'The caller closed its connection.' : errorText(error)
  return { code: cause, detail, help: undefined }
}
