// One request and its answer, as log, metrics and recorder see it; filled in on the way.
import type { ListenAddress } from '../config/config.ts'
import type { Bodies } from './excerpt.ts'
import type { Trace } from './tracing.ts'

/** Why a request was sent again. */
export type RetryReason = '401' | '429' | '503' | 'connection'

/** What a request waited for before it was sent: the rate budget (or a wait that Procore asked for), or a token. */
export type WaitReason = 'budget' | 'token'

/** Times are of `performance.now()`, in ms, unless they say otherwise. */
export interface Exchange {
  readonly reqId: string
  readonly method: string
  /** The raw target as the caller sent it; mask it before printing. */
  readonly target: string
  readonly startedAt: number
  /** The same moment by the wall clock. */
  readonly at: number
  /** Where it came in. */
  listener: ListenAddress | undefined
  /** The caller's headers, flat; only names outlive the request. */
  rawHeaders: readonly string[] | undefined
  /** The company's name, or its id under `"*"`. */
  company: string | undefined
  /** Why this company. */
  why: string | undefined
  /** What it counts under: the company's name, `*` for all ids of `"*"`. */
  group: string | undefined
  /** One of the proxy's own pages: counted and logged, but not recorded. */
  own: boolean
  /** Headers that the answer is owed whoever gives it, flat: CORS for a listed origin. */
  extra: readonly string[] | undefined
  /** The proxy asked for compression on the caller's behalf. */
  askedGzip: boolean
  /** Where the beginnings of the bodies are kept, if they are; the recorder takes it over at the end. */
  bodies: Bodies | undefined
  queuedMs: number
  tokenMs: number
  /** When it was sent, the last time. */
  sentAt: number | undefined
  /** From sending the request to the first byte of its answer. */
  upstreamMs: number | undefined
  /** The whole of it; 0 until it has ended. */
  durationMs: number
  /** What the caller got; null where it got nothing. */
  status: number | null
  /** The headers of Procore's answer as they were passed on, flat. */
  answerHeaders: readonly string[] | undefined
  bytesIn: number
  bytesOut: number
  retries: number
  retryReasons: RetryReason[] | undefined
  /** Why the proxy answered by itself or broke off: an error code, and for the log its cause. */
  cause: string | undefined
  error: unknown
  /** Undefined where no traces are made. */
  trace: Trace | undefined
}

/** A new exchange, started now. */
export function startExchange(reqId: string, method: string, target: string): Exchange {
  return {
    reqId,
    method,
    target,
    startedAt: performance.now(),
    at: Date.now(),
    listener: undefined,
    rawHeaders: undefined,
    company: undefined,
    why: undefined,
    group: undefined,
    own: false,
    extra: undefined,
    askedGzip: false,
    bodies: undefined,
    queuedMs: 0,
    tokenMs: 0,
    sentAt: undefined,
    upstreamMs: undefined,
    durationMs: 0,
    status: null,
    answerHeaders: undefined,
    bytesIn: 0,
    bytesOut: 0,
    retries: 0,
    retryReasons: undefined,
    cause: undefined,
    error: undefined,
    trace: undefined,
  }
}

/** It is over; `status` is null where none was sent. */
export function endExchange(exchange: Exchange, status: number | null): void {
  exchange.status = status
  exchange.durationMs = performance.now() - exchange.startedAt
}

/** True for an answer that Procore gave: the proxy's own errors and pages are none. */
export function isProcores({ cause, upstreamMs }: Exchange): boolean {
  return upstreamMs !== undefined && (cause === undefined || cause === 'caller_gone')
}
