// Makes the headers of a request to Procore and of a response to the caller.
import type { LiveToken } from '../auth/token-source.ts'
import { codingsOf } from '../network/response.ts'
import { headerValues } from '../routing/raw-request.ts'
import type { ApprovedCall, Call, ResponseHead } from './call.ts'
import { absoluteReference, rewriteLink, rewriteUrl } from './links.ts'
import type { Upstream } from './upstreams.ts'

const MOST_KEPT = 1_000
const LONGEST_KEPT = 64

/** Like `make`, but computes each name only once. If `make` throws, nothing is cached. */
function perName<T extends {}>(make: (name: string) => T): (name: string) => T {
  const known = new Map<string, T>()
  return (name) => {
    const kept = known.get(name)
    if (kept !== undefined) return kept
    // A copy, because a slice would keep the whole request head in memory. Anything but Latin-1 is judged as it is.
    const copy = Buffer.from(name, 'latin1').toString('latin1')
    const own = copy === name ? copy : name
    const made = make(own)
    if (own.length <= LONGEST_KEPT) {
      if (known.size >= MOST_KEPT) known.clear()
      known.set(own, made)
    }
    return made
  }
}

/** The headers of one connection, in either direction (RFC 9110 section 7.6.1, and older practice). */
const HOP_BY_HOP = ['connection', 'keep-alive', 'transfer-encoding', 'te', 'trailer', 'upgrade']

/** Names in lower case. */
const NEVER_SENT = new Set([
  'authorization',
  'procore-company-id',
  'host',
  'cookie',
  'cookie2',
  ...HOP_BY_HOP,
  'http2-settings',
  'expect',
  'forwarded',
  'x-real-ip',
  // Servers behind a rewriting proxy could take another path or method from these than the one that was judged.
  'x-original-url',
  'x-original-uri',
  'x-original-path',
  'x-original-method',
  'x-original-host',
  'x-rewrite-url',
  'x-rewrite-uri',
  'x-override-url',
  'x-http-path-override',
  'x-http-host-override',
  'x-host',
  'x-proxy-url',
  'x-request-uri',
  'x-envoy-original-path',
  'request-uri',
  'origin',
  'referer',
])
/** The proxy reads or adds these itself, so that another spelling must not contradict it. */
const SPELT_EXACTLY = new Set(['content-length', 'accept-encoding'])
const NEVER_SENT_PREFIXES = ['proxy-', 'x-forwarded-', 'sec-', 'procore-proxy-']

type RequestVerdict = 'send' | 'drop' | 'via'

/** Decides what to do with a header of this name in any spelling (upper case, `_` instead of `-`). */
export const requestHeaderVerdict = perName((name): RequestVerdict => {
  const lower = name.toLowerCase()
  // Servers behind CGI-like interfaces read `_` as `-`: oauth2-proxy's CVE-2025-64484.
  const dashed = lower.replaceAll('_', '-')
  const forbidden = NEVER_SENT.has(dashed) || NEVER_SENT_PREFIXES.some((prefix) => dashed.startsWith(prefix))
  let verdict: RequestVerdict = forbidden ? 'drop' : 'send'
  if (dashed === 'via') verdict = 'via'
  if (SPELT_EXACTLY.has(dashed) && lower !== dashed) verdict = 'drop'
  return verdict
})

/** The lower-case names that the `Connection` headers list; undefined if there are none besides the usual two. */
export function connectionNames(values: readonly string[]): ReadonlySet<string> | undefined {
  if (values.length === 0) return undefined
  const lower = values.join().toLowerCase()
  if (lower === 'keep-alive' || lower === 'close') return undefined
  return new Set(lower.split(',').map((name) => name.trim()))
}

/** The names of the headers that are added, for the page and for `explain`. */
export function addedHeaders(gzip: boolean): readonly string[] {
  return ['Host', ...(gzip ? ['Accept-Encoding'] : []), 'Procore-Company-Id', 'Via', 'Authorization']
}

/** Those of the caller's header names that {@link requestHeaders} does not send on. */
export function removedHeaders(names: readonly string[], connection: string | undefined): string[] {
  const named = connectionNames(connection === undefined ? [] : [connection])
  const isRemoved = (name: string) => {
    const lower = name.toLowerCase()
    if (lower === 'host') return false
    return requestHeaderVerdict(name) === 'drop' || (named?.has(lower) && lower !== 'content-length')
  }
  return [...new Set(names.filter(isRemoved))]
}

