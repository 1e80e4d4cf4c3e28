// Decides which calls the cache may answer, with which key, and how old a response the caller accepts.
import type { CacheKeepRule, CacheSettings } from '../config/config.ts'
import type { Call, ResponseHead } from '../forward/call.ts'
import { isRead, matchesPattern } from '../guards/access.ts'
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
  const { method, path, body, upstream, rawHeaders } = call
  if (method !== 'GET' || body !== null || upstream.origin !== upstream.environment.apiUrl) return undefined
  let accept = ''
  let encoding = ''
  let control = ''
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!.toLowerCase().replaceAll('_', '-')
    const value = rawHeaders[at + 1]!
    if (name === 'accept') accept += `,${value}`
    else if (name === 'accept-encoding') encoding += `,${value}`
    else if (name === 'cache-control' || name === 'pragma') control += `,${value}`
    else if (name === 'range' || name.startsWith('if-') || REROUTES.test(name)) return undefined
  }
  const companyKey = companyKeyOf(call)
  const key = [companyKey, upstream.tokens.account.key, path, accept, encoding, call.gzip].join('\n')
  return { key, companyKey, pathname: pathnameOf(path), ...askedOf(control) }
}

function pathnameOf(path: string): string {
  return path.split('?', 1)[0] as string
}

/** Reads the caller's Cache-Control (RFC 9111 section 5.2.1) and its forerunner Pragma (section 5.4). */
function askedOf(control: string): Pick<CacheRequest, 'maxAgeMs' | 'noStore'> {
  const directives = namesOf(control)
  const noStore = directives.includes('no-store')
  if (noStore || directives.includes('no-cache')) return { maxAgeMs: 0, noStore }
  const ages = directives.flatMap((each) => /^max-age="?(\d+)"?$/.exec(each)?.[1] ?? [])
  return { maxAgeMs: Number(ages[0] ?? Number.POSITIVE_INFINITY) * 1000, noStore }
}

/** The lower-case members of a list, such as that of Cache-Control or Vary. */
function namesOf(list: string): string[] {
  return list
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
}

/** The first rule of `keep` that matches this path (raw, without query). */
export function keepRuleOf(settings: CacheSettings, pathname: string): CacheKeepRule | undefined {
  return settings.keep.find(({ patterns }) => patterns.some((pattern) => matchesPattern(pattern, pathname)))
}

/** A request header that the response depends on, with the value that it was made for. */
export type VaryField = readonly [name: string, value: string]

/** Those that the key holds, and those that never go up as the caller sent them: for Procore they are the same. */
const SAME_FOR_ALL = /^(?:accept|accept-encoding|authorization|cookie|origin|host|referer)?$/

/** `Vary: *`: the response serves no other request (RFC 9111 section 4.1). */
export function variesByAnything(head: ResponseHead): boolean {
  return namesOf(String(head['vary'] ?? '')).includes('*')
}

/** What a response with this head depends on, with the values of the request that it was made for. */
export function varyFields(head: ResponseHead, rawHeaders: readonly string[]): readonly VaryField[] {
  const names = namesOf(String(head['vary'] ?? '')).filter((name) => !SAME_FOR_ALL.test(name))
  return names.map((name) => [name, headerValues(rawHeaders, name).join(',')])
}

/** Whether a request with these headers would have got the same response. */
export function matchesVary(fields: readonly VaryField[], rawHeaders: readonly string[]): boolean {
  return fields.every(([name, value]) => headerValues(rawHeaders, name).join(',') === value)
}

/** For `explain`: sentences that say what the cache would do, or undefined if nothing configured concerns the call. */
export function explainCache(settings: CacheSettings, call: Call): string | undefined {
  const { coalesce, refusalsMs } = settings
  const rule = keepRuleOf(settings, pathnameOf(call.path))
  if (!coalesce && refusalsMs === 0 && rule === undefined) return undefined
  if (cacheRequestOf(call) === undefined) {
    return isRead(call.method)
      ? 'Not used for this request.'
      : 'If it succeeds, everything kept of this company is dropped.'
  }
  const sentences: string[] = []
  if (rule !== undefined) {
    const { forMs, whenExhaustedMs } = rule
    const older = `, and up to ${whenExhaustedMs / 1000} s old while the rate budget is used up`
    sentences.push(`A response is given again for ${forMs / 1000} s${whenExhaustedMs > forMs ? older : ''}.`)
  }
  if (refusalsMs > 0) sentences.push(`A 403 or 404 is given again for ${refusalsMs / 1000} s.`)
  if (coalesce) sentences.push('Equal requests under way at the same time go to Procore once.')
  return sentences.join(' ')
}
