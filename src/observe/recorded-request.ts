// Makes a request as the page shows it, from its exchange and with secrets masked.
import { listenText } from '../config/addresses.ts'
import { ProxyError } from '../errors.ts'
import { type Exchange, isProcores, type RetryReason } from './exchange.ts'
import { type LikelyCause, likelyCauses } from './likely-causes.ts'
import { errorText, tenths } from './log.ts'
import { maskHeader, maskQuery } from './mask.ts'
import type { RecordedBody } from './recorded-body.ts'
import { type SavedBy, savedBy } from './saved.ts'

/** A request that has ended, ready to be shown. Contains no value of a request header. */
export interface RecordedRequest {
  /** Grows by one with each request, so that a reader can ask for newer ones. */
  readonly seq: number
  readonly id: string
  /** When it arrived, as a Unix time in ms. */
  readonly at: number
  /** The address that received it, as configured. */
  readonly listener: string | undefined
  readonly method: string
  /** Query values are `*` unless `inspector.showQueryValues`. */
  readonly target: string
  /** The company's name, or its id under `"*"`. */
  readonly company: string | undefined
  /** Why this company was chosen. */
  readonly why: string | undefined
  /** The caller's name (`callers:`). */
  readonly caller: string | undefined
  /** Where it was sent, masked like `target`; undefined if nothing was sent. */
  readonly upstreamUrl: string | undefined
  /** Names of the headers that the proxy added. */
  readonly added: readonly string[]
  /** Names of the caller's headers that the proxy removed. */
  readonly removed: readonly string[]
  /** Null if the caller disconnected or the connection broke before a response. */
  readonly status: number | null
  /** Who gave the response; undefined if there was none. */
  readonly answeredBy: 'procore' | 'proxy' | 'cache' | undefined
  /** How the cache saved a call to Procore. */
  readonly saved: SavedBy | undefined
  readonly cacheStatus: string | undefined
  /** How many pages were read for a whole list; 0 for other requests. */
  readonly pages: number
  /** Set if the proxy itself responded or broke off. */
  readonly error: RecordedFailure | undefined
  /** Why Procore may have refused it: the exact cause if its text gives it. */
  readonly causes: readonly LikelyCause[]
  readonly timing: Timing
  /** One reason for each time it was sent again. */
  readonly retries: readonly RetryReason[]
  readonly bytesIn: number
  readonly bytesOut: number
  /** As passed to the caller; query values in URLs are masked unless `inspector.showQueryValues`. */
  readonly responseHeaders: readonly (readonly [name: string, value: string])[]
  /** Procore's own X-Request-Id, which its support asks for. */
  readonly procoreRequestId: string | undefined
  /** Whether the beginnings of its bodies are kept; `/_proxy/requests/ID` shows them. */
  readonly bodies: boolean
}

/** With the bodies, which lists leave out; undefined if there was none, or if `inspector.bodies` is off. */
export interface RecordedDetail extends RecordedRequest {
  /** As the caller sent it. */
  readonly requestBody: RecordedBody | undefined
  /** As passed to the caller. The proxy's own responses are not kept. */
  readonly answerBody: RecordedBody | undefined
}

/** `code` is an error code of docs/errors.md, or `caller_gone`. */
export interface RecordedFailure {
  readonly code: string
  readonly detail: string
  readonly help: string | undefined
}

/** Where the time went, in ms; the parts may add up to less than the whole. */
export interface Timing {
  /** Waited for the rate budget, or for as long as Procore asked. */
  readonly queuedMs: number
  readonly tokenMs: number
  /** Waited for a connection; attempts before the last are included. */
  readonly connectMs: number
  /** From sending it to the first byte of the response; undefined if none came. */
  readonly upstreamMs: number | undefined
  /** From the first byte of the response to its end. */
  readonly bodyMs: number | undefined
  readonly totalMs: number
}

/** How forwarding changes headers. */
export interface HeaderChanges {
  /** Names of the headers that it adds. */
  readonly added: (askedGzip: boolean) => readonly string[]
  /** Which of the caller's headers are not sent on; `connection` is the value of Connection. */
  readonly removed: (names: readonly string[], connection: string | undefined) => readonly string[]
}

