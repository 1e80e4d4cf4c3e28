// What may be called: a company's rules and `access`, held against all that the method and the path could be taken for.
import { METHODS } from '../config/access-rules.ts'
import type { Access, AccessRule, Company } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { queryValues } from '../routing/query.ts'
import { quote } from '../routing/quote.ts'
import type { RawHeaders } from '../routing/raw-headers.ts'
import { matchesPattern } from './path-pattern.ts'
import { readingsOf } from './path-readings.ts'

/** As much of a request as decides whether it may go up. `path` is raw, as forwarded; `query` raw, with its `?`. */
export interface JudgedRequest {
  readonly method: string
  readonly rawHeaders: RawHeaders
  readonly path: string
  readonly query: string
}

/** As much of a company as decides it. */
export type Judging = Pick<Company, 'access' | 'rules'>

export interface AccessDecision {
  readonly allowed: boolean
  /** A sentence, for callers and for `explain`; made when it is asked for, which for most requests is never. */
  readonly why: string
}

const HELP_ON_RULES =
  'Change the `rules` of this company if this call is meant to pass; `procore-proxy explain METHOD URL` tells which one decides.'

const OVERRIDES: ReadonlySet<string> = new Set([
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
])

const READ_WRITE: AccessDecision = { allowed: true, why: 'The company is read-write.' }
const READ: AccessDecision = { allowed: true, why: 'The company is read-only, and this only reads.' }

/** Throws `access_denied` where the company's rules or its `access` do not let this request through. */
export function judgeAccess(company: Judging, request: JudgedRequest): void {
  const decision = decideAccess(company, request)
  if (decision.allowed) return
  throw new ProxyError(
    'access_denied',
    decision.why,
    company.rules.length === 0 ? {} : { help: HELP_ON_RULES },
  )
}

/** Whether the request may go up, and why. Throws `request_invalid` for a `_method` that can't be decoded. */
export function decideAccess({ access, rules }: Judging, request: JudgedRequest): AccessDecision {
  if (rules.length > 0) return decideByRules(rules, access, request)
  return access === 'read-write' ? READ_WRITE : decideRead(request)
}

// Invariant: what passes is a reading method to Procore too. Rack::MethodOverride heeds overrides on POST alone, but
// neither this header nor this parameter has business in a read.
function decideRead(request: JudgedRequest): AccessDecision {
  if (!reads(request.method)) return readOnly(`${request.method} is a writing method.`)
  const write = overrides(request).find(({ method }) => !reads(method))
  return write === undefined ? READ : readOnly(`${write.source} asks for another method.`)
}

function readOnly(reason: string): AccessDecision {
  return { allowed: false, why: `The company is read-only: ${reason}` }
}

function reads(method: string): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
}

interface Override {
  readonly method: string
  /** Where it is asked for. */
  readonly source: string
}

const NONE: readonly Override[] = []

/** Every other method that the request names, in upper case. One that names nothing overrides nothing. */
function overrides({ rawHeaders, query }: JudgedRequest): readonly Override[] {
  let found = NONE
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (isOverride(rawHeaders[at]!)) found = withOverride(found, rawHeaders[at + 1]!, 'a header')
  }
  for (const value of queryValues(query, '_method')) {
    found = withOverride(found, value, "the query's _method")
  }
  return found
}

function withOverride(found: readonly Override[], value: string, source: string): readonly Override[] {
  const method = value.trim().toUpperCase()
  return method === '' ? found : [...found, { method, source }]
}

function isOverride(name: string): boolean {
  // Most names that are as long begin with another letter.
  if (name.length < 13 || name.length > 22 || (name[0] !== 'x' && name[0] !== 'X')) return false
  return OVERRIDES.has(name.toLowerCase().replaceAll('_', '-'))
}

// Invariant: a request passes only where each method and path that Procore could take it for is allowed.
function decideByRules(rules: readonly AccessRule[], access: Access, request: JudgedRequest): AccessDecision {
  const readings = readingsOf(request.path)
  if (readings === undefined) {
    const why = 'The path is too long, or escaped too often, to be held against the rules.'
    return { allowed: false, why }
  }
  const first = judge({ rules, access, method: request.method, path: request.path, folded: false })
  if (!first.allowed) return { allowed: false, why: `${words(first)}.` }
  for (const { method, source } of methodsOf(request)) {
    for (const path of readings) {
      if (source === '' && path === request.path && areFolded(rules)) continue
      const verdict = judge({ rules, access, method, path, folded: true })
      if (verdict.allowed) continue
      const asMethod = source === '' ? '' : `, taken for ${method} (${source} may ask for that)`
      const asPath = path === request.path ? '' : `, the path read as ${quote(path)}`
      return { allowed: false, why: `${words(verdict)}${asMethod}${asPath}.` }
    }
  }
  return new Passed(first)
}

