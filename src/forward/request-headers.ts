// Removes headers from a request and adds the proxy's own before it is sent to Procore (RFC 9110 section 7.6).
import type { LiveToken } from '../auth/live-token.ts'
import { perName } from '../routing/per-name.ts'
import { headerValues } from '../routing/raw-headers.ts'
import type { Call } from './call.ts'
import type { Upstream } from './upstreams.ts'

/** Names in lower case. The hop-by-hop headers are those of RFC 9110 section 7.6.1 and of older practice. */
const NEVER_SENT = new Set([
  'authorization',
  'procore-company-id',
  'host',
  'cookie',
  'cookie2',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
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
const NEVER_SENT_PREFIXES = ['proxy-', 'x-forwarded-', 'sec-', 'procore-proxy-']

type Verdict = 'send' | 'drop' | 'via'

/** Decides what to do with a header of this name in any spelling (upper case, `_` instead of `-`). */
export const requestHeaderVerdict = perName((name): Verdict => {
  const lower = name.toLowerCase()
  // Servers behind CGI-like interfaces read `_` as `-`: oauth2-proxy's CVE-2025-64484.
  const dashed = lower.replaceAll('_', '-')
  const forbidden = NEVER_SENT.has(dashed) || NEVER_SENT_PREFIXES.some((prefix) => dashed.startsWith(prefix))
  let verdict: Verdict = forbidden ? 'drop' : 'send'
  if (dashed === 'via') verdict = 'via'
  if (dashed === 'content-length' && lower !== dashed) verdict = 'drop'
  return verdict
})

/** The lower-case names that the `Connection` headers list; undefined if there are none besides the usual two. */
export function connectionNames(values: readonly string[]): ReadonlySet<string> | undefined {
  if (values.length === 0) return undefined
  const lower = values.join().toLowerCase()
  if (lower === 'keep-alive' || lower === 'close') return undefined
  return new Set(lower.split(',').map((name) => name.trim()))
}

const ADDED: readonly string[] = ['Host', 'Procore-Company-Id', 'Via', 'Authorization']
const ADDED_WITH_GZIP: readonly string[] = ['Host', 'Accept-Encoding', ...ADDED.slice(1)]

/** The names of the headers that are added, for the page and for `explain`. */
export function addedHeaders(gzip: boolean): readonly string[] {
  return gzip ? ADDED_WITH_GZIP : ADDED
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

const ACCEPT_ENCODING = 'accept-encoding'
const RANGE = 'range'

/**
 * Whether the proxy asks for gzip on the caller's behalf. It does not if the caller names its own encodings, or asks
 * for a range or for headers only: these would then describe a different body.
 */
export function asksForGzip(method: string, rawHeaders: readonly string[]): boolean {
  if (method === 'HEAD') return false
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const field = rawHeaders[i] as string
    if (field.length !== ACCEPT_ENCODING.length && field.length !== RANGE.length) continue
    const name = field.toLowerCase().replaceAll('_', '-')
    if (name === ACCEPT_ENCODING || name === RANGE) return false
  }
  return true
}

/**
 * Like `asksForGzip`, if the configuration allows it. Files are excluded: most are compressed already, and callers
 * need their length.
 */
export function wantsGzip(upstream: Upstream, method: string, rawHeaders: readonly string[]): boolean {
  const { settings, origin, environment } = upstream
  return settings.compression === 'auto' && origin === environment.apiUrl && asksForGzip(method, rawHeaders)
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
