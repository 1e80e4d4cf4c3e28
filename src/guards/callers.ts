// Judges Host and Origin, so that no web page can use the credentials.
import type { GuardSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { quote } from '../routing/quote.ts'
import { headerValues, type RawHeaders } from '../routing/raw-headers.ts'
import type { Host } from './host.ts'

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
  if (origin === own) return true
  if (host.port === 80) return `${origin}:80` === own
  return host.port === undefined && origin === `${own}:80`
}

function notAllowed(detail: string): ProxyError {
  return new ProxyError('origin_not_allowed', detail)
}