/** What the recorder keeps besides the exchange. */
export interface Kept {
  readonly seq: number
  readonly exchange: Exchange
  /** Names of the caller's headers. */
  readonly names: readonly string[]
  readonly connection: string | undefined
  readonly failure: RecordedFailure | undefined
  readonly bodies: object | undefined
}

/** Makes what is shown of a request. */
export function shownRequest(kept: Kept, changes: HeaderChanges, showQueryValues: boolean): RecordedRequest {
  const { seq, exchange, names, connection, failure, bodies } = kept
  const wasSent = exchange.sentAt !== undefined
  const masked = showQueryValues ? (text: string) => text : maskQuery
  const headers = pairs(exchange.answerHeaders ?? [])
  const requestId = headers.find(([name]) => name.toLowerCase() === 'x-request-id')?.[1]
  const isRefused = isProcores(exchange) && exchange.status !== null
  return {
    seq,
    id: exchange.reqId,
    at: exchange.at,
    listener: exchange.listener && listenText(exchange.listener),
    method: exchange.method,
    target: masked(exchange.target),
    company: exchange.company,
    why: exchange.why,
    caller: exchange.caller,
    upstreamUrl: exchange.upstreamUrl && masked(exchange.upstreamUrl),
    added: wasSent ? changes.added(exchange.askedGzip) : [],
    removed: wasSent ? changes.removed(names, connection) : [],
    status: exchange.status,
    answeredBy: answeredBy(exchange),
    saved: savedBy(exchange.cacheStatus),
    cacheStatus: exchange.cacheStatus,
    pages: exchange.pages,
    error: failure,
    causes: exchange.refusal ? [exchange.refusal] : isRefused ? likelyCauses(exchange.status as number) : [],
    timing: timingOf(exchange),
    retries: exchange.retryReasons ?? [],
    bytesIn: exchange.bytesIn,
    bytesOut: exchange.bytesOut,
    responseHeaders: showQueryValues
      ? headers
      : headers.map(([name, value]) => [name, maskHeader(name, value)]),
    // If Procore sends none, the header contains our own.
    procoreRequestId: requestId === exchange.reqId ? undefined : requestId,
    bodies: bodies !== undefined,
  }
}

/** The error as text, because an error object may contain headers. */
export function failureOf({ cause, error }: Exchange): RecordedFailure | undefined {
  if (cause === undefined) return undefined
  if (error instanceof ProxyError) return { code: error.code, detail: error.message, help: error.help }
  const detail = error === undefined ? 'The caller closed its connection.' : errorText(error)
  return { code: cause, detail, help: undefined }
}

function answeredBy(exchange: Exchange): RecordedRequest['answeredBy'] {
  if (exchange.status === null) return undefined
  if (savedBy(exchange.cacheStatus) !== undefined) return 'cache'
  return exchange.upstreamMs !== undefined && !(exchange.error instanceof ProxyError) && isProcores(exchange)
    ? 'procore'
    : 'proxy'
}

function timingOf({ startedAt, sentAt, queuedMs, tokenMs, upstreamMs, durationMs }: Exchange): Timing {
  const untilSent = sentAt === undefined ? durationMs : sentAt - startedAt
  const shown = (ms: number) => Math.max(0, tenths(ms))
  return {
    queuedMs: shown(queuedMs),
    tokenMs: shown(tokenMs),
    connectMs: sentAt === undefined ? 0 : shown(untilSent - queuedMs - tokenMs),
    upstreamMs: upstreamMs === undefined ? undefined : shown(upstreamMs),
    bodyMs: upstreamMs === undefined ? undefined : shown(durationMs - untilSent - upstreamMs),
    totalMs: shown(durationMs),
  }
}

function pairs(flat: readonly string[]): [string, string][] {
  const list: [string, string][] = []
  for (let at = 0; at + 1 < flat.length; at += 2) list.push([flat[at] as string, flat[at + 1] as string])
  return list
}
