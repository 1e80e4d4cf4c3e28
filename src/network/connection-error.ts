// Explains why a connection failed: error codes, and the error for an outbound proxy that opens no tunnel.
import type { OutboundProxy } from '../config/config.ts'

/** The error codes of undici that the proxy looks at. */
export type ConnectionErrorCode =
  | 'UND_ERR_CONNECT_TIMEOUT'
  | 'UND_ERR_SOCKET'
  | 'UND_ERR_INVALID_ARG'
  | 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH'
  | 'UND_ERR_ABORTED'
  | 'UND_ERR_CLOSED'
  | 'UND_ERR_DESTROYED'

/** A connection could not be opened, broke, or was closed. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError'
  readonly code: ConnectionErrorCode

  constructor(code: ConnectionErrorCode, message: string) {
    super(message)
    this.code = code
  }
}

/** True if no connection was opened in time. */
export function isConnectTimeout(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === 'UND_ERR_CONNECT_TIMEOUT'
}

const TLS_ERROR =
  /^(ERR_TLS_|ERR_SSL_|CERT_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|HOSTNAME_MISMATCH)/

/** True if a connection failed because of TLS: the certificate is untrusted, has expired or has the wrong name. */
export function isTlsError(error: unknown): boolean {
  return TLS_ERROR.test(errorCode(error) ?? '')
}

/** The code of an error from Node or undici, or of its causes: `ECONNREFUSED`, `UND_ERR_SOCKET`, … */
export function errorCode(error: unknown): string | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if (at instanceof AggregateError && at.errors.length > 0) return errorCode(at.errors[0])
    const code = (at as NodeJS.ErrnoException).code
    if (typeof code === 'string') return code
  }
  return undefined
}

/** What to do about a certificate that is not trusted. */
export const CA_HELP =
  'Behind a proxy that inspects TLS, name its CA with network.caFile or NODE_EXTRA_CA_CERTS.'

/** Why there is no tunnel. A number is the HTTP status that the proxy answered with. */
export type OutboundProxyReason = 'unreachable' | 'timeout' | 'tls' | 'protocol' | number

const URL_HELP = 'Check network.proxy, or HTTPS_PROXY where the file has no such key'
const HELP = {
  unreachable: `${URL_HELP}; hosts that are reached without it go into network.noProxy or NO_PROXY.`,
  timeout: `${URL_HELP}, and that it lets this machine through.`,
  tls: 'Name its CA with network.caFile or NODE_EXTRA_CA_CERTS; where it speaks plain HTTP, its URL begins with http://.',
  protocol: `${URL_HELP}: what answers there is no HTTP proxy.`,
}

/** The outbound proxy opened no tunnel. This error has no code of its own; the code of its cause counts. */
export class OutboundProxyError extends Error {
  override readonly name = 'OutboundProxyError'
  readonly reason: OutboundProxyReason

  /** `authority` is the host and port that the tunnel should lead to. */
  constructor(proxy: OutboundProxy, authority: string, reason: OutboundProxyReason, cause?: unknown) {
    super(messageOf(proxy, authority, reason, cause), cause === undefined ? undefined : { cause })
    this.reason = reason
  }

  /** What to do next. */
  get help(): string {
    if (typeof this.reason === 'string') return HELP[this.reason]
    if (this.reason === 407) {
      return 'Write user name and password into the URL, http://USER:PASSWORD@HOST:PORT, in network.proxy or HTTPS_PROXY. Basic credentials are the only kind that is sent.'
    }
    return 'Ask those who run it to let this machine through, or reach the host without it: network.noProxy or NO_PROXY.'
  }
}

function messageOf(
  { origin }: OutboundProxy,
  authority: string,
  reason: OutboundProxyReason,
  cause: unknown,
): string {
  const code = errorCode(cause) ?? 'no code'
  const proxy = `the outbound proxy ${origin}`
  switch (reason) {
    case 'unreachable':
      return `${proxy} could not be reached (${code})`
    case 'timeout':
      return `${proxy} gave no tunnel to ${authority} in time`
    case 'tls':
      return `TLS with ${proxy} failed (${code})`
    case 'protocol':
      return `${proxy} broke off or spoke no HTTP (${code})`
    case 407:
      return `${proxy} wants other credentials (HTTP 407)`
    default:
      return `${proxy} refused a tunnel to ${authority} (HTTP ${reason})`
  }
}
