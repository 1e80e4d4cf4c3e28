// Turns URLs of the API and of Procore's files into URLs of the proxy, so that callers that follow them keep using the proxy.
import type { Environment } from '../config/config.ts'
import { FILES_PATH, fileOrigin, readFileTarget } from '../guards/file-hosts.ts'

/** How the caller reached the proxy. */
export interface CallerBase {
  /** `http://localhost:8377`: the scheme and authority that the caller used, or those of `publicUrl`. */
  readonly origin: string
  /** The path of `publicUrl`, if it has one, and the company prefix that the caller used: `/acme`, or empty. */
  readonly prefix: string
}

/** The path of a `publicUrl`, without a slash at its end; empty if it has none. */
export function publicPath(publicUrl: string): string {
  return publicUrl.slice(new URL(publicUrl).origin.length)
}

/** Rewrites a URL reference if it points at the API origin; returns anything else unchanged. */
export function rewriteUrl(reference: string, apiOrigin: string, base: CallerBase): string {
  // The common case first, byte for byte. The boundary check excludes https://api.procore.com.evil.example.
  if (reference.startsWith(apiOrigin)) {
    const next = reference.charAt(apiOrigin.length)
    if (next === '' || next === '/' || next === '?' || next === '#') {
      return base.origin + base.prefix + reference.slice(apiOrigin.length)
    }
  }
  // An absolute path is relative to the API. Behind a prefix it would lose the company.
  if (reference.startsWith('/') && !reference.startsWith('//') && !reference.startsWith('/\\')) {
    return base.prefix + reference
  }
  return rewriteUnusual(reference, apiOrigin, base)
}

/** Other spellings (upper case, an explicit default port, `//host/…`) are parsed as a URL and compared by origin. */
function rewriteUnusual(reference: string, apiOrigin: string, base: CallerBase): string {
  const start = /^(?:[a-z][a-z0-9+.-]*:)?\/\/[^/?#\\\s]*/i.exec(reference)
  if (start === null) return reference
  const rest = reference.slice(start[0].length)
  // Parsers differ on whether a backslash ends the host, so such a URL is left unchanged.
  if (!/^(?:$|[/?#])/.test(rest)) return reference
  const url = URL.parse(start[0], apiOrigin)
  if (url === null || url.origin !== apiOrigin || url.username !== '' || url.password !== '') return reference
  return base.origin + base.prefix + rest
}

/**
 * The targets of a Link header, `<…>`, and its quoted parameters, which may contain what looks like a target. A quote that is
 * never closed holds all the rest (RFC 8288 appendix B.4).
 */
const TARGET_OR_QUOTED = /<([^<>]*)>|"(?:[^"\\]|\\(?:.|$))*(?:"|$)/gs

/** Rewrites the `<…>` targets of a Link header (RFC 8288) and leaves the rest unchanged. */
export function rewriteLink(value: string, apiOrigin: string, base: CallerBase): string {
  return value.replace(TARGET_OR_QUOTED, (whole, target?: string) =>
    target === undefined ? whole : `<${rewriteUrl(target, apiOrigin, base)}>`,
  )
}

/** Where the `<` and `>` of each target of a Link header are. */
export function linkTargets(value: string): { at: number; end: number }[] {
  const targets = [...value.matchAll(TARGET_OR_QUOTED)].filter(([, target]) => target !== undefined)
  return targets.map(({ 0: whole, index }) => ({ at: index, end: index + whole.length - 1 }))
}

/** A whole string that is a URL, without user name or IPv6 address. */
const WHOLE_URL = /^(https?):\/\/([a-z0-9._:-]+)((?:[/?#][^\s\p{Cc}\\]*)?)$/iu

/** The signature parameters of S3. A signed URL needs no bearer token and fails with one. Uploads use such URLs too. */
const PRESIGNED = /[?&](?:x-amz-signature|awsaccesskeyid)=/i

/**
 * The URL that fetches a file through the proxy; undefined unless the whole value is the URL of a file that needs the
 * bearer token.
 */
export function rewriteFileUrl(
  value: string,
  environment: Environment,
  base: CallerBase,
): string | undefined {
  const [, scheme = '', host = '', rest = ''] = WHOLE_URL.exec(value) ?? []
  const origin = fileOrigin(host, environment)
  if (origin !== `${scheme}://${host}`.toLowerCase() || PRESIGNED.test(rest)) return undefined
  const own = `${FILES_PATH}${host.toLowerCase()}${rest}`
  return isFetched(own, environment) ? base.origin + base.prefix + own : undefined
}

/** Whether the proxy would fetch this file. It must not hand out a URL that it would refuse. */
function isFetched(own: string, environment: Environment): boolean {
  try {
    // As a client would send it.
    const path = encodeURI(own.split(/[?#]/, 1)[0]!).replaceAll('%25', '%')
    readFileTarget(path, environment)
    return true
  } catch {
    return false
  }
}

/** Resolves a Location against the file's URL: behind the proxy's path, a relative one would lose its host. */
export function absoluteReference(reference: string, fetched: string): string {
  if (/^[a-z][a-z0-9+.-]*:/i.test(reference)) return reference
  return URL.parse(reference, fetched)?.href ?? reference
}