/** In small letters as they are written: of a path in small letters there is nothing more to judge. */
function areFolded(rules: readonly AccessRule[]): boolean {
  for (const rule of rules) if (rule.patterns !== rule.foldedPatterns) return false
  return true
}

/** Says why when it is asked: most requests pass, and nobody asks. */
class Passed implements AccessDecision {
  readonly allowed = true
  readonly #verdict: Verdict

  constructor(verdict: Verdict) {
    this.#verdict = verdict
  }

  get why(): string {
    return `${words(this.#verdict)}.`
  }
}

/** The methods that the request could be taken for, each once; its own comes first, without a source. */
function methodsOf(request: JudgedRequest): readonly Override[] {
  const own: Override = { method: request.method, source: '' }
  const asked = overrides(request)
  const holdsForm = mayHoldForm(request)
  if (asked.length === 0 && !holdsForm) return [own]
  const sources = new Map<string, string>()
  const add = (method: string, source: string) => {
    if (method !== request.method && !sources.has(method)) sources.set(method, source)
  }
  for (const { method, source } of asked) {
    // A reader may find a method in what is none to us, such as `GET, DELETE`.
    for (const each of METHODS.includes(method) ? [method] : METHODS) add(each, source)
  }
  if (holdsForm) {
    // Rack::MethodOverride finds `_method` in the body too, which is streamed unread.
    for (const method of METHODS) add(method, 'a form, which is not looked into,')
  }
  return [own, ...[...sources].map(([method, source]) => ({ method, source }))]
}

/** Whether Rack would look for parameters in the body: in forms, and in the body of a POST that says nothing of it. */
function mayHoldForm({ method, rawHeaders }: JudgedRequest): boolean {
  if (method !== 'POST') return false
  const types: string[] = []
  let hasBody = false
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!.toLowerCase().replaceAll('_', '-')
    const value = rawHeaders[at + 1]!
    if (name === 'content-type') types.push(value.trim().toLowerCase())
    // What Connection names is not sent: the body would go up without a type.
    if (name === 'connection' && value.toLowerCase().includes('content-')) return true
    if (name === 'transfer-encoding' || (name === 'content-length' && Number(value) !== 0)) hasBody = true
  }
  const [type = ''] = types
  if (type === '' && types.length <= 1) return hasBody
  // What is no plain type/subtype may be read as anything.
  if (types.length > 1 || !/^[a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+\s*(?:;|$)/.test(type)) return true
  return type.startsWith('multipart/') || type.startsWith('application/x-www-form-urlencoded')
}

interface Verdict {
  readonly allowed: boolean
  /** Its place; -1 where none matches. */
  readonly index: number
  readonly rule: AccessRule | undefined
  readonly access: Access
  readonly method: string
  readonly pattern: string | undefined
}

interface Question {
  readonly rules: readonly AccessRule[]
  readonly access: Access
  readonly method: string
  readonly path: string
  /** Whether the path is in small letters. */
  readonly folded: boolean
}

/** The first rule that matches, else the access. */
function judge({ rules, access, method, path, folded }: Question): Verdict {
  for (let index = 0; index < rules.length; index++) {
    const rule = rules[index] as AccessRule
    if (rule.methods !== undefined && !rule.methods.includes(method)) continue
    const patterns = folded ? rule.foldedPatterns : rule.patterns
    for (let at = 0; at < patterns.length; at++) {
      if (!matchesPattern(patterns[at] as string, path)) continue
      return { allowed: rule.effect === 'allow', index, rule, access, method, pattern: rule.patterns[at] }
    }
  }
  const allowed = access === 'read-write' || reads(method)
  return { allowed, index: -1, rule: undefined, access, method, pattern: undefined }
}

function words({ index, rule, pattern, access, method, allowed }: Verdict): string {
  if (rule !== undefined) {
    const { effect, methods } = rule
    const text = [effect, ...(methods === undefined ? [] : [methods.join(', ')]), pattern].join(' ')
    return `Rule ${index + 1} (${text}) ${allowed ? 'lets it through' : 'refuses it'}`
  }
  const kind = reads(method) ? 'reading' : 'writing'
  return `No rule matches, and the company is ${access}${access === 'read-only' ? `: ${method} is a ${kind} method` : ''}`
}
