// Removes headers from a response and adds the proxy's own before it goes to the caller (RFC 9110 section 7.6).
import { perName } from '../routing/per-name.ts'
import { absoluteReference } from './file-urls.ts'
import { type CallerBase, rewriteLink, rewriteUrl } from './links.ts'
import { connectionNames } from './request-headers.ts'
import type { BodyPlan } from './response-body.ts'
import type { ResponseHead } from './upstream-response.ts'

const NEVER_PASSED = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'set-cookie',
  'set-cookie2',
  'strict-transport-security',
  'alt-svc',
  'service-worker-allowed',
  'refresh',
  'clear-site-data',
])
/**
 * `proxy-` covers Proxy-Authenticate and Proxy-Status: a response from Procore never carries headers that mark the
 * proxy's own errors.
 */
const NEVER_PASSED_PREFIXES = ['proxy-', 'access-control-', 'procore-proxy-']

/**
 * These headers no longer describe a body that was decompressed or rewritten. An ETag passes unchanged, so that
 * callers can send it back in If-Match; a weakened one would never match.
 */
const ABOUT_THE_BYTES = new Set(['content-md5', 'digest', 'content-digest', 'repr-digest', 'accept-ranges'])

/**
 * Media types that browsers do not run. Anything else (HTML, XHTML, XML, SVG, no type, an unknown type) is sandboxed,
 * so that a response shown in a browser can never run scripts in the proxy's own origin. Of several types between
 * commas, browsers use the last one; a type that ends in `+xml` is XML, whatever it begins with.
 */
