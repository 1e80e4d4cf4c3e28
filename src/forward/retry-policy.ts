// Decides whether and when a request is sent again: pure functions.
import { retryAfterMs, serverNowMs } from '../network/response.ts'
import type { ResponseHead } from './call.ts'
import { resetInMs } from './rate-windows.ts'

/** Idempotent methods, which may be sent again after any failure before a response (RFC 9110 section 9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** A failure before the first byte of a response. */
export interface FailedAttempt {
  readonly method: string
  /** The request had begun to be written to a connection, so Procore may have acted on it. */
  readonly sent: boolean
  /** The connection or the response timed out. */
  readonly timedOut: boolean
  /** The connection could not be opened, or it broke. That is worth another try; TLS and DNS failures are not. */
  readonly connection: boolean
}

/**
 * True if sending the request again cannot carry it out twice. An Idempotency-Token makes no difference: Procore
 * honors it for only five of its thousands of operations.
 */
export function mayRetry({ method, sent, timedOut, connection }: FailedAttempt): boolean {
  if (IDEMPOTENT.has(method)) return connection || (timedOut && !sent)
  return connection && !sent && !timedOut
}

/** Wait before retry `nth` (from 1): 100 ms, doubling to 2 s, with jitter over its upper half; `random` in [0, 1). */
export function retryDelayMs(nth: number, random: number): number {
  const ceiling = Math.min(2_000, 100 * 2 ** (nth - 1))
  return ceiling / 2 + (ceiling / 2) * random
}

/**
 * How many milliseconds Procore asks us to wait after this response: `Retry-After`, or else, for a 429, the time
 * until `X-Rate-Limit-Reset` (Unix seconds). Undefined if the response does not say.
 */
export function askedWaitMs(status: number, headers: ResponseHead, wallNowMs: number): number | undefined {
  if (status !== 429 && status !== 503) return undefined
  const serverNow = serverNowMs(headers, wallNowMs)
  const retryAfter = retryAfterMs(headers['retry-after'], serverNow)
  if (retryAfter !== undefined || status === 503) return retryAfter
  return resetInMs(headers, serverNow)
}
