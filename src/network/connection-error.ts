// Explains why a connection failed: error codes, and the error for an outbound proxy that opens no tunnel.
import type { OutboundProxy } from '../config/config.ts'

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
  407: 'Write user name and password into the URL, http://USER:PASSWORD@HOST:PORT, in network.proxy or HTTPS_PROXY. Basic credentials are the only kind that is sent.',
}
const REFUSED_HELP =
  'Ask those who run it to let this machine through, or reach the host without it: network.noProxy or NO_PROXY.'

/** The outbound proxy opened no tunnel. This error has no code of its own; the code of its cause counts. */
export class OutboundProxyError extends Error {
  override readonly name = 'OutboundProxyError'
  readonly reason: OutboundProxyReason

  /** `authority` is the host and port that the tunnel should lead to. */
  constructor({ origin }: OutboundProxy, authority: string, reason: OutboundProxyReason, cause?: unknown) {
    const code = errorCode(cause) ?? 'no code'
    const proxy = `the outbound proxy ${origin}`
    const messages = {
      unreachable: `${proxy} could not be reached (${code})`,
      timeout: `${proxy} gave no tunnel to ${authority} in time`,
      tls: `TLS with ${proxy} failed (${code})`,
      protocol: `${proxy} broke off or spoke no HTTP (${code})`,
      407: `${proxy} wants other credentials (HTTP 407)`,
    }
    const message = messages[reason as keyof typeof messages]
    super(message ?? `${proxy} refused a tunnel to ${authority} (HTTP ${reason})`, { cause })
    this.reason = reason
  }

  /** What to do next. */
  get help(): string {
    return HELP[this.reason as keyof typeof HELP] ?? REFUSED_HELP
  }
}