const INERT_TYPE =
  /^\s*(?:application\/(?:[a-z0-9!#$&^_.-]+\+)?json|application\/(?:pdf|octet-stream|zip|x-ndjson|vnd\.(?:openxmlformats-[a-z.-]+|ms-excel))|text\/(?:plain|csv)|image\/(?:png|jpeg|gif|webp|bmp|tiff)|(?:audio|video)\/[a-z0-9.-]+)\s*(?:;[^,]*)?$/i

type Verdict =
  | 'pass'
  | 'drop'
  | 'link'
  | 'location'
  | 'request-id'
  | 'connection'
  | 'length'
  | 'coding'
  | 'digest'
  | 'type'
  | 'nosniff'

const verdictOf = perName((name): Verdict => {
  const lower = name.toLowerCase()
  let verdict: Verdict = 'pass'
  if (lower === 'link') verdict = 'link'
  else if (lower === 'location') verdict = 'location'
  else if (lower === 'x-request-id') verdict = 'request-id'
  else if (lower === 'connection') verdict = 'connection'
  else if (lower === 'content-type') verdict = 'type'
  else if (lower === 'x-content-type-options') verdict = 'nosniff'
  else if (lower === 'content-length') verdict = 'length'
  else if (lower === 'content-encoding') verdict = 'coding'
  else if (ABOUT_THE_BYTES.has(lower)) verdict = 'digest'
  else if (NEVER_PASSED.has(lower) || NEVER_PASSED_PREFIXES.some((prefix) => lower.startsWith(prefix))) {
    verdict = 'drop'
  }
  return verdict
})

export interface ResponseContext {
  readonly apiOrigin: string
  readonly base: CallerBase
  /** The URL of the fetched file. Redirects of file hosts are not rewritten. */
  readonly fetched?: string | undefined
  readonly company: string
  readonly environment: string
  /** The proxy's own id, used if Procore sends no X-Request-Id. */
  readonly requestId: string
  /** Headers to append unchanged (name, value, …), such as CORS headers for a listed origin. */
  readonly extra: readonly string[] | undefined
}

/**
 * The headers for the caller (name, value, …). `rawHeaders` has the same form, in Latin-1; `plan` says what is done
 * to the body.
 */
export function responseHeaders(
  rawHeaders: readonly string[],
  context: ResponseContext,
  plan?: BodyPlan,
): string[] {
  const { fetched } = context
  const headers: string[] = []
  let named: ReadonlySet<string> | undefined
  let length: readonly [name: string, value: string] | undefined
  let requestId = false
  let types = 0
  let isInert = false
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    const value = rawHeaders[i + 1] as string
    switch (verdictOf(name)) {
      case 'drop':
        continue
      case 'connection':
        named = merge(named, connectionNames([value]))
        continue
      case 'link':
        headers.push(
          name,
          fetched === undefined ? rewriteLink(value, context.apiOrigin, context.base) : value,
        )
        continue
      case 'location':
        headers.push(
          name,
          fetched === undefined
            ? rewriteUrl(value, context.apiOrigin, context.base)
            : absoluteReference(value, fetched),
        )
        continue
      case 'length':
        if (plan === undefined) length = [name, value]
        continue
      case 'coding':
        if (plan?.coding === undefined) headers.push(name, value)
        continue
      case 'digest':
        if (plan === undefined) headers.push(name, value)
        continue
      case 'nosniff':
        continue
      case 'type':
        types++
        isInert = INERT_TYPE.test(value)
        headers.push(name, value)
        continue
      case 'request-id':
        requestId = true
        headers.push(name, value)
        continue
      default:
        headers.push(name, value)
    }
  }
  const kept = named === undefined ? headers : withoutNamed(headers, named)
  kept.push('Procore-Proxy-Company', context.company, 'Procore-Proxy-Environment', context.environment)
  kept.push('X-Content-Type-Options', 'nosniff')
  // Invariant: no response that a browser could run lacks the sandbox. Two types, or one that Connection removes,
  // count as no type.
  if (types !== 1 || !isInert || named?.has('content-type')) kept.push('Content-Security-Policy', 'sandbox')
  if (context.extra !== undefined) kept.push(...context.extra)
  if (!requestId || named?.has('x-request-id')) kept.push('X-Request-Id', context.requestId)
  // Content-Length goes last, because Node changes the bytes of a Content-Disposition that comes after it.
  if (length !== undefined) kept.push(...length)
  return kept
}

/** Node writes interim responses as ASCII: of any other character one byte is left, which may be a line end. */
const ASCII = /^[\t\x20-\x7e]*$/

/** Where the next link of a `Link` header begins. */
const BETWEEN_LINKS = /,\s*(?=<)/
/** A link that Node's own pattern matches at once: one that it does not match may keep it busy for minutes. */
const PLAIN_LINK = /^<[^<>]{0,2000}>(?:\s?;\s?[\w*-]+(?:=(?:"[^";\s]*"|[^";=,\s]+))?){0,8}$/

/** The same for an interim response: what may pass, by lower-case name, with its links rewritten. */
export function informationHeaders(
  head: ResponseHead,
  { apiOrigin, base }: ResponseContext,
): Record<string, string | string[]> {
  const named = connectionNames([head['connection'] ?? []].flat())
  const headers: Record<string, string | string[]> = {}
  for (const [name, value = []] of Object.entries(head)) {
    const verdict = verdictOf(name)
    if (named?.has(name) || ![value].flat().every((each) => ASCII.test(each))) continue
    if (verdict === 'pass') headers[name] = value
    else if (verdict === 'link') {
      headers[name] = [value]
        .flat()
        .flatMap((each) => rewriteLink(each, apiOrigin, base).split(BETWEEN_LINKS))
        .filter((each) => PLAIN_LINK.test(each))
    }
  }
  return headers
}

function merge(a: ReadonlySet<string> | undefined, b: ReadonlySet<string> | undefined) {
  return a === undefined ? b : b === undefined ? a : new Set([...a, ...b])
}

function withoutNamed(headers: readonly string[], named: ReadonlySet<string>): string[] {
  const kept: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    const lower = name.toLowerCase()
    if (named.has(lower)) continue
    kept.push(name, headers[i + 1] as string)
  }
  return kept
}
