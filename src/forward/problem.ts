// Writes the proxy's own error responses: problem+json with headers that distinguish them from Procore's (RFC 9457,
// RFC 9209).
import { type ServerResponse, STATUS_CODES } from 'node:http'
import { ERROR_DOCS_URL, ERROR_KINDS, type ProxyError } from '../errors.ts'

export interface ProblemContext {
  readonly requestId: string
  readonly company?: string | undefined
  /** Headers to append unchanged (name, value, …), such as CORS headers for a listed origin. */
  readonly extra?: readonly string[] | undefined
}

/** The headers (name, value, …) and the body of a problem. Also used for sockets that have no ServerResponse. */
export function problem(error: ProxyError, context: ProblemContext): { headers: string[]; body: string } {
  const body = JSON.stringify({
    type: `${ERROR_DOCS_URL}#${error.code}`,
    title: ERROR_KINDS[error.code].title,
    status: error.status,
    detail: error.message,
    code: error.code,
    ...(context.company !== undefined && { company: context.company }),
    requestId: context.requestId,
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
    `procore-proxy; error=${error.proxyStatus}; details="${structuredString(error.message)}"`,
    'X-Request-Id',
    context.requestId,
  ]
  if (context.company !== undefined) headers.push('Procore-Proxy-Company', context.company)
  if (error.retryAfterSeconds !== undefined) headers.push('Retry-After', String(error.retryAfterSeconds))
  if (error.code === 'method_not_allowed') {
    headers.push('Allow', error.allow ?? 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS')
  }
  if (error.code === 'key_required') {
    // Makes spreadsheets and browsers ask their user for the key (RFC 7617).
    headers.push('WWW-Authenticate', 'Basic realm="procore-proxy", charset="UTF-8"')
  }
  if (context.extra !== undefined) headers.push(...context.extra)
  return { headers, body }
}

/** A string in a structured field holds printable ASCII only (RFC 8941 section 3.3.3). */
function structuredString(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')
}

/** Answers with a problem, or breaks the response off if it has already begun. */
export function sendProblem(response: ServerResponse, error: ProxyError, context: ProblemContext): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const { headers, body } = problem(error, context)
  // The reason phrase is given, because one may be left from a response that could not be written.
  response.writeHead(error.status, STATUS_CODES[error.status], headers)
  response.end(response.req.method === 'HEAD' ? undefined : body)
}
