// Whether and when a request may be sent again: pure functions (CONTRACT section 6).
import { retryAfterMs } from '../auth/request-token.ts'
import type { AnswerHead } from '../http1/handler.ts'
import { headerValue } from '../http1/read-head.ts'

/** Sent again after any failure before an answer: to do them twice is to do them once (RFC 9110 section 9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** A failure before any byte of an answer came. */
export interface FailedAttempt {
  readonly method: string
  /** The connection stood and the request was being written: whoever failed, Procore may have acted on it. */
  readonly sent: boolean
  /** A timeout, of the connection or the answer. */
  readonly timedOut: boolean
  /** The connection could not be made, or broke: worth another try. TLS and DNS failures are not. */
  readonly connection: boolean
}

/**
 * True where sending again can't do anything twice. An Idempotency-Token makes no difference: Procore honours it for five
 * operations of thousands, so it goes along with each try but promises nothing.
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

/** The server's clock at the time of its answer (`Date`), else ours: what its times have to be compared with. */
export function serverNowMs(headers: AnswerHead, wallNowMs: number): number {
  const date = dateMs(headerValue(headers, 'date') ?? '')
  return Number.isFinite(date) ? date : wallNowMs
}

let lastDate = { text: '', ms: Number.NaN }

/** NaN for what is no HTTP date. All answers of a second have the same. */
function dateMs(text: string): number {
  if (text !== lastDate.text) {
    // Date.parse finds a date in almost any text.
    const isDate = /^(mon|tue|wed|thu|fri|sat|sun)/i.test(text)
    lastDate = { text, ms: isDate ? Date.parse(text) : Number.NaN }
  }
  return lastDate.ms
}

/**
 * How long Procore wants to be left alone after this answer: `Retry-After`, else for a 429 until `X-Rate-Limit-Reset`
 * (unix seconds). Undefined where it does not say.
 */
export function askedWaitMs(status: number, headers: AnswerHead, wallNowMs: number): number | undefined {
  if (status !== 429 && status !== 503) return undefined
  const serverNow = serverNowMs(headers, wallNowMs)
  const retryAfter = retryAfterMs(headerValue(headers, 'retry-after'), serverNow)
  if (retryAfter !== undefined || status === 503) return retryAfter
  return resetInMs(headers, serverNow)
}

/** Procore's longest window is an hour: what would end later than this is no unix time in seconds, or a clock is wrong. */
const LONGEST_WINDOW_MS = 2 * 3_600_000

/** Milliseconds until `X-Rate-Limit-Reset`; undefined where that can't be the end of a window. */
export function resetInMs(headers: AnswerHead, serverNow: number): number | undefined {
  const reset = wholeNumber(headerValue(headers, 'x-rate-limit-reset'))
  if (reset === undefined || reset * 1000 - serverNow > LONGEST_WINDOW_MS) return undefined
  return Math.max(0, reset * 1000 - serverNow)
}

/** A header's number, or undefined where it is none. */
export function wholeNumber(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,15}$/.test(value.trim()) ? Number(value) : undefined
}

/** Keeps an outage from being multiplied by retries: each request earns a fifth of one, up to ten. */
export class RetryBudget {
  #left = 10

  /** A request came in. */
  earn(): void {
    this.#left = Math.min(10, this.#left + 0.2)
  }

  /** True, and one less, where a retry may be made. */
  spend(): boolean {
    if (this.#left < 1) return false
    this.#left--
    return true
  }
}
