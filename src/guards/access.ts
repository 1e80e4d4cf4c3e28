// Decides what may be called: compares the rules and `access` of a company or caller with every method and path that
// a server may read.
import { FORWARDED, FORWARDED_METHODS } from '../config/access-rules.ts'
import type { Access, AccessRule } from '../config/config.ts'
import { METHOD_OVERRIDE, queryValues, quote, type RawHeaders, readingsOf } from '../routing/raw-request.ts'

/**
 * Whether the whole path matches. `*` matches any run of characters except `/`, and `**` any run at all; both may be
 * empty. Every other character matches itself. The time is at most proportional to path × pattern.
 */
export function matchesPattern(pattern: string, path: string): boolean {
  let star = pattern.indexOf('*')
  if (star === -1) return pattern === path
  if (!path.startsWith(pattern.slice(0, star))) return false
  /** Where in the path the wildcard at `star` may begin: the first place in each segment, which leaves it the most. */
  let begins: readonly number[] = [star]
  while (begins.length > 0) {
    const isGlobstar = pattern[star + 1] === '*'
    const rest = star + (isGlobstar ? 2 : 1)
    star = pattern.indexOf('*', rest)
    if (star === -1) return endsWith(path, pattern.slice(rest), begins, isGlobstar)
    begins = placesBehind(path, pattern.slice(rest, star), begins, isGlobstar)
  }
  return false
}

/** Whether the path ends with a wildcard that begins at one of these places, and this text. */
function endsWith(path: string, text: string, begins: readonly number[], isGlobstar: boolean): boolean {
  const end = path.length - text.length
  if (!path.endsWith(text)) return false
  const slash = isGlobstar || end === 0 ? -1 : path.lastIndexOf('/', end - 1)
  return begins.some((begin) => begin > slash && begin <= end)
}

/** The first place in each segment behind a wildcard that begins at one of these places, and this text. */
function placesBehind(path: string, text: string, begins: readonly number[], isGlobstar: boolean): number[] {
  const places: number[] = []
  let at = 0
  for (const begin of begins) {
    const last = isGlobstar ? path.length : segmentEnd(path, begin)
    at = Math.max(at, begin)
    while (at <= last) {
      at = path.indexOf(text, at)
      // In none of the segments that follow either.
      if (at === -1) return places
      if (at > last) break
      const place = at + text.length
      places.push(place)
      at = Math.max(at, segmentEnd(path, place) - text.length) + 1
    }
  }
  return places
}

function segmentEnd(path: string, from: number): number {
  const slash = path.indexOf('/', from)
  return slash === -1 ? path.length : slash
}

/** The parts of a request that access depends on. `path` is raw, as forwarded; `query` is raw, with its `?`. */
export interface JudgedRequest {
  readonly method: string
  readonly rawHeaders: RawHeaders
  readonly path: string
  readonly query: string
}

/** The access and rules of a company or of a caller. */
export interface Rights {
  readonly access: Access
  readonly rules: readonly AccessRule[]
  /** The subject of the sentences; `The company` if absent. */
  readonly subject?: string
}

export interface AccessDecision {
  readonly allowed: boolean
  /** A sentence, for callers and for `explain`. */
  readonly why: string
  /** Whether rules, and not `access`, allow every reading of the request. */
  readonly byRule: boolean
}

const OVERRIDES = /^x-(?:http-)?method(?:-override)?$/

/**
 * Decides whether the request may be sent, and why. Throws `request_invalid` for a `_method` that cannot be decoded.
 */
export function decideAccess(rights: Rights, request: JudgedRequest): AccessDecision {
  const subject = rights.subject ?? 'The company'
  if (isRead(request.method)) {
    // Rack honors overrides on POST only. In a read they could only mislead what judges, retries or caches reads.
    const write = overrides(request).find(({ method }) => !isRead(method))
    if (write !== undefined) return refusal(`A read may not ask for another method, as ${write.source} does.`)
  }
  if (rights.rules.length > 0) return decideByRules(rights, request)
  if (rights.access === 'read-write')
    return { allowed: true, why: `${subject} is read-write.`, byRule: false }
  return isRead(request.method)
    ? { allowed: true, why: `${subject} is read-only, and this only reads.`, byRule: false }
    : refusal(`${subject} is read-only: ${request.method} is a writing method.`)
}

function refusal(why: string): AccessDecision {
  return { allowed: false, why, byRule: false }
}

/** Whether a method only reads: GET, HEAD and OPTIONS. */
export function isRead(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
}

interface Override {
  readonly method: string
  /** Where it is asked for. */
  readonly source: string
}

const NONE: readonly Override[] = []

/** Every other method that the request names, in upper case. An empty one overrides nothing. */
function overrides(request: JudgedRequest): readonly Override[] {
  const { rawHeaders } = request
  let found: Override[] | undefined
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (isOverride(rawHeaders[at]!)) found = withOverride(found, rawHeaders[at + 1]!, 'a header')
  }
  for (const value of queryValues(request, METHOD_OVERRIDE)) {
    found = withOverride(found, value, "the query's _method")
  }
  return found ?? NONE
}

/** Adds to the list itself, because a query may name thousands. */
function withOverride(found: Override[] = [], value: string, source: string): Override[] {
  const method = value.trim().toUpperCase()
  if (method !== '') found.push({ method, source })
  return found
}

