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

/**
 * Rewrites the `<…>` targets of a Link header (RFC 8288); everything around them stays as it is. Quoted parameters may hold
 * what looks like a target. One pass over the value: its time grows with its length only.
 */
export function rewriteLink(value: string, apiOrigin: string, base: CallerBase): string {
  let rewritten = ''
  let copied = 0
  // A quote without an end is an ordinary character, and so are all after it.
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
    rewritten += `${value.slice(copied, at)}<${rewriteUrl(value.slice(at + 1, end), apiOrigin, base)}>`
    copied = end + 1
    at = end
  }
  return rewritten + value.slice(copied)
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
