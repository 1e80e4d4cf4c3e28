// Limits the hops of a request: handles Max-Forwards of OPTIONS, and detects loops by the Via header.
import { ProxyError } from '../errors.ts'
import { headerValues, type RawHeaders } from '../routing/raw-headers.ts'
import { FORWARDED_METHODS } from './framing.ts'

/** No real chain of servers is longer. A larger number counts as this one (RFC 9110 section 7.6.2). */
const MOST_HOPS = 255

/**
 * This proxy's name in `Via` (RFC 9110 section 7.6.3), after a protocol version and before a comment or the next
 * entry.
 */
const OWN_VIA = /(?:^|,)\s*(?:[\w.-]+\/)?[\w.-]+\s+procore-proxy(?=\s*(?:$|[,(]))/gi

/**
 * The response to an `OPTIONS` request that may go no further: a status and headers (name, value, …), without a body.
 */
export interface OptionsAnswer {
  readonly status: 204
  readonly headers: readonly string[]
}

/**
 * Applies `Max-Forwards` (RFC 9110 section 7.6.2). An `OPTIONS` request with 0 is answered here; with a larger number
 * it is forwarded with one less. Returns the response, or the headers to forward (the same array if nothing changes).
 * Other methods ignore the header. Throws `request_invalid` for a repeated header or for anything but digits.
 */
export function optionsAnswer(method: string, rawHeaders: RawHeaders): OptionsAnswer | RawHeaders {
  if (method !== 'OPTIONS') return rawHeaders
  const [value, second] = headerValues(rawHeaders, 'max-forwards')
  if (value === undefined) return rawHeaders
  if (second !== undefined || !/^[0-9]+$/.test(value)) {
    throw new ProxyError('request_invalid', 'Max-Forwards is not exactly one number.')
  }
  const hops = Math.min(Number(value), MOST_HOPS + 1)
  if (hops === 0) return { status: 204, headers: ['Allow', FORWARDED_METHODS.join(', ')] }
  return rawHeaders.map((text, at) => {
    const isValue = at % 2 === 1 && rawHeaders[at - 1]!.toLowerCase() === 'max-forwards'
    return isValue ? String(hops - 1) : text
  })
}

/** Throws `loop_detected` if the request has already passed this proxy twice. */
export function judgeLoop(rawHeaders: RawHeaders): void {
  const via = headerValues(rawHeaders, 'via')
  if (via.length === 0) return
  if ((via.join(', ').match(OWN_VIA)?.length ?? 0) < 2) return
  throw new ProxyError(
    'loop_detected',
    'The request has passed this proxy twice already (see its Via header).',
  )
}
