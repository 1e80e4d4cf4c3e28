// Decides which calls the cache may answer, with which key, and how old a response the caller accepts.
import type { CacheKeepRule, CacheSettings } from '../config/config.ts'
import type { Call, UpstreamResponse } from '../forward/call.ts'
import { matchesPattern } from '../guards/access.ts'
import { headerValues } from '../routing/raw-request.ts'

/** A call that the cache may answer. */
export interface CacheRequest {
  /** Equal for two calls exactly if the response to one can serve the other (as far as `Vary` allows). */
  readonly key: string
  readonly companyKey: string
  /** The raw path, without the query. */
  readonly pathname: string
  /** The caller accepts only responses younger than this: 0 for `no-cache`, infinite if it does not say. */
  readonly maxAgeMs: number
  /** The caller's `no-store`: the response must not be kept. */
  readonly noStore: boolean
}

/**
 * Headers that may ask a server behind Procore's front end for another resource or method than the path says. The
 * response to such a request must never reach a caller that did not send them, so these calls bypass the cache.
 */
const REROUTES = /override|rewrite|original|forward|^x-http-method|^x-host$/

/** Identifies what a write makes stale, whatever service account is used: one company of one environment. */
export function companyKeyOf({ upstream, companyId }: Call): string {
  return `${upstream.environment.apiUrl} ${companyId}`
}

/**
 * The call as the cache sees it; undefined if it always has to be sent: not a GET, for a file host, with a body, for
 * a range, or conditional (RFC 9110 sections 13 and 14).
 */
export function cacheRequestOf(call: Call): CacheRequest | undefined {
  const { upstream } = call
  if (call.method !== 'GET' || call.body !== null || upstream.origin !== upstream.environment.apiUrl)
    return undefined
  let accept = ''
  let encoding = ''
  let control = ''
  for (let at = 0; at + 1 < call.rawHeaders.length; at += 2) {
    const name = (call.rawHeaders[at] as string).toLowerCase().replaceAll('_', '-')
    const value = call.rawHeaders[at + 1] as string
    if (name === 'accept') accept += `,${value}`
    else if (name === 'accept-encoding') encoding += `,${value}`
    else if (name === 'cache-control' || name === 'pragma') control += `,${value}`
    else if (name === 'range' || name.startsWith('if-') || REROUTES.test(name)) return undefined
  }
  const companyKey = companyKeyOf(call)
  const mark = call.path.indexOf('?')
  return {
    key: [companyKey, upstream.tokens.account.key, call.path, accept, encoding, call.gzip].join('\n'),
    companyKey,
    pathname: mark === -1 ? call.path : call.path.slice(0, mark),
    ...askedOf(control),
  }
}

/** Reads the caller's Cache-Control (RFC 9111 section 5.2.1) and its forerunner Pragma (section 5.4). */
function askedOf(control: string): Pick<CacheRequest, 'maxAgeMs' | 'noStore'> {
  if (control === '') return { maxAgeMs: Number.POSITIVE_INFINITY, noStore: false }
  const directives = control
    .toLowerCase()
    .split(',')
    .map((each) => each.trim())
  const noStore = directives.includes('no-store')
  if (noStore || directives.includes('no-cache')) return { maxAgeMs: 0, noStore }
  const maxAge = directives
    .map((each) => /^max-age="?(\d+)"?$/.exec(each)?.[1])
    .find((each) => each !== undefined)
  return { maxAgeMs: maxAge === undefined ? Number.POSITIVE_INFINITY : Number(maxAge) * 1000, noStore }
}

/** The first rule of `keep` that matches this path (raw, without query). */
export function keepRuleOf(settings: CacheSettings, pathname: string): CacheKeepRule | undefined {
  return settings.keep.find(({ patterns }) => patterns.some((pattern) => matchesPattern(pattern, pathname)))
}

/** A request header that the response depends on, with the value that it was made for. */
export type VaryField = readonly [name: string, value: string]

/** Those that the key holds, and those that never go up as the caller sent them: for Procore they are the same. */
const SAME_FOR_ALL = new Set([
  'accept',
  'accept-encoding',
  'authorization',
  'cookie',
  'origin',
  'host',
  'referer',
])

/** `Vary: *`: the response serves no other request (RFC 9111 section 4.1). */
export function variesByAnything({ head }: UpstreamResponse): boolean {
  return namesOf(head['vary']).includes('*')
}

/** What a response with this `Vary` depends on, with the values of the request that it was made for. */
export function varyFields(
  vary: string | string[] | undefined,
  rawHeaders: readonly string[],
): readonly VaryField[] {
  return namesOf(vary)
    .filter((name) => name !== '' && !SAME_FOR_ALL.has(name))
    .map((name): VaryField => [name, headerValues(rawHeaders, name).join(',')])
}

function namesOf(vary: string | string[] | undefined): string[] {
  return vary === undefined
    ? []
    : String(vary)
        .toLowerCase()
        .split(',')
        .map((name) => name.trim())
}

/** Whether a request with these headers would have got the same response. */
export function matchesVary(fields: readonly VaryField[], rawHeaders: readonly string[]): boolean {
  return fields.every(([name, value]) => headerValues(rawHeaders, name).join(',') === value)
}
