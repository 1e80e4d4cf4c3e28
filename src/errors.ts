// Every error the proxy itself answers with: code, status, title, help (CONTRACT section 8; RFC 9457, RFC 9209).

/** Where `docs/errors.md` is published; a problem's `type` is this with the code as its fragment. */
export const ERROR_DOCS_URL = 'https://github.com/procore-proxy/procore-proxy/blob/main/docs/errors.md'

interface ErrorKind {
  readonly status: number
  readonly title: string
  /** What to do next, for the person who reads the answer. */
  readonly help: string
  /** Error type of the Proxy-Status header (RFC 9209 section 2.3). */
  readonly proxyStatus: string
}

/** The whole table. Codes are never renamed or reused; `docs/errors.md` has a heading for each (a test compares them). */
export const ERROR_KINDS = {
  request_invalid: {
    status: 400,
    title: 'The request is malformed',
    help: 'Send a plain HTTP/1.1 request with one Host header and a path without dot segments, backslashes or NUL.',
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
    title: 'The request names two companies',
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
    title: 'Web pages of this origin are not allowed',
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
    title: 'A client key is required',
    help: 'Send one of the keys of `guard.clientKeys` in the header Procore-Proxy-Key.',
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
    help: 'The company is read-only or a rule of it forbids the call; `procore-proxy explain METHOD URL` tells which.',
    proxyStatus: 'http_request_denied',
  },
  route_unknown: {
    status: 404,
    title: 'Nothing is served at this path',
    help: 'Only /rest/… and /vapid/… are forwarded, with an optional company prefix; the proxy itself answers below /_proxy/.',
    proxyStatus: 'http_request_error',
  },
  credentials_rejected: {
    status: 502,
    title: 'Procore refused the client id or secret',
    help: 'Check client id, secret and environment (sandbox and production keys differ; a reset secret must be replaced), then run `procore-proxy check`.',
    proxyStatus: 'proxy_configuration_error',
  },
  token_unavailable: {
    status: 503,
    title: 'No access token could be had',
    help: 'The login server is unreachable or answered nonsense; the proxy keeps trying. Try again after Retry-After seconds.',
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
    help: 'Try again, ask for less at once, or raise `upstream.responseTimeout`. A write may have been carried out.',
    proxyStatus: 'connection_read_timeout',
  },
  upstream_protocol: {
    status: 502,
    title: 'The Procore API broke off or spoke no proper HTTP',
    help: 'Try again; a write may have been carried out, so look before repeating it.',
    proxyStatus: 'http_protocol_error',
  },
  rate_limited: {
    status: 429,
    title: 'The rate budget is used up',
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
    help: 'Send the request again, to the instance that takes over.',
    proxyStatus: 'destination_unavailable',
  },
  recording_missing: {
    status: 404,
    title: 'There is no recording of this request',
    help: 'Record it with `procore-proxy start --record DIR`, or start with --replay-else-record.',
    proxyStatus: 'destination_not_found',
  },
  internal_error: {
    status: 500,
    title: 'The proxy itself failed',
    help: 'This is a defect: report it with the log line of this requestId.',
    proxyStatus: 'proxy_internal_error',
  },
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERROR_KINDS

export interface ProxyErrorOptions {
  /** Seconds; sent as Retry-After. */
  readonly retryAfterSeconds?: number
  /** A closer Proxy-Status error type than the table's (RFC 9209 section 2.3). */
  readonly proxyStatus?: string
  /** A closer advice than the table's. */
  readonly help?: string
  /** With `method_not_allowed`: the methods that are, where they are fewer than those that are forwarded. */
  readonly allow?: string
  /** Logged, never sent. */
  readonly cause?: unknown
}

/** An answer of the proxy's own. `message` is the problem's `detail`: it must hold no secret, token or upstream body. */
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
