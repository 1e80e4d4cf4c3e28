// Explains why a connection failed: error codes, and the error for an outbound proxy that opens no tunnel.
import type { OutboundProxy } from '../config/config.ts'

/** True if no connection was opened in time. */
export function isConnectTimeout(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === 'UND_ERR_CONNECT_TIMEOUT'
}

const CERTIFICATE = 'tls_certificate_error'
const PROTOCOL = 'tls_protocol_error'
const ALERT = 'tls_alert_received'
const CA_HELP =
  'Behind a proxy that inspects TLS, name the certificate of its CA with network.caFile or NODE_EXTRA_CA_CERTS.'
const RENEW_HELP = 'Check the clock of this machine; if it is right, the server needs another certificate.'
const VERSION_HELP = 'The server has to offer TLS 1.2 or 1.3; the proxy accepts nothing older.'

/** By error code; the first that matches counts. */
const TLS_FAULTS: [code: RegExp, what: string, help: string, proxyStatus: string][] = [
  [/^CERT_HAS_EXPIRED/, 'its certificate has expired', RENEW_HELP, CERTIFICATE],
  [/^CERT_NOT_YET_VALID/, 'its certificate is not valid yet', RENEW_HELP, CERTIFICATE],
  [
    /ALTNAME_INVALID|^HOSTNAME_MISMATCH/,
    'its certificate is for another name',
    'Check the host in apiUrl or loginUrl; if it is right, another server answers with a certificate of its own.',
    CERTIFICATE,
  ],
  [/^DEPTH_ZERO_SELF_SIGNED/, 'its certificate is self-signed', CA_HELP, CERTIFICATE],
  [
    /^(SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY))/,
    'its certificate comes from an authority that this machine does not trust',
    CA_HELP,
    CERTIFICATE,
  ],
  [/^(CERT_|UNABLE_TO_)/, 'its certificate was refused', CA_HELP, CERTIFICATE],
  [/ALERT_PROTOCOL_VERSION/, 'its version of TLS is too old', VERSION_HELP, ALERT],
  [/UNSUPPORTED_PROTOCOL/, 'its version of TLS is too old', VERSION_HELP, PROTOCOL],
  [
    /CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE/,
    'it refused this machine, most likely because it wants a client certificate',
    'The proxy sends no client certificate. Ask those who run the server to let this machine in without one.',
    ALERT,
  ],
  [
    /^ERR_(SSL|TLS)_.*ALERT/,
    'it refused the connection',
    'Check host and port in apiUrl or loginUrl.',
    ALERT,
  ],
  [
    /^ERR_(SSL|TLS)_/,
    'what answers there does not speak proper TLS',
    'Check scheme and port in apiUrl or loginUrl: a server that speaks plain HTTP is reached with http://.',
    PROTOCOL,
  ],
]

/** What is wrong if a connection failed because of TLS: `text` goes behind "TLS with … failed: ". */
export function tlsFault(error: unknown) {
  const code = errorCode(error) ?? ''
  const [, what, help, proxyStatus] = TLS_FAULTS.find(([pattern]) => pattern.test(code)) ?? []
  return help && proxyStatus ? { text: `${what} (${code})`, help, proxyStatus } : undefined
}

/** True if no connection was opened because this machine's limit on open files is reached. */
export function isOutOfFiles(error: unknown): boolean {
  return /^E[MN]FILE$/.test(errorCode(error) ?? '')
}

export const FILES_HELP =
  'Raise the limit on open files (ulimit -n, or LimitNOFILE of systemd), or lower upstream.connections.'

/** The code of an error from Node or undici, or of its causes: `ECONNREFUSED`, `UND_ERR_SOCKET`, … */
export function errorCode(error: unknown): string | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if (at instanceof AggregateError && at.errors.length > 0) return errorCode(at.errors[0])
    const code = (at as NodeJS.ErrnoException).code
    if (typeof code === 'string') return code
  }
  return undefined
}

/** Why there is no tunnel. A number is the HTTP status that the proxy answered with. */
export type OutboundProxyReason = 'unreachable' | 'timeout' | 'tls' | 'protocol' | number

const URL_HELP = 'Check network.proxy, or HTTPS_PROXY where the file has no such key'
const HELP = {
  unreachable: `${URL_HELP}; hosts that are reached without it go into network.noProxy or NO_PROXY.`,
  timeout: `${URL_HELP}, and that it lets this machine through.`,
  tls: 'Name its CA with network.caFile or NODE_EXTRA_CA_CERTS; where it speaks plain HTTP, its URL begins with http://.',
  protocol: `${URL_HELP}: the server at that address is not an HTTP proxy.`,
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
      timeout: `${proxy} did not open a tunnel to ${authority} in time`,
      tls: `TLS with ${proxy} failed (${code})`,
      protocol: `${proxy} closed the connection or did not speak HTTP (${code})`,
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
