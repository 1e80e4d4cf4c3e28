// Judges a request by its headers: framing (RFC 9112), Host, Origin, and the hops it has made.
import { FORWARDED } from '../config/access-rules.ts'
import type { GuardSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { headerValues, quote, type RawHeaders } from '../routing/raw-request.ts'

/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-zA-Z-]+$/
const ENDS_A_FIELD = /[\0\r\n]/

/** No legitimate request has more header lines. Node would silently drop those beyond its own limit. */
const MOST_HEADERS = 1000

/**
 * Throws `method_not_allowed` for all other methods, and `request_invalid` for upgrades (an offer of `h2c` is ignored, as
 * RFC 9110 section 7.8 allows) and for headers that leave the end of the body, or of a field, open to interpretation.
 */
export function judgeFraming(rawHeaders: RawHeaders, method: string, httpVersion: string): void {
  // Node's parser accepts 0.9 and 2.0, whose bodies end differently.
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    throw invalid('The request is neither HTTP/1.1 nor HTTP/1.0.')
  }
  if (!FORWARDED.has(method)) {
    throw new ProxyError('method_not_allowed', `${method} requests are never forwarded.`)
  }
  if (rawHeaders.length > 2 * MOST_HEADERS)
    throw invalid(`The request has more than ${MOST_HEADERS} headers.`)
  let lengths = 0
  let codings = 0
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const framing = judgeField(rawHeaders[at]!, rawHeaders[at + 1]!)
    if (framing === 'length') lengths++
    if (framing === 'coding') codings++
  }
  if (lengths > 1) throw invalid('The request has more than one Content-Length header.')
  if (codings > 1) throw invalid('The request has more than one Transfer-Encoding header.')
  if (lengths + codings > 1) throw invalid('The request has both Transfer-Encoding and Content-Length.')
  if (codings > 0 && httpVersion === '1.0') throw invalid('Transfer-Encoding needs HTTP/1.1.')
}

function judgeField(name: string, value: string): 'length' | 'coding' | undefined {
  if (!TOKEN.test(name)) throw invalid('A header name contains an invalid character.')
  if (ENDS_A_FIELD.test(value)) throw invalid('A header value contains CR, LF or NUL.')
  // The length of the name is checked first, so that other names need not be lower-cased.
  if (name.length === 7 && name.toLowerCase() === 'upgrade' && value.toLowerCase() !== 'h2c') {
    throw invalid('Upgrade requests are refused.')
  }
  if (name.length === 6 && name.toLowerCase() === 'expect' && value.toLowerCase() !== '100-continue') {
    throw invalid('Only "Expect: 100-continue" is understood.')
  }
  if (name.length === 14 && isNamed(name, 'content-length')) {
    // A longer number would reach Procore rounded.
    if (!/^[0-9]+$/.test(value) || !Number.isSafeInteger(Number(value))) {
      throw invalid('Content-Length is not a number, or too large.')
    }
    return 'length'
  }
  if (name.length === 17 && isNamed(name, 'transfer-encoding')) {
    // The names of transfer codings are case-insensitive (RFC 9112 section 7).
    if (value.toLowerCase() !== 'chunked') throw invalid('Transfer-Encoding is not exactly "chunked".')
    return 'coding'
  }
  return undefined
}

/** Servers behind CGI-like interfaces read `_` as `-`. No legitimate caller writes these names with it. */
function isNamed(name: string, wanted: string): boolean {
  const lower = name.toLowerCase()
  if (lower === wanted) return true
  if (lower.replaceAll('_', '-') === wanted) throw invalid(`${wanted} is spelt with an underscore.`)
  return false
}

function invalid(detail: string): ProxyError {
  return new ProxyError('request_invalid', detail)
}

export interface Host {
  /** In lower case, without a trailing dot; IPv6 in brackets. */
  readonly hostname: string
  readonly port: number | undefined
  /** As sent, in lower case and without an empty port: the request's own origin and absolute-form targets must equal it. */
  readonly authority: string
}

