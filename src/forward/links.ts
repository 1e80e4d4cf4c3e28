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

/** Rewrites the `<…>` targets of a Link header (RFC 8288) and leaves the rest unchanged. */
export function rewriteLink(value: string, apiOrigin: string, base: CallerBase): string {
  let rewritten = ''
  let copied = 0
  for (const { at, end } of linkTargets(value)) {
    rewritten += `${value.slice(copied, at)}<${rewriteUrl(value.slice(at + 1, end), apiOrigin, base)}>`
    copied = end + 1
  }
  return rewritten + value.slice(copied)
}

/**
 * Where the `<` and `>` of each target of a Link header are. Quoted parameters may contain what looks like a target. Works
 * in one pass, in time linear in the length of the value.
 */
export function linkTargets(value: string): { at: number; end: number }[] {
  const targets: { at: number; end: number }[] = []
  // A quote that is never closed is an ordinary character, and so are all quotes after it.
  let hasQuotes = true
  for (let at = 0; at < value.length; at++) {
    const char = value[at]
    if (char === '"' && hasQuotes) {
      const end = endOfQuoted(value, at)
      if (end === -1) hasQuotes = false
      else at = end
    }
    const end = char === '<' ? endOfTarget(value, at) : -1
    if (end === -1) continue
    targets.push({ at, end })
    at = end
  }
  return targets
}

/** The index of the quote that closes the one at `from`, or -1 if there is none. */
function endOfQuoted(value: string, from: number): number {
  for (let at = from + 1; at < value.length; at++) {
    if (value[at] === '\\') at++
    else if (value[at] === '"') return at
  }
  return -1
}

/** The index of the `>` that ends a target, or -1 if another `<` or the end of the value comes first. */
function endOfTarget(value: string, from: number): number {
  for (let at = from + 1; at < value.length; at++) {
    if (value[at] === '>') return at
    if (value[at] === '<') return -1
  }
  return -1
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
  if (origin === undefined || origin !== `${scheme}://${host}`.toLowerCase() || PRESIGNED.test(rest)) {
    return undefined
  }
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
