// Why a token request failed, and whether another one may succeed.

/** `rejected` is final, because the login server refused the credentials. All other failures may pass. */
export type TokenFailureReason = 'rejected' | 'unreachable' | 'timeout' | 'tls' | 'bad_status' | 'bad_body'

/** A token request that failed. `message` contains no secret and no part of the response body. */
export class TokenFailure extends Error {
  override readonly name = 'TokenFailure'
  readonly reason: TokenFailureReason
  /** From Retry-After. */
  readonly retryAfterMs: number | undefined

  constructor(
    reason: TokenFailureReason,
    message: string,
    options: { retryAfterMs?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.reason = reason
    this.retryAfterMs = options.retryAfterMs
  }

  /** True if the same credentials would fail again. */
  get final(): boolean {
    return this.reason === 'rejected'
  }
}
