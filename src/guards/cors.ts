// Makes the CORS headers for a listed origin, for responses and for preflights (WHATWG Fetch, section "CORS
// protocol").
import { headerValues, type RawHeaders } from '../routing/raw-request.ts'

/** What pages may read besides the safelisted response headers: paging, budget, and who answered. */
const EXPOSED = [
  'Link',
  'Location',
  'Content-Disposition',
  'ETag',
  'Retry-After',
  'Total',
  'Per-Page',
  'X-Rate-Limit-Limit',
  'X-Rate-Limit-Remaining',
  'X-Rate-Limit-Reset',
  'X-Request-Id',
  'Procore-Proxy-Company',
  'Procore-Proxy-Environment',
  'Procore-Proxy-Error',
  'Proxy-Status',
].join(', ')

const PREFLIGHT_VARY = 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers'
const PREFLIGHT_MAX_AGE_SECONDS = '600'

/** One method, or a list of header names: tokens (RFC 9110 section 5.6.2), commas, spaces. */
const REFLECTABLE = /^[A-Za-z0-9!#$%&'^_`|~+.-]+(?: *, *[A-Za-z0-9!#$%&'^_`|~+.-]+)*$/

/** The parts of a request that CORS depends on. */
export interface CorsRequest {
  readonly method: string
  readonly rawHeaders: RawHeaders
}

/** True for a preflight, which the proxy answers with 204. Browsers send no keys with it. */
export function isPreflight({ method, rawHeaders }: CorsRequest): boolean {
  return method === 'OPTIONS' && headerValues(rawHeaders, 'access-control-request-method').length > 0
}

/**
 * The headers for an origin that {@link judgeOrigin} returned; never `*`, never credentials. `Vary` has to be added
 * to the response's own.
 */
export function corsHeaders(origin: string, request: CorsRequest): Readonly<Record<string, string>> {
  const headers: Record<string, string> = { 'access-control-allow-origin': origin, vary: 'Origin' }
  if (!isPreflight(request)) {
    headers['access-control-expose-headers'] = EXPOSED
    return headers
  }
  headers['vary'] = PREFLIGHT_VARY
  headers['access-control-max-age'] = PREFLIGHT_MAX_AGE_SECONDS
  for (const what of ['method', 'headers', 'private-network'] as const) {
    const value = reflected(request.rawHeaders, `access-control-request-${what}`)
    if (value !== undefined) headers[`access-control-allow-${what === 'method' ? 'methods' : what}`] = value
  }
  return headers
}

function reflected(rawHeaders: RawHeaders, name: string): string | undefined {
  const [value, second] = headerValues(rawHeaders, name)
  return value !== undefined && second === undefined && REFLECTABLE.test(value) ? value : undefined
}
