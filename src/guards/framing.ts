// Refuses requests that Node's parser accepts but that two parsers could frame differently (RFC 9112 sections 6 and
// 11.2).
import { ProxyError } from '../errors.ts'
import type { RawHeaders } from '../routing/raw-headers.ts'

/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-zA-Z-]+$/
const ENDS_A_FIELD = /[\0\r\n]/

/** The methods that are forwarded. To Fastify none of them has a body, so that it parses none. */
export const FORWARDED_METHODS = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT'] as const
const FORWARDED: ReadonlySet<string> = new Set(FORWARDED_METHODS)

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
  if (!TOKEN.test(name)) throw invalid('A header name holds a character that none may hold.')
  if (ENDS_A_FIELD.test(value)) throw invalid('A header value holds CR, LF or NUL.')
  // The length of the name is checked first, so that other names need not be lower-cased.
  if (name.length === 7 && name.toLowerCase() === 'upgrade' && value.toLowerCase() !== 'h2c') {
    throw invalid('Upgrade requests are refused.')
  }
  if (name.length === 6 && name.toLowerCase() === 'expect' && value.toLowerCase() !== '100-continue') {
    throw invalid('Only "Expect: 100-continue" is understood.')
  }
  if (name.length === 14 && isNamed(name, 'content-length')) {
    if (!/^[0-9]+$/.test(value)) throw invalid('Content-Length is not a number.')
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
