// Why a token request failed, and whether it is worth trying again.

/** `rejected` is final: the login server refused the credentials. Everything else may pass. */
export type TokenFailureReason = 'rejected' | 'unreachable' | 'timeout' | 'tls' | 'bad_status' | 'bad_body'

/** A token request that gave no token; `message` holds no secret and nothing of the body. */
export class TokenFailure extends Error {
  override readonly name = 'TokenFailure'
  readonly reason: TokenFailureReason
  /** What the login server asked for by Retry-After. */
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

  /** Trying again with the same credentials can't help. */
  get final(): boolean {
    return this.reason === 'rejected'
  }
}
