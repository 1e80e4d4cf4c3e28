// Remembers the last requests and the last ten minutes of each company, for the status page; costs next to nothing.
import { listenText } from '../config/addresses.ts'
import type { InspectorSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import type { Bodies } from './excerpt.ts'
import type { Exchange, RetryReason } from './exchange.ts'
import { errorText } from './log.ts'
import { maskHeader, maskQuery } from './mask.ts'
import { type RecordedBody, recordedBody } from './recorded-body.ts'
import { STATUS_CLASSES, type StatusClass, statusClass } from './tally.ts'

/** A request that has ended, ready to be shown. Holds no request header's value, and masks what may be secret. */
export interface RecordedRequest {
  /** Grows by one with each request: ask for what came after the last one you know. */
  readonly seq: number
  readonly id: string
  /** Unix time in ms at which it came in. */
  readonly at: number
  /** The address it came in by, as configured. */
  readonly listener: string | undefined
  readonly method: string
  /** Query values are `*` unless `inspector.showQueryValues`. */
  readonly target: string
  /** The company's name, or its id under `"*"`. */
  readonly company: string | undefined
  readonly why: string | undefined
  /** Names of the headers that were put on; none where nothing was sent to Procore. */
  readonly added: readonly string[]
  /** Names of the caller's headers that were not sent on; none where nothing was sent to Procore. */
  readonly removed: readonly string[]
  /** Null where the caller left, or the connection broke, before an answer. */
  readonly status: number | null
  /** Set where the proxy answered by itself or broke off. */
  readonly error: RecordedFailure | undefined
  readonly timing: Timing
  /** One reason for each time it was sent again. */
  readonly retries: readonly RetryReason[]
  readonly bytesIn: number
  readonly bytesOut: number
  /** As passed to the caller; query values in URLs are masked unless `inspector.showQueryValues`. */
  readonly responseHeaders: readonly (readonly [name: string, value: string])[]
  /** Procore's own X-Request-Id: what its support asks for. */
  readonly procoreRequestId: string | undefined
  /** The beginnings of its bodies are kept: {@link Recorder.request} shows them. */
  readonly bodies: boolean
}

/** With the bodies, which no list carries; undefined where there was none, or `inspector.bodies` is off. */
export interface RecordedDetail extends RecordedRequest {
  /** As the caller sent it. */
  readonly requestBody: RecordedBody | undefined
  /** As passed to the caller; an answer of the proxy's own is not kept. */
  readonly answerBody: RecordedBody | undefined
}

/** `code` is an error code of docs/errors.md, or `caller_gone`. */
export interface RecordedFailure {
  readonly code: string
  readonly detail: string
  readonly help: string | undefined
}

/** Where the time went, in ms; the parts may come to less than the whole. */
export interface Timing {
  /** Waited for the rate budget, or for as long as Procore asked. */
  readonly queuedMs: number
  readonly tokenMs: number
  /** Waited for a connection; tries before the last are in it too. */
  readonly connectMs: number
  /** From sending to the first byte of the answer; undefined where none came. */
  readonly upstreamMs: number | undefined
  /** From the first byte of the answer to its end. */
  readonly bodyMs: number | undefined
  readonly totalMs: number
}

/** What `/_proxy/status` shows of a request that went wrong. */
export interface RecordedError extends RecordedFailure {
  readonly at: number
  readonly id: string
  readonly method: string
  /** Query values are always masked. */
  readonly target: string
  readonly company: string | undefined
  readonly status: number | null
}

/** The last ten minutes of a company; all ids of `"*"` are one. */
export interface CompanySeries {
  readonly company: string
  readonly bucketSeconds: number
  /** Oldest first, without gaps; the last one is still being filled. */
  readonly buckets: readonly SeriesBucket[]
}

export interface SeriesBucket {
  /** Unix time in ms of its beginning. */
  readonly at: number
  /** `none`: no answer was sent. */
  readonly counts: Readonly<Record<StatusClass, number>>
  /** Of the whole duration, within a quarter; null where there was no request. */
  readonly p50Ms: number | null
  readonly p95Ms: number | null
  /** What was left of the rate budget at the first request of the bucket; in the last bucket, what is left now. */
  readonly budgetRemaining: number | null
}

export interface RecorderDeps {
  /** Names of the headers that the forwarder puts on. */
  readonly added: (askedGzip: boolean) => readonly string[]
  /** Which of the caller's headers it does not send on. */
  readonly removed: (names: readonly string[], connection: string | undefined) => string[]
  /** What is left of a company's rate budget, by the name it counts under. */
  readonly budgetRemaining: (company: string) => number | undefined
}

const BUCKETS = 60
const BUCKET_MS = 10_000
const MOST_ERRORS = 20
/** However many requests are to be kept: no more than this of targets, headers and bodies. */
const MOST_BYTES = 4 * 1024 * 1024
const ENTRY_BYTES = 512

/** What is kept of a request; made into a {@link RecordedRequest} when it is read. */
interface Entry {
  readonly seq: number
  readonly exchange: Exchange
  readonly names: readonly string[]
  readonly connection: string | undefined
  readonly failure: RecordedFailure | undefined
  bodies: Bodies | undefined
  bytes: number
}

export class Recorder {
  readonly #deps: RecorderDeps
  #settings: InspectorSettings
  #seq = 0
  /** By `seq` modulo its length. */
  #ring: (Entry | undefined)[]
  #oldest = 1
  #bytes = 0
  #names: readonly string[] = []
  readonly #series = new Map<string, Series>()
  readonly #errors: Entry[] = []

  constructor(settings: InspectorSettings, deps: RecorderDeps) {
    this.#settings = settings
    this.#deps = deps
    this.#ring = new Array(settings.requests)
  }

  get enabled(): boolean {
    return this.#settings.enabled
  }

  /** The beginnings of bodies are remembered. */
  get keepsBodies(): boolean {
    return this.#settings.enabled && this.#settings.bodies
  }

  /** Takes other settings over (a reload does this); what they don't allow is forgotten. */
  configure(settings: InspectorSettings): void {
    const kept = settings.enabled ? this.#entries().slice(-settings.requests) : []
    this.#settings = settings
    this.#ring = new Array(settings.requests)
    for (const entry of kept) this.#ring[entry.seq % settings.requests] = entry
    this.#oldest = kept[0]?.seq ?? this.#seq + 1
    if (!settings.bodies) for (const entry of kept) forgetBodies(entry)
    this.#bytes = kept.reduce((sum, { bytes }) => sum + bytes, 0)
    if (!settings.enabled) this.#series.clear()
  }

  /** Remembers a request that has ended, unless it was for one of the proxy's own pages. */
  record(exchange: Exchange): void {
    const { status, cause } = exchange
    const failure = cause === undefined ? undefined : failureOf(cause, exchange.error)
    const failed = cause === undefined ? status !== null && status >= 500 : cause !== 'caller_gone'
    if (!exchange.own && (this.#settings.enabled || failed)) this.#keep(exchange, failure, failed)
    // Invariant: no value of a caller's header, and no error with what it may carry, outlives its request.
    exchange.rawHeaders = undefined
    // What comes of a body from here on is added to nothing.
    exchange.bodies = undefined
    exchange.error = undefined
  }

  #keep(exchange: Exchange, failure: RecordedFailure | undefined, failed: boolean): void {
    const { rawHeaders = [], answerHeaders = [], group } = exchange
    let connection: string | undefined
    let bytes = ENTRY_BYTES + exchange.target.length
    const names = this.#namesOf(rawHeaders)
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const name = rawHeaders[i] as string
      bytes += name.length
      if (name.length === 10 && name.toLowerCase() === 'connection') connection = rawHeaders[i + 1]
    }
    for (let i = 0; i < answerHeaders.length; i++) bytes += (answerHeaders[i] as string).length
    let entry: Entry = {
      seq: ++this.#seq,
      exchange,
      names,
      connection,
      failure,
      bodies: undefined,
      bytes,
    }
    if (failed) {
      this.#errors.push(entry)
      if (this.#errors.length > MOST_ERRORS) this.#errors.shift()
    }
    if (!this.#settings.enabled) {
      this.#oldest = this.#seq + 1
      return
    }
    const { length } = this.#ring
    // It may have been switched off meanwhile.
    if (exchange.bodies !== undefined && this.#settings.bodies) {
      entry = { ...entry, bodies: exchange.bodies, bytes: bytes + exchange.bodies.cost }
    }
    this.#bytes += entry.bytes
    while (this.#seq - this.#oldest >= length || (this.#bytes > MOST_BYTES && this.#oldest < this.#seq)) {
      const slot = this.#oldest++ % length
      this.#bytes -= (this.#ring[slot] as Entry).bytes
      this.#ring[slot] = undefined
    }
    this.#ring[this.#seq % length] = entry
    if (group === undefined) return
    let series = this.#series.get(group)
    if (series === undefined) {
      series = new Series()
      this.#series.set(group, series)
    }
    series.add(exchange, () => this.#deps.budgetRemaining(group))
  }

  /** Of the request before, where it had the same in the same order, as most requests of a caller do. */
  #namesOf(rawHeaders: readonly string[]): readonly string[] {
    const last = this.#names
    let nth = 0
    while (nth < last.length && last[nth] === rawHeaders[nth * 2]) nth++
    if (nth !== last.length || nth * 2 !== rawHeaders.length) {
      this.#names = rawHeaders.filter((_, place) => place % 2 === 0)
    }
    return this.#names
  }

  /** The requests that are remembered, newest first; those after `seq` alone. */
  requests(after = 0): RecordedRequest[] {
    return this.#entries()
      .filter(({ seq }) => seq > after)
      .reverse()
      .map((entry) => this.#shown(entry))
  }

  /** One of them, with its bodies: the newest of this id, or that of `seq` where callers use an id twice. */
  request(id: string, seq?: number): RecordedDetail | undefined {
    const entry = this.#entries().findLast((one) => {
      return one.exchange.reqId === id && (seq === undefined || one.seq === seq)
    })
    if (entry === undefined) return undefined
    const { showQueryValues } = this.#settings
    return {
      ...this.#shown(entry),
      requestBody: recordedBody(entry.bodies?.request, showQueryValues),
      answerBody: recordedBody(entry.bodies?.answer, showQueryValues),
    }
  }

  /** The last ten minutes of each company that was called. */
  series(): CompanySeries[] {
    return [...this.#series].map(([company, series]) => ({
      company,
      bucketSeconds: BUCKET_MS / 1000,
      buckets: series.read(Date.now(), this.#deps.budgetRemaining(company)),
    }))
  }

  /** The last requests that the proxy refused or that failed, newest first; also where the inspector is off. */
  errors(): RecordedError[] {
    return this.#errors.toReversed().map(({ exchange, failure }) => ({
      ...(failure ?? {
        code: 'upstream_status',
        detail: `Procore answered ${exchange.status}.`,
        help: undefined,
      }),
      at: exchange.at,
      id: exchange.reqId,
      method: exchange.method,
      target: maskQuery(exchange.target),
      company: exchange.company,
      status: exchange.status,
    }))
  }

  #entries(): Entry[] {
    const entries: Entry[] = []
    for (let seq = this.#oldest; seq <= this.#seq; seq++) {
      const entry = this.#ring[seq % this.#ring.length]
      if (entry !== undefined) entries.push(entry)
    }
    return entries
  }

  #shown({ seq, exchange, names, connection, failure, bodies }: Entry): RecordedRequest {
    const { showQueryValues } = this.#settings
    const sent = exchange.sentAt !== undefined
    const headers = pairs(exchange.answerHeaders ?? [])
    const requestId = headers.find(([name]) => name.toLowerCase() === 'x-request-id')?.[1]
    return {
      seq,
      id: exchange.reqId,
      at: exchange.at,
      listener: exchange.listener && listenText(exchange.listener),
      method: exchange.method,
      target: showQueryValues ? exchange.target : maskQuery(exchange.target),
      company: exchange.company,
      why: exchange.why,
      added: sent ? this.#deps.added(exchange.askedGzip) : [],
      removed: sent ? this.#deps.removed(names, connection) : [],
      status: exchange.status,
      error: failure,
      timing: timingOf(exchange),
      retries: exchange.retryReasons ?? [],
      bytesIn: exchange.bytesIn,
      bytesOut: exchange.bytesOut,
      responseHeaders: showQueryValues
        ? headers
        : headers.map(([name, value]) => [name, maskHeader(name, value)]),
      // Where Procore sends none, the header holds our own.
      procoreRequestId: requestId === exchange.reqId ? undefined : requestId,
      bodies: bodies !== undefined,
    }
  }
}