/** A host name or IPv4 address, or IPv6 in brackets; then a port without leading zeros, which may be empty (RFC 3986 section 3.2.3). No userinfo, no escapes. */
const AUTHORITY = /^([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4})?)?$/i

/**
 * The request's Host (RFC 9112 section 3.2). HTTP/1.0 callers have to send it too, because without it a rebound name
 * looks like localhost. Throws `request_invalid`.
 */
export function readHost(rawHeaders: RawHeaders, httpVersion: string): Host {
  const values = headerValues(rawHeaders, 'host')
  const [value] = values
  if (value === undefined)
    throw invalid(`The request has no Host header; HTTP/${httpVersion} needs one here.`)
  if (values.length > 1) throw invalid('The request has more than one Host header.')
  // Lower-cased after the test only, because the Kelvin sign would become a "k".
  const [, name, digits] = AUTHORITY.exec(value) ?? []
  const port = digits === undefined ? undefined : Number(digits)
  const hostname = name?.replace(/\.$/, '').toLowerCase()
  if (!hostname || (port ?? 0) > 65535) {
    throw invalid(`The Host header ${quote(value)} is not host[:port].`)
  }
  return { hostname, port, authority: value.toLowerCase().replace(/:$/, '') }
}

const LOCAL_SUFFIX = '.localhost'

/** 127.0.0.0/8 in the one canonical spelling: no leading zeros, no fewer than four parts. */
const LOOPBACK_V4 = /^127(?:\.(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}$/

/**
 * Throws `host_not_allowed` unless the Host is a loopback name or address, one of the listener's own addresses (as in a
 * Host header, IPv6 with or without brackets, no port) or listed. This is what stops DNS rebinding.
 */
export function judgeHost(
  guard: Pick<GuardSettings, 'allowedHosts'>,
  host: Host,
  ownAddresses: () => readonly string[],
): void {
  const { hostname } = host
  if (isLoopback(hostname) || guard.allowedHosts.includes(hostname)) return
  if (ownAddresses().some((address) => isSameAddress(address, hostname))) return
  throw new ProxyError(
    'host_not_allowed',
    `The Host ${quote(hostname)} is neither a loopback name nor in \`guard.allowedHosts\`.`,
  )
}

function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname === '[::1]' ||
    LOOPBACK_V4.test(hostname) ||
    (hostname.endsWith(LOCAL_SUFFIX) && hostname.length > LOCAL_SUFFIX.length)
  )
}

// Invariant: the unspecified address is never accepted as the listener's own, because any web page can reach loopback
// through it.
function isSameAddress(address: string, hostname: string): boolean {
  if (address === '0.0.0.0' || address === '::' || address === '[::]') return false
  return address === hostname || (address.includes(':') && `[${address}]` === hostname)
}

/** The label before `.localhost`, which must be a company's name; undefined for any other host name. */
export function hostLabel(hostname: string): string | undefined {
  return hostname.endsWith(LOCAL_SUFFIX) ? hostname.slice(0, -LOCAL_SUFFIX.length) : undefined
}

/** How a request reached the proxy. This determines the origin of the proxy's own pages. */
export interface OwnOrigin {
  readonly host: Host
  /**
   * The listener's `publicUrl`, which is the origin of pages that are loaded through a server in front of the proxy.
   */
  readonly publicUrl?: string | undefined
}

/**
 * Throws `origin_not_allowed` for a request that a web page made, unless the page is the proxy's own or from a listed
 * origin (WHATWG Fetch `Origin`, W3C Fetch Metadata `Sec-Fetch-Site`). Returns the listed origin, which needs CORS
 * headers.
 */
