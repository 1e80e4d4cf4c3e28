// One request and its answer, as the log and the metrics see it; filled in on the way.

/** Times are of `performance.now()`, in ms. */
export interface Exchange {
  readonly reqId: string
  readonly method: string
  /** The raw target as the caller sent it; mask it before printing. */
  readonly target: string
  readonly startedAt: number
  company: string | undefined
  /** Headers that the answer is owed whoever gives it, flat: CORS for a listed origin. */
  extra: readonly string[] | undefined
  /** From sending the request to the first byte of its answer. */
  upstreamMs: number | undefined
  bytesIn: number
  bytesOut: number
  retries: number
  /** Why the proxy answered by itself or broke off: an error code, and for the log its cause. */
  cause: string | undefined
  error: unknown
}

/** A new exchange, started now. */
export function startExchange(reqId: string, method: string, target: string): Exchange {
  return {
    reqId,
    method,
    target,
    startedAt: performance.now(),
    company: undefined,
    extra: undefined,
    upstreamMs: undefined,
    bytesIn: 0,
    bytesOut: 0,
    retries: 0,
    cause: undefined,
    error: undefined,
  }
}