function forgetBodies(entry: Entry): void {
  entry.bytes -= entry.bodies?.cost ?? 0
  entry.bodies = undefined
}

function failureOf(cause: string, error: unknown): RecordedFailure {
  if (error instanceof ProxyError) return { code: error.code, detail: error.message, help: error.help }
  const detail = error === undefined ? 'The caller went away.' : errorText(error)
  return { code: cause, detail, help: undefined }
}

function timingOf({ startedAt, sentAt, queuedMs, tokenMs, upstreamMs, durationMs }: Exchange): Timing {
  const untilSent = sentAt === undefined ? durationMs : sentAt - startedAt
  const bodyMs = upstreamMs === undefined ? undefined : durationMs - untilSent - upstreamMs
  return {
    queuedMs: tenths(queuedMs),
    tokenMs: tenths(tokenMs),
    connectMs: sentAt === undefined ? 0 : tenths(untilSent - queuedMs - tokenMs),
    upstreamMs: upstreamMs === undefined ? undefined : tenths(upstreamMs),
    bodyMs: bodyMs === undefined ? undefined : tenths(bodyMs),
    totalMs: tenths(durationMs),
  }
}

function tenths(ms: number): number {
  return Math.max(0, Math.round(ms * 10) / 10)
}

function pairs(flat: readonly string[]): [string, string][] {
  const list: [string, string][] = []
  for (let i = 0; i < flat.length; i += 2) list.push([flat[i] as string, flat[i + 1] as string])
  return list
}

