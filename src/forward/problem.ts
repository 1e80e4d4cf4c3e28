// Writes the proxy's own error responses: problem+json (RFC 9457, RFC 9209), also for errors of Node and undici.
import { type ServerResponse, STATUS_CODES } from 'node:http'
import { FORWARDED_METHODS } from '../config/access-rules.ts'
import { ERROR_DOCS_URL, ERROR_KINDS, type ErrorCode, ProxyError, type ProxyErrorOptions } from '../errors.ts'
import {
  errorCode,
  FILES_HELP,
  isConnectTimeout,
  isOutOfFiles,
  OutboundProxyError,
  tlsFault,
} from '../network/connection-error.ts'
import type { Exchange } from '../observe/exchange.ts'
import { publicPath } from './links.ts'

/** The part of a request's record that goes into a problem. */
type Known = Pick<Exchange, 'reqId'> & Partial<Pick<Exchange, 'company' | 'extra' | 'publicUrl'>>

/**
 * The headers (name, value, …) and the body of a problem. Also used for sockets that have no ServerResponse. `conceal` hides
 * known secrets in the detail, which may repeat what the caller sent.
 */
export function problem(
  error: ProxyError,
  { reqId: requestId, company, extra, publicUrl }: Known,
  conceal: (text: string) => string = (text) => text,
): { headers: string[]; body: string } {
  const detail = conceal(error.message)
  const body = JSON.stringify({
    type: `${publicUrl === undefined ? '' : publicPath(publicUrl)}${ERROR_DOCS_URL}#${error.code}`,
    title: ERROR_KINDS[error.code].title,
    status: error.status,
    detail,
    code: error.code,
    ...(company !== undefined && { company }),
    requestId,
    help: error.help,
  })
  const headers = [
    'Content-Type',
    'application/problem+json',
    'Content-Length',
    String(Buffer.byteLength(body)),
    'X-Content-Type-Options',
    'nosniff',
    'Cache-Control',
    'no-store',
    'Procore-Proxy-Error',
    error.code,
    'Proxy-Status',
    `procore-proxy; error=${error.proxyStatus}; details="${structuredString(detail)}"`,
    'X-Request-Id',
    requestId,
  ]
  if (company !== undefined) headers.push('Procore-Proxy-Company', company)
  if (error.retryAfterSeconds !== undefined) headers.push('Retry-After', String(error.retryAfterSeconds))
  if (error.code === 'method_not_allowed') {
    headers.push('Allow', error.allow ?? FORWARDED_METHODS.join(', '))
  }
  if (error.code === 'key_required') {
    // Makes spreadsheets and browsers ask their user for the key (RFC 7617).
    headers.push('WWW-Authenticate', 'Basic realm="procore-proxy", charset="UTF-8"')
  }
  if (extra !== undefined) headers.push(...extra)
  return { headers, body }
}

/** A string in a structured field holds printable ASCII only (RFC 8941 section 3.3.3). */
function structuredString(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')
}

/** Answers with a problem, or breaks the response off if it has already begun. Returns the length of the body. */
export function sendProblem(
  response: ServerResponse,
  error: ProxyError,
  known: Known,
  conceal?: (text: string) => string,
): number {
  if (response.headersSent) {
    response.destroy()
    return 0
  }
  const { headers, body } = problem(error, known, conceal)
  // The reason phrase is given, because one may be left from a response that could not be written.
  response.writeHead(error.status, STATUS_CODES[error.status], headers)
  const sent = response.req.method === 'HEAD' ? '' : body
  response.end(sent)
  return Buffer.byteLength(sent)
}

/** The API sent no byte within `upstream.responseTimeout`. */
export class ResponseTimeoutError extends Error {
  override readonly name = 'ResponseTimeoutError'
}

const UNREACHABLE: Record<string, { proxyStatus: string; detail: string }> = {
  ECONNREFUSED: { proxyStatus: 'connection_refused', detail: 'The API refused the connection.' },
  ENOTFOUND: { proxyStatus: 'dns_error', detail: 'The host name is not known to DNS.' },
  EAI_AGAIN: { proxyStatus: 'dns_error', detail: 'DNS did not answer for the host name.' },
  EHOSTUNREACH: { proxyStatus: 'destination_ip_unroutable', detail: 'No route to the API host.' },
  ENETUNREACH: { proxyStatus: 'destination_ip_unroutable', detail: 'No route to the API network.' },
}

const BROKEN_OFF: ReadonlySet<string> = new Set(['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'UND_ERR_SOCKET'])

function outboundProxyStatus(error: OutboundProxyError): string {
  switch (error.reason) {
    case 'timeout':
      return 'connection_timeout'
    case 'tls':
      return tlsFault(error)?.proxyStatus ?? 'tls_protocol_error'
    case 'protocol':
      return 'http_protocol_error'
    case 'unreachable':
      return UNREACHABLE[errorCode(error) ?? '']?.proxyStatus ?? 'connection_terminated'
    default:
      return error.reason >= 500 ? 'destination_unavailable' : 'http_request_denied'
  }
}

/**
 * The error to answer with; a ProxyError is returned unchanged. The original error becomes its cause, which is only
 * logged.
 */
export function upstreamError(error: unknown): ProxyError {
  if (error instanceof ProxyError) return error
  const make = (code: ErrorCode, detail: string, options: Omit<ProxyErrorOptions, 'cause'> = {}) =>
    new ProxyError(code, detail, { ...options, cause: error })
  if (error instanceof ResponseTimeoutError) {
    return make('upstream_timeout', 'The API sent nothing within upstream.responseTimeout.')
  }
  if (isOutOfFiles(error)) {
    const detail = "This machine's limit on open files is reached, so nothing was sent to the API."
    return make('overloaded', detail, { retryAfterSeconds: 1, help: FILES_HELP })
  }
  if (error instanceof OutboundProxyError) {
    return make(
      error.reason === 'timeout' ? 'upstream_timeout' : 'upstream_unreachable',
      `The API could not be reached: ${error.message}.`,
      { proxyStatus: outboundProxyStatus(error), help: error.help },
    )
  }
  const code = errorCode(error) ?? ''
  if (isConnectTimeout(error) || code === 'ETIMEDOUT') {
    return make('upstream_timeout', 'No connection to the API within upstream.connectTimeout.', {
      proxyStatus: 'connection_timeout',
    })
  }
  const tls = tlsFault(error)
  if (tls !== undefined) return make('upstream_unreachable', `TLS with the API failed: ${tls.text}.`, tls)
  const unreachable = UNREACHABLE[code]
  if (unreachable !== undefined) {
    return make('upstream_unreachable', unreachable.detail, { proxyStatus: unreachable.proxyStatus })
  }
  if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED') {
    return make('request_invalid', 'The request contains something that no HTTP/1.1 client can send.')
  }
  if (code === 'UND_ERR_CLOSED' || code === 'UND_ERR_DESTROYED') {
    return make('shutting_down', 'The proxy closed its connections to the API before the answer was there.', {
      help: 'Send the request again; a write may have been carried out, so look before repeating it.',
    })
  }
  if (BROKEN_OFF.has(code)) {
    return make('upstream_protocol', 'The API broke the connection off.', {
      proxyStatus: 'connection_terminated',
    })
  }
  return make('upstream_protocol', 'The API did not speak proper HTTP.')
}