/**
 * Whether the proxy asks for gzip on the caller's behalf. It does not if the caller names its own encodings, or asks
 * for a range or for headers only: these would then describe a different body. Files are excluded: most are compressed
 * already, and callers need their length.
 */
export function wantsGzip(upstream: Upstream, method: string, rawHeaders: readonly string[]): boolean {
  const { settings, origin, environment } = upstream
  if (settings.compression !== 'auto' || origin !== environment.apiUrl || method === 'HEAD') return false
  const names = (name: string) => headerValues(rawHeaders, name).length > 0
  return !names('accept-encoding') && !names('range')
}

/** What the request headers depend on. */
type Outgoing = Pick<Call, 'rawHeaders' | 'companyId' | 'gzip'> & {
  readonly upstream: { readonly host: string }
}

/** The headers to send, in the form that undici takes: name, value, name, value, … */
export function requestHeaders(call: Outgoing, token: Pick<LiveToken, 'value'>): string[] {
  const { rawHeaders } = call
  const named = connectionNames(headerValues(rawHeaders, 'connection'))
  // Invariant: the injected headers are added last and never taken from the caller, whatever Connection names.
  const headers = ['Host', call.upstream.host]
  let via = ''
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    const verdict = requestHeaderVerdict(name)
    if (verdict === 'drop') continue
    // Content-Length frames the body, so naming it in Connection must not remove it (the class of CVE-2025-48865).
    if (named?.has(name.toLowerCase()) && name.toLowerCase() !== 'content-length') continue
    const value = rawHeaders[at + 1] as string
    if (verdict === 'via') via += `${value}, `
    else headers.push(name, value)
  }
  if (call.gzip) headers.push('Accept-Encoding', 'gzip')
  headers.push('Procore-Company-Id', call.companyId, 'Via', `${via}1.1 procore-proxy`)
  headers.push('Authorization', `Bearer ${token.value}`)
  return headers
}

type Replace = (value: string) => string | undefined

/** What the response to one request may need. */
export interface BodyOptions {
  /** The proxy asked for compression and the caller did not, so the body has to be decompressed. */
  readonly unpack: boolean
  /** Replaces string values in JSON bodies. */
  readonly replace: Replace | undefined
}

/** What has to be done to one response body. */
export interface BodyPlan {
  /** The content coding to decode; undefined if the body is not compressed. */
  readonly coding: string | undefined
  /** Replaces string values; undefined if the body is not rewritten. */
  readonly replace: Replace | undefined
}

