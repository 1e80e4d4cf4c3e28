// Keeps the last requests, the last errors, and the last ten minutes of each company, for page and status.
import { listenText } from '../config/addresses.ts'
import type { InspectorSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { headerValues } from '../routing/raw-request.ts'
import { type Exchange, isProcores } from './exchange.ts'
import { likelyCauses } from './likely-causes.ts'
import { errorText, tenths } from './log.ts'
import { maskHeader, maskQuery, maskUser } from './mask.ts'
import { BUCKET_MS, Series } from './metrics.ts'
import { type Bodies, recordedBody } from './recorded-body.ts'
import type { ErrorStatus } from './status.ts'
import { EVERYTHING, seesCompany, seesRequest, type Viewer } from './viewer.ts'

interface InspectorDeps {
  /** Names of the headers that forwarding adds. */
  readonly added: (askedGzip: boolean) => readonly string[]
  /** Which of the caller's headers are not sent on; `connection` is the value of Connection. */
  readonly removed: (names: readonly string[], connection: string | undefined) => readonly string[]
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

interface Entry {
  readonly seq: number
  readonly exchange: Exchange
  /** Names of the caller's headers. */
  readonly names: readonly string[]
  readonly connection: string | undefined
  readonly failure: ReturnType<typeof failureOf>
  bodies: Bodies | undefined
  /** Roughly its size in memory, and as JSON. */
  bytes: number
}

export class Inspector {
  readonly #deps: InspectorDeps
  #settings: InspectorSettings
  #seq = 0
  /** Oldest first. */
  #entries: Entry[] = []
  #bytes = 0
  /** Without bodies, which a reload may forbid to keep. */
  readonly #errors: Pick<Entry, 'exchange' | 'failure'>[] = []
  readonly #series = new Map<string, Series>()

  constructor(settings: InspectorSettings, deps: InspectorDeps) {
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
        this.#errors.push({ exchange, failure: entry.failure })
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
    const { rawHeaders = [], responseHeaders = [], target, upstreamUrl = '' } = exchange
    const bodies = this.keepsBodies ? exchange.bodies : undefined
    const names: string[] = []
    let bytes = ENTRY_BYTES + target.length + upstreamUrl.length + (bodies?.cost ?? 0)
    for (let at = 0; at < rawHeaders.length; at += 2) {
      const name = rawHeaders[at] as string
      names.push(name)
      bytes += name.length
    }
    for (const text of responseHeaders) bytes += text.length
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
  requests(viewer: Viewer = EVERYTHING, after = 0) {
    const chosen: Entry[] = []
    let bytes = 0
    for (const entry of this.#entries.toReversed()) {
      if (entry.seq <= after || chosen.length === MOST_LISTED) break
      if (!seesRequest(viewer, entry.exchange)) continue
      bytes += entry.bytes - (entry.bodies?.cost ?? 0)
      if (bytes > MOST_LISTED_BYTES && chosen.length > 0) break
      chosen.push(entry)
    }
    return chosen.map((entry) => this.#shown(entry))
  }

  /** One request with its bodies: the newest with this id, or the one with `seq`, as callers may use an id twice. */
  request(id: string, seq?: number, viewer: Viewer = EVERYTHING) {
    const found = this.#entries.findLast(
      ({ exchange, seq: own }) =>
        exchange.reqId === id && (seq === undefined || own === seq) && seesRequest(viewer, exchange),
    )
    if (found === undefined) return undefined
    const { showQueryValues } = this.#settings
    return {
      ...this.#shown(found),
      requestBody: recordedBody(found.bodies?.request, showQueryValues),
      /** As passed to the caller. The proxy's own responses are not kept. */
      responseBody: recordedBody(found.bodies?.response, showQueryValues),
    }
  }

  /** A request that has ended, ready to be shown. Holds no value of a request header. */
  #shown({ seq, exchange, names, connection, failure: error, bodies }: Entry) {
    const { showQueryValues } = this.#settings
    const { added, removed } = this.#deps
    const { reqId: id, at, method, company, why, caller, status, pages, refusal } = exchange
    const { cacheStatus, saved, retryReasons = [] } = exchange
    const { bytesIn, bytesOut, listener, upstreamUrl, sentAt, askedGzip } = exchange
    const masked = showQueryValues ? maskUser : maskQuery
    const headers = (exchange.responseHeaders ?? []).flatMap((value, at, flat) =>
      at % 2 === 0 ? [] : [[flat[at - 1] as string, value] as const],
    )
    const procoreRequestId = headers.find(([name]) => name.toLowerCase() === 'x-request-id')?.[1]
    const procores = status !== null && isProcores(exchange)
    const answeredBy = saved ? 'cache' : procores ? 'procore' : 'proxy'
    return {
      /** Grows by one with each request: ask for what came after the last one you know. */
      seq,
      ...{ id, at, method, company, why, caller, status, cacheStatus, saved, pages, bytesIn, bytesOut },
      error,
      /** Whether the beginnings of its bodies are kept; `/_proxy/requests/ID` shows them. */
      bodies: bodies !== undefined,
      listener: listener && listenText(listener),
      target: masked(exchange.target),
      upstreamUrl: upstreamUrl && masked(upstreamUrl),
      /** Names of the headers that the proxy added, and of those of the caller's that it removed. */
      added: sentAt === undefined ? [] : added(askedGzip),
      removed: sentAt === undefined ? [] : removed(names, connection),
      answeredBy: status === null ? undefined : answeredBy,
      /** Why Procore may have refused it: the exact cause if its text gives it. */
      causes: refusal ? [refusal] : procores ? likelyCauses(status) : [],
      timing: timingOf(exchange),
      /** One reason for each time it was sent again. */
      retries: retryReasons,
      /** As passed to the caller. */
      responseHeaders: headers.map(
        ([name, value]) => [name, showQueryValues ? value : maskHeader(name, value)] as const,
      ),
      /** The one that Procore's support asks for. Where Procore sends none, the header holds our own. */
      procoreRequestId: procoreRequestId === id ? undefined : procoreRequestId,
    }
  }

  /** The last ten minutes of each company that was called and that the viewer may see. */
  series(viewer: Viewer = EVERYTHING) {
    return [...this.#series]
      .filter(([company]) => seesCompany(viewer, company))
      .map(([company, series]) => ({
        company,
        bucketSeconds: BUCKET_MS / 1000,
        buckets: series.read(Date.now(), this.#deps.budgetRemaining(company)),
      }))
  }

  /** The last requests that the proxy refused or that failed, newest first. Kept even if the inspector is off. */
  errors(viewer: Viewer = EVERYTHING): ErrorStatus[] {
    const visible = this.#errors.filter(({ exchange }) => seesRequest(viewer, exchange))
    return visible.toReversed().map(({ exchange, failure }) => {
      const { at, reqId: requestId, method, target, status, company = null, caller = null } = exchange
      const path = maskQuery(target)
      const shown = { at: new Date(at).toISOString(), requestId, method, path, company, caller, status }
      if (failure !== undefined) return { ...shown, ...failure, help: failure.help ?? null }
      return { ...shown, code: 'upstream_status', detail: `Procore answered ${status}.`, help: null }
    })
  }
}

/** The error as text, because an error object may contain headers. `code` is an error code, or `caller_gone`. */
function failureOf({ cause, error }: Exchange) {
  if (cause === undefined) return undefined
  if (error instanceof ProxyError) return { code: error.code, detail: error.message, help: error.help }
  const detail = error === undefined ? 'The caller closed its connection.' : errorText(error)
  return { code: cause, detail, help: undefined }
}

/** Where the time went, in ms; the parts may add up to less than the whole. */
function timingOf({ startedAt, sentAt, queuedMs, tokenMs, upstreamMs, durationMs }: Exchange) {
  const untilSent = sentAt === undefined ? durationMs : sentAt - startedAt
  const shown = (ms: number) => Math.max(0, tenths(ms))
  return {
    /** Waited for the rate budget, or for as long as Procore asked. */
    queuedMs: shown(queuedMs),
    tokenMs: shown(tokenMs),
    /** Waited for a connection; attempts before the last are included. */
    connectMs: sentAt === undefined ? 0 : shown(untilSent - queuedMs - tokenMs),
    /** From sending it to the first byte of the response, and from there to its end; undefined if none came. */
    upstreamMs: upstreamMs === undefined ? undefined : shown(upstreamMs),
    bodyMs: upstreamMs === undefined ? undefined : shown(durationMs - untilSent - upstreamMs),
    totalMs: shown(durationMs),
  }
}
