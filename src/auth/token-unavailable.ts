// Makes the errors for requests for which there is no token.
import type { ServiceAccount } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { CA_HELP, OutboundProxyError } from '../network/connection-error.ts'
import type { TokenFailure } from './token-failure.ts'

const TLS_HELP = `The login server presented a certificate that this machine does not trust. ${CA_HELP}`

/** The longest that a caller waits for a first token. */
export const FIRST_TOKEN_WAIT_MS = 15_000

/**
 * The error for an account whose last token request failed or has not been answered. `retryInMs` becomes Retry-After.
 */
export function tokenUnavailable(
  account: ServiceAccount,
  failure: TokenFailure | undefined,
  retryInMs: number,
): ProxyError {
  const reason = failure ? `${failure.message}.` : `No answer within ${FIRST_TOKEN_WAIT_MS / 1000} s.`
  const detail = `Service account ${account.name} (${account.environment.name}): ${reason}`
  if (failure?.final) return new ProxyError('credentials_rejected', detail, { cause: failure })
  return new ProxyError('token_unavailable', detail, {
    retryAfterSeconds: Math.max(1, Math.ceil(retryInMs / 1000)),
    ...(failure && { cause: failure }),
    ...(failure?.reason === 'tls' && { help: TLS_HELP, proxyStatus: 'tls_certificate_error' }),
    ...(failure?.cause instanceof OutboundProxyError && { help: failure.cause.help }),
  })
}

/** The error of a request whose caller has disconnected; it is never sent to a caller. */
export function callerLeft(): ProxyError {
  return new ProxyError('token_unavailable', 'The caller closed its connection.')
}