function isOverride(name: string): boolean {
  // A quick test: most names of this length begin with another letter.
  if (name.length < 8 || name.length > 22 || (name[0] !== 'x' && name[0] !== 'X')) return false
  return OVERRIDES.test(name.toLowerCase().replaceAll('_', '-'))
}

// Invariant: a request passes only if each method and path that Procore could take it for is allowed.
function decideByRules(rights: Rights, request: JudgedRequest): AccessDecision {
  const readings = readingsOf(request.path)
  if (readings === undefined) {
    return refusal('The path is too long, or escaped too often, to be held against the rules.')
  }
  const first = judge(rights, request.method, request.path, false)
  if (!first.allowed) return refusal(`${words(rights, first)}.`)
  let byRule = first.rule !== undefined
  for (const { method, source } of methodsOf(request)) {
    for (const path of readings) {
      const verdict = judge(rights, method, path, true)
      byRule &&= verdict.rule !== undefined
      if (verdict.allowed) continue
      const asMethod = source === '' ? '' : `, taken for ${method} (${source} may ask for that)`
      const asPath = path === request.path ? '' : `, the path read as ${quote(path)}`
      return refusal(`${words(rights, verdict)}${asMethod}${asPath}.`)
    }
  }
  return {
    allowed: true,
    // On demand, because only `explain` reads it.
    get why() {
      return `${words(rights, first)}.`
    },
    byRule,
  }
}

/**
 * The methods that a server could read from the request, each once. The request's own comes first, without a source.
 */
function methodsOf(request: JudgedRequest): readonly Override[] {
  const asked = overrides(request)
  const holdsForm = mayHoldForm(request)
  // Almost every request.
  if (asked.length === 0 && !holdsForm) return [{ method: request.method, source: '' }]
  const sources = new Map([[request.method, '']])
  const add = (method: string, source: string) => {
    if (!sources.has(method)) sources.set(method, source)
  }
  for (const { method, source } of asked) {
    // A server may find a method in a value that is not one to us, such as `GET, DELETE`.
    for (const each of FORWARDED.has(method) ? [method] : FORWARDED_METHODS) add(each, source)
  }
  if (holdsForm) {
    // Rack::MethodOverride also reads `_method` from the body, which the proxy streams without reading it.
    for (const method of FORWARDED_METHODS) add(method, 'a form, whose content is not read,')
  }
  return [...sources].map(([method, source]) => ({ method, source }))
}

/** Whether Rack would look for parameters in the body: in forms, and in the body of a POST without a content type. */
function mayHoldForm({ method, rawHeaders }: JudgedRequest): boolean {
  if (method !== 'POST') return false
  const types: string[] = []
  let hasBody = false
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!.toLowerCase().replaceAll('_', '-')
    const value = rawHeaders[at + 1]!
    if (name === 'content-type') types.push(value.trim().toLowerCase())
    // Headers that Connection names are not forwarded, so the body would be sent without a type.
    if (name === 'connection' && value.toLowerCase().includes('content-')) return true
    if (name === 'transfer-encoding' || (name === 'content-length' && Number(value) !== 0)) hasBody = true
  }
  const [type = ''] = types
  if (type === '' && types.length <= 1) return hasBody
  // Anything but a plain type/subtype may be read as a form.
  if (types.length > 1 || !/^[a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+\s*(?:;|$)/.test(type)) return true
  return type.startsWith('multipart/') || type.startsWith('application/x-www-form-urlencoded')
}

interface Verdict {
  readonly allowed: boolean
  /** The index of the rule; -1 if none matches. */
  readonly index: number
  readonly rule: AccessRule | undefined
  readonly method: string
  readonly pattern: string | undefined
}

/** The first rule that matches, else the access. `folded`: the path is in lower case. */
function judge({ rules, access }: Rights, method: string, path: string, folded: boolean): Verdict {
  for (const [index, rule] of rules.entries()) {
    if (rule.methods !== undefined && !rule.methods.includes(method)) continue
    const patterns = folded ? rule.foldedPatterns : rule.patterns
    const at = patterns.findIndex((pattern) => matchesPattern(pattern, path))
    if (at !== -1)
      return { allowed: rule.effect === 'allow', index, rule, method, pattern: rule.patterns[at] }
  }
  const allowed = access === 'read-write' || isRead(method)
  return { allowed, index: -1, rule: undefined, method, pattern: undefined }
}

function words({ access, subject = 'The company' }: Rights, verdict: Verdict): string {
  const { index, rule, pattern, method, allowed } = verdict
  if (rule !== undefined) {
    const { effect, methods } = rule
    const text = [effect, ...(methods === undefined ? [] : [methods.join(', ')]), pattern].join(' ')
    const whose = subject === 'The company' ? '' : ` of ${lowerFirst(subject)}`
    return `Rule ${index + 1}${whose} (${text}) ${allowed ? 'lets it through' : 'refuses it'}`
  }
  const kind = isRead(method) ? 'reading' : 'writing'
  const detail = access === 'read-only' ? `: ${method} is a ${kind} method` : ''
  return `No rule matches, and ${lowerFirst(subject)} is ${access}${detail}`
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
