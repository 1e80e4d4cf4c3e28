// The record of one request and its response, which is filled in step by step. Log, metrics, inspector and audit read it.
import { randomUUID } from 'node:crypto'
import type { ListenAddress } from '../config/config.ts'
import type { LikelyCause } from './likely-causes.ts'
import type { Bodies } from './recorded-body.ts'

const PLAIN = /^[\w.-]{1,128}$/

/** The caller's id if it is safe to print and repeat, else a new one. */
export function requestIdOf(header?: string | string[]): string {
  return typeof header === 'string' && PLAIN.test(header) ? header : randomUUID()
}

/** Why a request did not have to go to Procore. */
export const SAVED_BY = ['coalesced', 'kept', 'refusal'] as const
export type SavedBy = (typeof SAVED_BY)[number]

/** Why a request was sent again. */
export const RETRY_REASONS = ['401', '429', '503', 'connection'] as const
export type RetryReason = (typeof RETRY_REASONS)[number]

/** Times come from `performance.now()`, in ms, unless they say otherwise. */
export class Exchange {
  readonly reqId: string
  readonly method: string
  /** The raw target as the caller sent it; mask it before printing. */
  readonly target: string
  readonly startedAt = performance.now()
  /** The same moment by the wall clock. */
  readonly at = Date.now()
  listener: ListenAddress | undefined
  /** Where its caller finds the proxy's own pages, if not at the listener's address. */
  publicUrl: string | undefined
  /** The caller's headers (name, value, …). Only the names outlive the request. */
  rawHeaders: readonly string[] | undefined
  /** The company's name, or its id under `"*"`. */
  company: string | undefined
  /** The name of the caller (`callers:`); undefined if callers have no names. */
  caller: string | undefined
  /** Why this company was chosen. */
  why: string | undefined
  /** The name that metrics count it under: the company's, or `*` for every id of `"*"`. */
  group: string | undefined
  /** A request for one of the proxy's own pages: counted and logged, but not recorded. */
  own = false
  /** Headers that go on every response to it, flat: CORS for a listed origin. */
  extra: readonly string[] | undefined
  /** The proxy asked for compression on the caller's behalf. */
  askedGzip = false
  /** The beginnings of the bodies, where `inspector.bodies` keeps them. The inspector takes them over at the end. */
  bodies: Bodies | undefined
  queuedMs = 0
  /** It waits now for its place in the rate budget. */
  isQueued = false
  tokenMs = 0
  /** When it was last sent to Procore. */
  sentAt: number | undefined
  /** It was sent, and broke off before a response: Procore may have acted on it, whatever it says to the next attempt. */
  isInDoubt = false
  /** The address that it was last sent to, with path and query; mask it before printing. */
  upstreamUrl: string | undefined
  /** From sending the request to the first byte of the response. */
  upstreamMs: number | undefined
  /** From start to end; 0 until it has ended. */
  durationMs = 0
  /** The status that the caller got; null where no response was sent. */
  status: number | null = null
  /** The headers of Procore's response as they were passed on, flat. */
  responseHeaders: readonly string[] | undefined
  /** The first 8 KiB of Procore's 401, 403 or 404, decompressed. Used to find the cause, then dropped. */
  errorBody: Buffer | undefined
  /** The cause found in `errorBody`; set at the end. */
  refusal: LikelyCause | undefined
  /** The `Cache-Status` that the response carries (RFC 9211); undefined if the cache was not asked. */
  cacheStatus: string | undefined
  saved: SavedBy | undefined
  /** How many pages were read for a whole list; 0 for any other request. */
  pages = 0
  bytesIn = 0
  bytesOut = 0
  retries = 0
  retryReasons: RetryReason[] | undefined
  /** Why the proxy itself responded or broke off: an error code, or `caller_gone`. `error` has the details. */
  cause: string | undefined
  error: unknown

  constructor(reqId: string, method: string, target: string) {
    this.reqId = reqId
    this.method = method
    this.target = target
  }
}

export function startExchange(reqId: string, method: string, target: string): Exchange {
  return new Exchange(reqId, method, target)
}

/** Ends the record. `status` is null if no response was sent. */
export function endExchange(exchange: Exchange, status: number | null): void {
  exchange.status = status
  exchange.durationMs = performance.now() - exchange.startedAt
}

/** True if the response came from Procore and not from the proxy itself. */
export function isProcores({ cause, upstreamMs }: Exchange): boolean {
  return upstreamMs !== undefined && (cause === undefined || cause === 'caller_gone')
}
