// Lists every error that the proxy itself answers with: code, status, title, help (RFC 9457, RFC 9209).

/** Where the proxy serves `docs/errors.md`; a problem's `type` is this with the code as its fragment. */
export const ERROR_DOCS_URL = '/_proxy/errors'

interface ErrorKind {
  readonly status: number
  readonly title: string
  /** What the person who reads the error should do next. */
  readonly help: string
  /** Error type of the Proxy-Status header (RFC 9209 section 2.3). */
  readonly proxyStatus: string
}

/** The whole table. Codes are never renamed or reused; `docs/errors.md` has a heading for each (a test compares them). */
export const ERROR_KINDS = {
  request_invalid: {
    status: 400,
    title: 'The request is malformed',
    help: 'Send a plain HTTP/1.1 request with one Host header and a path without dot segments, backslashes or NUL. `detail` says what is wrong with this one.',
    proxyStatus: 'http_request_error',
  },
  company_required: {
    status: 400,
    title: 'The request names no company',
    help: 'Put the company in front of the path (/NAME/rest/…), send Procore-Company-Id, or mark one company `default: true`.',
    proxyStatus: 'http_request_error',
  },
  company_unknown: {
    status: 404,
    title: 'The company is not configured',
    help: 'Use a configured company, or add this one under `companies:` (or "*" for a developer managed service account).',
    proxyStatus: 'http_request_error',
  },
  company_conflict: {
    status: 409,
    title: 'The request names more than one company',
    help: 'Make the address, path prefix, Procore-Company-Id header, /companies/ID segment and company_id query agree.',
    proxyStatus: 'http_request_error',
  },
  host_not_allowed: {
    status: 403,
    title: 'This Host is not allowed',
    help: 'Call localhost or 127.0.0.1, or add the host name to `guard.allowedHosts`.',
    proxyStatus: 'http_request_denied',
  },
  origin_not_allowed: {
    status: 403,
    title: 'Web pages of this origin may not call the proxy',
    help: 'If the page is yours, add its origin to `guard.allowedOrigins`.',
    proxyStatus: 'http_request_denied',
  },
  header_required: {
    status: 412,
    title: 'A required header is missing',
    help: 'Send the header "Procore-Proxy-Request: true" (`guard.requireHeader` is on).',
    proxyStatus: 'http_request_denied',
  },
  key_required: {
    status: 401,
    title: 'A key is required',
    help: 'Send your key in the header Procore-Proxy-Key, as `Authorization: Bearer KEY`, or as the password of Basic authentication.',
    proxyStatus: 'http_request_denied',
  },
  method_not_allowed: {
    status: 405,
    title: 'This method is not forwarded',
    help: 'TRACE and CONNECT are never forwarded; use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.',
    proxyStatus: 'http_request_denied',
  },
  access_denied: {
    status: 403,
    title: 'The configuration does not allow this call',
    help: 'The company or the caller is read-only, or a rule forbids the call; `procore-proxy explain METHOD URL` shows which.',
    proxyStatus: 'http_request_denied',
  },
  route_unknown: {
    status: 404,
    title: 'Nothing is served at this path',
    help: 'Only /rest/… and /vapid/… are forwarded, with an optional company prefix; the proxy’s own pages are below /_proxy/.',
    proxyStatus: 'http_request_error',
  },
  credentials_rejected: {
    status: 502,
    title: 'Procore rejected the client id or secret',
    help: 'Check client id, secret and environment (sandbox and production keys differ; a reset secret must be replaced), then run `procore-proxy check`.',
    proxyStatus: 'proxy_configuration_error',
  },
  token_unavailable: {
    status: 503,
    title: 'No access token is available',
    help: 'The login server is unreachable or its response contains no token; the proxy keeps trying. Try again after Retry-After seconds.',
    proxyStatus: 'destination_unavailable',
  },
  upstream_unreachable: {
    status: 502,
    title: 'The Procore API could not be reached',
    help: 'Check the network, DNS, outbound proxy (`network.proxy`) and certificates (`network.caFile`) of this machine, then run `procore-proxy check`.',
    proxyStatus: 'connection_refused',
  },
  upstream_timeout: {
    status: 504,
    title: 'The Procore API did not answer in time',
    help: 'Try again, ask for less at once, or raise `upstream.responseTimeout`. A write may have been carried out: check before you repeat it.',
    proxyStatus: 'connection_read_timeout',
  },
  upstream_protocol: {
    status: 502,
    title: 'The Procore API broke off its answer or sent invalid HTTP',
    help: 'Try again. A write may have been carried out: check before you repeat it.',
    proxyStatus: 'http_protocol_error',
  },
  rate_limited: {
    status: 429,
    title: 'The rate limit is used up',
    help: 'Wait for Retry-After seconds, or call less often.',
    proxyStatus: 'http_request_denied',
  },
  overloaded: {
    status: 503,
    title: 'Too many requests at once',
    help: 'Wait for Retry-After seconds, send fewer requests at once, or raise `upstream.connections` or `upstream.maxQueued`.',
    proxyStatus: 'connection_limit_reached',
  },
  shutting_down: {
    status: 503,
    title: 'The proxy is shutting down',
    help: 'Send the request again to the instance that takes over.',
    proxyStatus: 'destination_unavailable',
  },
  list_too_long: {
    status: 422,
    title: 'The list is too long',
    help: 'Ask for less with filters, or raise `lists.maxPages` or `lists.maxProjects`.',
    proxyStatus: 'http_request_denied',
  },
  list_not_a_list: {
    status: 422,
    title: 'The response is not a list',
    help: 'Use a path that returns an array, such as /rest/v1.0/projects. Call other paths without /_proxy/csv, /_proxy/ndjson or /_proxy/json in front.',
    proxyStatus: 'http_request_error',
  },
  audit_unavailable: {
    status: 503,
    title: 'The audit file can’t be written',
    help: 'Free disk space or fix the permissions of `audit.file`. Writes are refused until then; reads still work.',
    proxyStatus: 'proxy_internal_error',
  },
  recording_missing: {
    status: 404,
    title: 'There is no recording of this request',
    help: 'Record it with `procore-proxy start --record DIR`, or start with --replay-else-record.',
    proxyStatus: 'destination_not_found',
  },
  loop_detected: {
    status: 508,
    title: 'The request loops back to this proxy',
    help: 'The API’s address leads back to this proxy: correct `apiUrl`, or the server in front of the proxy.',
    proxyStatus: 'proxy_loop_detected',
  },
  internal_error: {
    status: 500,
    title: 'The proxy itself failed',
    help: 'This is a defect of the proxy: please report it with the log line of this requestId.',
    proxyStatus: 'proxy_internal_error',
  },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERROR_KINDS

export interface ProxyErrorOptions {
  /** Seconds; sent as Retry-After. */
  readonly retryAfterSeconds?: number
  /** A more exact Proxy-Status error type than the table's (RFC 9209 section 2.3). */
  readonly proxyStatus?: string
  /** More exact advice than the table's. */
  readonly help?: string
  /** For `method_not_allowed`: the allowed methods, if only some of the forwarded methods are allowed. */
  readonly allow?: string
  /** Logged, never sent. */
  readonly cause?: unknown
}

/**
 * An error that the proxy itself answers with. `message` becomes the problem's `detail`; it must contain no secret,
 * token or upstream body.
 */
export class ProxyError extends Error {
  override readonly name = 'ProxyError'
  readonly code: ErrorCode
  readonly status: number
  readonly help: string
  readonly proxyStatus: string
  readonly retryAfterSeconds: number | undefined
  readonly allow: string | undefined

  constructor(code: ErrorCode, detail: string, options: ProxyErrorOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause })
    const kind = ERROR_KINDS[code]
    this.code = code
    this.status = kind.status
    this.help = options.help ?? kind.help
    this.proxyStatus = options.proxyStatus ?? kind.proxyStatus
    this.retryAfterSeconds = options.retryAfterSeconds
    this.allow = options.allow
  }
}