export function judgeOrigin(
  guard: Pick<GuardSettings, 'allowedOrigins'>,
  rawHeaders: RawHeaders,
  own: OwnOrigin,
): string | undefined {
  const origins = headerValues(rawHeaders, 'origin')
  const sites = headerValues(rawHeaders, 'sec-fetch-site')
  if (origins.length > 1 || sites.length > 1) throw notAllowed('Origin or Sec-Fetch-Site was sent twice.')
  judgePurpose(rawHeaders)
  const [origin] = origins
  if (origin !== undefined) {
    // `null` is the origin of every sandboxed page, so it is refused even if it is listed.
    if (origin !== 'null' && guard.allowedOrigins.includes(origin)) return origin
    if (!isOwnOrigin(origin, own)) throw notAllowed(`The origin ${quote(origin)} is not listed.`)
  }
  const [site] = sites
  if (site === undefined || site === 'same-origin' || site === 'none') return undefined
  throw notAllowed(`The request was caused by another site (Sec-Fetch-Site ${quote(site)}).`)
}

/** `Sec-Purpose` and its older names, with which browsers mark requests that no person made. */
const PURPOSE_HEADERS = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz']

/**
 * Throws `origin_not_allowed` for prefetches and prerenders: any web page can make a browser send one, and it carries
 * `Sec-Fetch-Site: none`, like a request that a person made.
 */
function judgePurpose(rawHeaders: RawHeaders): void {
  for (const name of PURPOSE_HEADERS) {
    for (const value of headerValues(rawHeaders, name)) {
      if (/prefetch|prerender|preview/i.test(value)) {
        throw notAllowed(
          `The request is a browser's prefetch (${name}: ${quote(value)}), which any web page can cause.`,
        )
      }
    }
  }
}

/** Browsers omit the default port in Origin. Callers may or may not omit it in Host. */
function isOwnOrigin(origin: string, { host, publicUrl }: OwnOrigin): boolean {
  if (publicUrl !== undefined) {
    const { origin: published, hostname } = new URL(publicUrl)
    // Plain HTTP to the public name is a different origin, for which anyone on the network can serve pages.
    if (origin === published || hostname === host.hostname) return origin === published
  }
  const own = `http://${host.authority}`
  if (origin === own || `${origin}:80` === own) return true
  return host.port === undefined && origin === `${own}:80`
}

function notAllowed(detail: string): ProxyError {
  return new ProxyError('origin_not_allowed', detail)
}

/** No real chain of servers is longer. A larger number counts as this one (RFC 9110 section 7.6.2). */
const MOST_HOPS = 255

/**
 * This proxy's name in `Via` (RFC 9110 section 7.6.3), after a protocol version and before a comment or the next
 * entry.
 */
const OWN_VIA = /(?:^|,)\s*(?:[\w.-]+\/)?[\w.-]+\s+procore-proxy(?=\s*(?:$|[,(]))/gi

/**
 * Applies `Max-Forwards` (RFC 9110 section 7.6.2) to an `OPTIONS` request. Returns the headers to forward, with one less (the
 * same array if nothing changes); undefined if the request may go no further, and is answered here. Throws
 * `request_invalid` for a repeated header or for anything but digits.
 */
export function withOneHopLess(method: string, rawHeaders: RawHeaders): RawHeaders | undefined {
  if (method !== 'OPTIONS') return rawHeaders
  const [value, second] = headerValues(rawHeaders, 'max-forwards')
  if (value === undefined) return rawHeaders
  if (second !== undefined || !/^[0-9]+$/.test(value)) {
    throw new ProxyError('request_invalid', 'Max-Forwards is not exactly one number.')
  }
  const hops = Math.min(Number(value), MOST_HOPS + 1)
  if (hops === 0) return undefined
  return rawHeaders.map((text, at) => {
    const isValue = at % 2 === 1 && rawHeaders[at - 1]!.toLowerCase() === 'max-forwards'
    return isValue ? String(hops - 1) : text
  })
}

/** Throws `loop_detected` if the request has already passed this proxy twice. */
export function judgeLoop(rawHeaders: RawHeaders): void {
  const via = headerValues(rawHeaders, 'via')
  if ((via.join(', ').match(OWN_VIA)?.length ?? 0) < 2) return
  throw new ProxyError(
    'loop_detected',
    'The request has passed this proxy twice already (see its Via header).',
  )
}

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
  const [value = '', second] = headerValues(rawHeaders, name)
  return second === undefined && REFLECTABLE.test(value) ? value : undefined
}
