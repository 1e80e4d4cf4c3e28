// Tells what went wrong between the proxy and the API: an error of Node's or undici's becomes one of ours.
import { errors } from 'undici'
import { errorCode, isTlsError } from '../auth/request-token.ts'
import { type ErrorCode, ProxyError, type ProxyErrorOptions } from '../errors.ts'

/** The API let `upstream.responseTimeout` pass without a byte. */
export class ResponseTimeoutError extends Error {
  override readonly name = 'ResponseTimeoutError'
}

const TLS_HELP =
  'The API showed a certificate that this machine does not trust (self-signed, expired or for another name), so nothing was sent. Behind an inspecting proxy, name its CA with NODE_EXTRA_CA_CERTS.'

const UNREACHABLE: Record<string, { proxyStatus: string; detail: string }> = {
  ECONNREFUSED: { proxyStatus: 'connection_refused', detail: 'The API refused the connection.' },
  ENOTFOUND: { proxyStatus: 'dns_error', detail: "The API's host name is not known to DNS." },
  EAI_AGAIN: { proxyStatus: 'dns_error', detail: 'DNS did not answer for the API host name.' },
  EHOSTUNREACH: { proxyStatus: 'destination_ip_unroutable', detail: 'No route to the API host.' },
  ENETUNREACH: { proxyStatus: 'destination_ip_unroutable', detail: 'No route to the API network.' },
}

/** The error to answer with; a ProxyError comes back as it is. The original is its cause, for the log alone. */
export function upstreamError(error: unknown): ProxyError {
  if (error instanceof ProxyError) return error
  const make = (code: ErrorCode, detail: string, options: Omit<ProxyErrorOptions, 'cause'> = {}) =>
    new ProxyError(code, detail, { ...options, cause: error })
  if (error instanceof ResponseTimeoutError) {
    return make('upstream_timeout', 'The API sent nothing within upstream.responseTimeout.')
  }
  const code = errorCode(error) ?? ''
  if (error instanceof errors.ConnectTimeoutError || code === 'ETIMEDOUT') {
    return make('upstream_timeout', 'No connection to the API within upstream.connectTimeout.', {
      proxyStatus: 'connection_timeout',
    })
  }
  if (isTlsError(error)) {
    return make('upstream_unreachable', `The API's certificate was refused (${code}).`, {
      proxyStatus: 'tls_certificate_error',
      help: TLS_HELP,
    })
  }
  const unreachable = UNREACHABLE[code]
  if (unreachable !== undefined) {
    return make('upstream_unreachable', unreachable.detail, { proxyStatus: unreachable.proxyStatus })
  }
  if (error instanceof errors.InvalidArgumentError || error instanceof errors.NotSupportedError) {
    return make('request_invalid', 'The request holds something that no HTTP/1.1 client can send.')
  }
  if (error instanceof errors.ClientClosedError || error instanceof errors.ClientDestroyedError) {
    return make('shutting_down', 'The proxy closed its connections to the API before the answer was there.', {
      help: 'Send the request again; a write may have been carried out, so look before repeating it.',
    })
  }
  if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'UND_ERR_SOCKET') {
    return make('upstream_protocol', 'The API broke the connection off.', {
      proxyStatus: 'connection_terminated',
    })
  }
  return make('upstream_protocol', 'The API did not speak proper HTTP.')
}
