// Reads the Host header: there must be exactly one, of the form host[:port].
import { ProxyError } from '../errors.ts'
import { quote } from '../routing/quote.ts'
import { headerValues, type RawHeaders } from '../routing/raw-headers.ts'

export interface Host {
  /** In lower case, without a trailing dot; IPv6 in brackets. */
  readonly hostname: string
  readonly port: number | undefined
  /** As sent, in lower case and without an empty port: the request's own origin and absolute-form targets must equal it. */
  readonly authority: string
}

/** A host name or IPv4 address, or IPv6 in brackets; then a port without leading zeros, which may be empty (RFC 3986 section 3.2.3). No userinfo, no escapes. */
const AUTHORITY = /^([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4})?)?$/

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
  // Only ASCII is lower-cased, because the Kelvin sign would become a "k".
  const sent = /^[!-~]+$/.test(value) ? value.toLowerCase() : ''
  const [, name, digits] = AUTHORITY.exec(sent) ?? []
  const port = digits === undefined ? undefined : Number(digits)
  const hostname = name?.endsWith('.') ? name.slice(0, -1) : name
  if (!hostname || (port ?? 0) > 65535) {
    throw invalid(`The Host header ${quote(value)} is not host[:port].`)
  }
  return { hostname, port, authority: sent.replace(/:$/, '') }
}

function invalid(detail: string): ProxyError {
  return new ProxyError('request_invalid', detail)
}