const CODINGS = new Set(['gzip', 'x-gzip', 'deflate', 'br', 'zstd'])
const JSON_TYPE = /^\s*application\/(?:[a-z0-9!#$&^_.-]+\+)?json\s*(?:;|$)/i

/**
 * Decides what has to be done to this response body; undefined if it passes unchanged. `headers` are by lower-case
 * name.
 */
export function planBody(
  status: number,
  headers: ResponseHead,
  bodyOptions: BodyOptions,
): BodyPlan | undefined {
  const { unpack, replace } = bodyOptions
  if (!unpack && replace === undefined) return undefined
  // Invariant: a partial response is neither decompressed nor rewritten, because its range refers to the original
  // bytes.
  if (status < 200 || status === 204 || status === 205 || status === 206 || status === 304) return undefined
  if (headers['content-range'] !== undefined) return undefined
  if (replace === undefined && headers['content-encoding'] === undefined) return undefined
  const [coding, ...others] = codingsOf(String(headers['content-encoding'] ?? ''))
  if (others.length > 0 || (coding !== undefined && !CODINGS.has(coding))) return undefined
  const rewriting = replace !== undefined && status < 300 && JSON_TYPE.test(String(headers['content-type']))
  if (!rewriting && !(unpack && coding !== undefined)) return undefined
  return { coding, replace: rewriting ? replace : undefined }
}

const NEVER_PASSED = new Set([
  ...HOP_BY_HOP,
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

/** Names in lower case. Any other header passes or does not, whatever its value is. */
const DECIDED = [
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'link',
  'location',
  'x-content-type-options',
  'x-request-id',
] as const

type ResponseVerdict = (typeof DECIDED)[number] | 'about-the-bytes' | 'drop' | 'pass'

const responseHeaderVerdict = perName((name): ResponseVerdict => {
  const lower = name.toLowerCase()
  const decided = DECIDED.find((each) => each === lower)
  if (decided !== undefined) return decided
  if (ABOUT_THE_BYTES.has(lower)) return 'about-the-bytes'
  const dashed = lower.replaceAll('_', '-')
  const forbidden =
    NEVER_PASSED.has(dashed) || NEVER_PASSED_PREFIXES.some((prefix) => dashed.startsWith(prefix))
  return forbidden ? 'drop' : 'pass'
})

/**
 * The headers for the caller (name, value, …). `rawHeaders` has the same form, in Latin-1; `plan` says what is done
 * to the body.
 */
export function responseHeaders(
  rawHeaders: readonly string[],
  { upstream, path, base, companyName, exchange }: ApprovedCall,
  plan?: BodyPlan,
): string[] {
  const { origin, environment } = upstream
  const { apiUrl } = environment
  // Redirects of file hosts are not rewritten.
  const isFile = origin !== apiUrl
  const headers: string[] = []
  let connection: string[] | undefined
  let length: readonly [name: string, value: string] | undefined
  let requestId = false
  let types = 0
  let isInert = false
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    const value = rawHeaders[i + 1] as string
    switch (responseHeaderVerdict(name)) {
      case 'drop':
      case 'x-content-type-options':
        continue
      case 'connection':
        connection ??= []
        connection.push(value)
        continue
      case 'link':
        headers.push(name, isFile ? value : rewriteLink(value, apiUrl, base))
        continue
      case 'location':
        headers.push(name, isFile ? absoluteReference(value, origin + path) : rewriteUrl(value, apiUrl, base))
        continue
      case 'content-length':
        if (plan === undefined) length = [name, value]
        continue
      case 'content-encoding':
        if (plan?.coding === undefined) headers.push(name, value)
        continue
      case 'about-the-bytes':
        if (plan === undefined) headers.push(name, value)
        continue
      case 'content-type':
        types++
        isInert = INERT_TYPE.test(value)
        headers.push(name, value)
        continue
      case 'x-request-id':
        requestId = true
        headers.push(name, value)
        continue
      default:
        headers.push(name, value)
    }
  }
  const named = connection && connectionNames(connection)
  const kept = named === undefined ? headers : withoutNamed(headers, named)
  kept.push('Procore-Proxy-Company', companyName, 'Procore-Proxy-Environment', environment.name)
  kept.push('X-Content-Type-Options', 'nosniff')
  // Invariant: no response that a browser could run lacks the sandbox. Two types, or one that Connection removes,
  // count as no type.
  if (types !== 1 || !isInert || named?.has('content-type')) kept.push('Content-Security-Policy', 'sandbox')
  if (exchange.extra !== undefined) kept.push(...exchange.extra)
  // The proxy's own id, if Procore sends none.
  if (!requestId || named?.has('x-request-id')) kept.push('X-Request-Id', exchange.reqId)
  // Content-Length goes last, because Node changes the bytes of a Content-Disposition that comes after it.
  if (length !== undefined) kept.push(...length)
  return kept
}

/** Node writes interim responses as ASCII: of any other character one byte is left, which may be a line end. */
const ASCII = /^[\t\x20-\x7e]*$/

/** The same for an interim response: what may pass (name, value, …), with its links rewritten. */
export function informationHeaders(head: ResponseHead, { upstream, base }: ApprovedCall): string[] {
  const named = connectionNames([head['connection'] ?? []].flat())
  return Object.entries(head).flatMap(([name, value = []]) => {
    const verdict = responseHeaderVerdict(name)
    if (named?.has(name) || (verdict !== 'pass' && verdict !== 'link')) return []
    return [value].flat().flatMap((each) => {
      if (!ASCII.test(each)) return []
      return [name, verdict === 'link' ? rewriteLink(each, upstream.environment.apiUrl, base) : each]
    })
  })
}

function withoutNamed(headers: readonly string[], named: ReadonlySet<string>): string[] {
  return headers.filter((_, at) => !named.has(headers[at - (at % 2)]!.toLowerCase()))
}
