// Decides whether and when a request is sent again: pure functions.
import { retryAfterMs } from '../network/retry-after.ts'
import { headerValue, type ResponseHead } from './call.ts'

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

/** The server's time when it responded (`Date`), or else our own. The server's other times are relative to it. */
export function serverNowMs(headers: ResponseHead, wallNowMs: number): number {
  const date = dateMs(headerValue(headers, 'date') ?? '')
  return Number.isFinite(date) ? date : wallNowMs
}

let lastDate = { text: '', ms: Number.NaN }

/** Parses an HTTP date; NaN for anything else. Remembers the last one, because all responses of one second share it. */
function dateMs(text: string): number {
  if (text !== lastDate.text) {
    // Date.parse accepts almost any text.
    const isDate = /^(mon|tue|wed|thu|fri|sat|sun)/i.test(text)
    lastDate = { text, ms: isDate ? Date.parse(text) : Number.NaN }
  }
  return lastDate.ms
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

/**
 * Procore's longest window is an hour. If the end is later, the value is not a Unix time in seconds, or a clock is
 * wrong.
 */
const LONGEST_WINDOW_MS = 2 * 3_600_000

/** Milliseconds until `X-Rate-Limit-Reset`; undefined if that cannot be the end of a window. */
export function resetInMs(headers: ResponseHead, serverNow: number): number | undefined {
  const reset = wholeNumber(headerValue(headers, 'x-rate-limit-reset'))
  if (reset === undefined || reset * 1000 - serverNow > LONGEST_WINDOW_MS) return undefined
  return Math.max(0, reset * 1000 - serverNow)
}

/** The whole number in a header; undefined if there is none. */
export function wholeNumber(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,15}$/.test(value.trim()) ? Number(value) : undefined
}

/**
 * Limits retries, so that they do not multiply an outage: each request earns a fifth of a retry, and at most ten are
 * saved up.
 */
export class RetryBudget {
  #left = 10

  /** Call this for each new request. */
  earn(): void {
    this.#left = Math.min(10, this.#left + 0.2)
  }

  /** Takes one retry; false if none is left. */
  spend(): boolean {
    if (this.#left < 1) return false
    this.#left--
    return true
  }
}
