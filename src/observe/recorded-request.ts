// Makes a request as the page shows it, from its exchange and with secrets masked.
import { listenText } from '../config/addresses.ts'
import { type Exchange, isProcores, type RetryReason, type SavedBy, savedBy } from './exchange.ts'
import { type LikelyCause, likelyCauses } from './likely-causes.ts'
import { tenths } from './log.ts'
import { maskHeader, maskQuery } from './mask.ts'
import type { RecordedBody } from './recorded-body.ts'

type AsTheyAre = Pick<
  Exchange,
  'at' | 'method' | 'status' | 'cacheStatus' | 'pages' | 'bytesIn' | 'bytesOut'
> &
  Pick<Exchange, 'company' | 'why' | 'caller'>

/** A request that has ended, ready to be shown. Holds no value of a request header. */
export interface RecordedRequest extends AsTheyAre {
  /** Grows by one with each request: ask for what came after the last one you know. */
  readonly seq: number
  readonly id: string
  /** The address it came in by, as configured. */
  readonly listener: string | undefined
  /** Query values are `*` unless `inspector.showQueryValues`. */
  readonly target: string
  /** Where it was sent, masked like `target`; undefined where nothing was sent. */
  readonly upstreamUrl: string | undefined
  /** Names of the headers that the proxy added. */
  readonly added: readonly string[]
  /** Names of the caller's headers that the proxy removed. */
  readonly removed: readonly string[]
  /** Who gave the response; undefined where there was none. */
  readonly answeredBy: 'procore' | 'proxy' | 'cache' | undefined
  /** How the cache saved a call to Procore. */
  readonly saved: SavedBy | undefined
  /** Set where the proxy responded by itself or broke off. */
  readonly error: RecordedFailure | undefined
  /** Why Procore may have refused it: the exact cause if its text gives it. */
  readonly causes: readonly LikelyCause[]
  readonly timing: Timing
  /** One reason for each time it was sent again. */
  readonly retries: readonly RetryReason[]
  /** As passed to the caller; query values in URLs are masked unless `inspector.showQueryValues`. */
  readonly responseHeaders: readonly (readonly [name: string, value: string])[]
  /** Procore's own X-Request-Id, which its support asks for. */
  readonly procoreRequestId: string | undefined
  /** Whether the beginnings of its bodies are kept; `/_proxy/requests/ID` shows them. */
  readonly bodies: boolean
}

/** With the bodies, which lists leave out; undefined if there was none, or if `inspector.bodies` is off. */
export interface RecordedDetail extends RecordedRequest {
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
  const { reqId, at, method, company, why, caller, status, cacheStatus, pages, bytesIn, bytesOut } = exchange
  const { listener, upstreamUrl, refusal, sentAt, askedGzip, retryReasons: retries = [] } = exchange
  const masked = showQueryValues ? (text: string) => text : maskQuery
  const headers = pairs(exchange.answerHeaders)
  const procoreRequestId = headers.find(([name]) => name.toLowerCase() === 'x-request-id')?.[1]
  const likely = status !== null && isProcores(exchange) ? likelyCauses(status) : []
  const saved = savedBy(cacheStatus)
  return {
    ...{ seq, id: reqId, at, method, company, why, caller, status, cacheStatus, saved, pages },
    ...{ bytesIn, bytesOut, retries, error: failure, bodies: bodies !== undefined },
    listener: listener && listenText(listener),
    target: masked(exchange.target),
    upstreamUrl: upstreamUrl && masked(upstreamUrl),
    added: sentAt === undefined ? [] : changes.added(askedGzip),
    removed: sentAt === undefined ? [] : changes.removed(names, connection),
    answeredBy: answeredBy(exchange),
    causes: refusal ? [refusal] : likely,
    timing: timingOf(exchange),
    responseHeaders: showQueryValues
      ? headers
      : headers.map(([name, value]) => [name, maskHeader(name, value)]),
    // Where Procore sends none, the header holds our own.
    procoreRequestId: procoreRequestId === reqId ? undefined : procoreRequestId,
  }
}

function answeredBy(exchange: Exchange): RecordedRequest['answeredBy'] {
  if (exchange.status === null) return undefined
  if (savedBy(exchange.cacheStatus) !== undefined) return 'cache'
  return isProcores(exchange) ? 'procore' : 'proxy'
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

function pairs(flat: readonly string[] = []): [string, string][] {
  const list: [string, string][] = []
  for (let at = 0; at + 1 < flat.length; at += 2) list.push([flat[at] as string, flat[at + 1] as string])
  return list
}