/** Latencies fall into classes, each a quarter wider than the one before: 0.5 ms to 20 minutes in 64 numbers. */
const LATENCY_CLASSES = 64
const PER_OCTAVE = 3
const LEAST_MS = 0.5

function latencyClass(ms: number): number {
  if (ms <= LEAST_MS) return 0
  return Math.min(LATENCY_CLASSES - 1, Math.ceil(Math.log2(ms / LEAST_MS) * PER_OCTAVE))
}

interface Slot {
  at: number
  readonly counts: Uint32Array
  readonly latencies: Uint32Array
  budgetRemaining: number | undefined
}

/** A company's buckets, in a ring; made when they are first needed. */
class Series {
  readonly #slots: (Slot | undefined)[] = new Array(BUCKETS)
  #current: Slot | undefined

  add({ at, durationMs, status }: Exchange, budgetRemaining: () => number | undefined): void {
    const endedAt = at + durationMs
    const slot =
      this.#current !== undefined && endedAt < this.#current.at + BUCKET_MS && endedAt >= this.#current.at
        ? this.#current
        : this.#slotAt(endedAt - (endedAt % BUCKET_MS), budgetRemaining)
    const counted = statusClass(status)
    slot.counts[counted] = (slot.counts[counted] as number) + 1
    const latency = latencyClass(durationMs)
    slot.latencies[latency] = (slot.latencies[latency] as number) + 1
  }

