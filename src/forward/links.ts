// Turns URLs of the API origin into URLs of the proxy, so that callers who follow them stay with it.

/** Where a caller reached the proxy. */
export interface CallerBase {
  /** `http://localhost:8377`: the scheme and authority that the caller used. */
  readonly origin: string
  /** The company prefix that the caller used, `/acme`, or empty. */
  readonly prefix: string
}

/** Rewrites one URL reference where it points at the API origin; anything else comes back as it is. */
export function rewriteUrl(reference: string, apiOrigin: string, base: CallerBase): string {
  // The common case first, byte for byte; the boundary keeps https://api.procore.com.evil.example out.
  if (reference.startsWith(apiOrigin)) {
    const next = reference.charAt(apiOrigin.length)
    if (next === '' || next === '/' || next === '?' || next === '#') {
      return base.origin + base.prefix + reference.slice(apiOrigin.length)
    }
  }
  // A path alone resolves against the API; behind a prefix it would lose the company.
  if (reference.startsWith('/') && !reference.startsWith('//') && !reference.startsWith('/\\')) {
    return base.prefix + reference
  }
  return rewriteUnusual(reference, apiOrigin, base)
}

/** Upper case, an explicit default port, `//host/…`: read as a URL, then compared by origin. */
function rewriteUnusual(reference: string, apiOrigin: string, base: CallerBase): string {
  const start = /^(?:[a-z][a-z0-9+.-]*:)?\/\/[^/?#\\\s]*/i.exec(reference)
  if (start === null) return reference
  const rest = reference.slice(start[0].length)
  // Readers differ on whether a backslash ends the host: left as it is, it means what it meant before.
  if (!/^(?:$|[/?#])/.test(rest)) return reference
  const url = URL.parse(start[0], apiOrigin)
  if (url === null || url.origin !== apiOrigin || url.username !== '' || url.password !== '') return reference
  return base.origin + base.prefix + rest
}

/** A quoted parameter may hold what looks like a target. */
const TARGET_OR_QUOTED = /"(?:[^"\\]|\\.)*"|<([^<>]*)>/g

/** Rewrites the `<…>` targets of a Link header (RFC 8288); everything around them stays as it is. */
export function rewriteLink(value: string, apiOrigin: string, base: CallerBase): string {
  return value.replace(TARGET_OR_QUOTED, (match, reference: string | undefined) =>
    reference === undefined ? match : `<${rewriteUrl(reference, apiOrigin, base)}>`,
  )
}