  #slotAt(at: number, budgetRemaining: () => number | undefined): Slot {
    const index = (at / BUCKET_MS) % BUCKETS
    let slot = this.#slots[index]
    if (slot === undefined) {
      slot = {
        at,
        counts: new Uint32Array(STATUS_CLASSES.length),
        latencies: new Uint32Array(LATENCY_CLASSES),
        budgetRemaining: budgetRemaining(),
      }
      this.#slots[index] = slot
    } else if (slot.at !== at) {
      slot.at = at
      slot.counts.fill(0)
      slot.latencies.fill(0)
      slot.budgetRemaining = budgetRemaining()
    }
    this.#current = slot
    return slot
  }

  read(now: number, remainingNow: number | undefined): SeriesBucket[] {
    const last = now - (now % BUCKET_MS)
    return Array.from({ length: BUCKETS }, (_, index) => {
      const at = last - (BUCKETS - 1 - index) * BUCKET_MS
      const slot = this.#slots[(at / BUCKET_MS) % BUCKETS]
      const held = slot?.at === at ? slot : undefined
      return {
        at,
        counts: Object.fromEntries(
          STATUS_CLASSES.map((name, nth) => [name, held?.counts[nth] ?? 0]),
        ) as Record<StatusClass, number>,
        p50Ms: held === undefined ? null : quantile(held.latencies, 0.5),
        p95Ms: held === undefined ? null : quantile(held.latencies, 0.95),
        budgetRemaining: (at === last ? remainingNow : held?.budgetRemaining) ?? null,
      }
    })
  }
}

/** The upper end of the class in which the quantile falls. */
function quantile(latencies: Uint32Array, share: number): number {
  const wanted = Math.max(1, Math.ceil(latencies.reduce((sum, count) => sum + count, 0) * share))
  let seen = 0
  const found = latencies.findIndex((count) => {
    seen += count
    return seen >= wanted
  })
  return tenths(LEAST_MS * 2 ** (found / PER_OCTAVE))
}
