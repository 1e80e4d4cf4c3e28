// Identifies the caller by its key, and decides what it may call.
import { isIPv6 } from 'node:net'
import { LRUCache } from 'lru-cache'
import type { Caller, Config, GuardSettings, Secret } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import {
  headerValues,
  type Parameter,
  parameterNamed,
  queryValues,
  quote,
  type RawHeaders,
  readingsOf,
  segmentsAfter,
} from '../routing/raw-request.ts'
import { type AccessDecision, decideAccess, type JudgedRequest, type Rights } from './access.ts'
import { FILES_PATH } from './file-hosts.ts'

/** Who a request is from, as far as keys show. */
export interface Identity {
  /** Undefined for a key of `guard.clientKeys`, and if no keys are required. */
  readonly caller: Caller | undefined
  /** Distinguishes callers in queues and shares; contains no key. Empty if no keys are required. */
  readonly queueKey: string
}

/** The part of the configuration that concerns keys. */
export interface KeySettings extends Partial<Pick<Config, 'callers'>> {
  readonly guard: Pick<GuardSettings, 'clientKeys'>
}

/** The request has a key that is not configured, so it may be a guess. `KeyThrottle` delays the responses to these. */
export class WrongKeyError extends ProxyError {}

const ANYONE: Identity = { caller: undefined, queueKey: '' }

/** Throws `header_required` if `guard.requireHeader` is on and the header is missing. */
export function judgeRequiredHeader(
  guard: Pick<GuardSettings, 'requireHeader'>,
  rawHeaders: RawHeaders,
): void {
  if (!guard.requireHeader) return
  const values = headerValues(rawHeaders, 'procore-proxy-request')
  if (values.length === 1 && values[0] === 'true') return
  throw new ProxyError('header_required', 'The header "Procore-Proxy-Request: true" is missing.')
}

/** Whether callers must send a key: `callers` or `guard.clientKeys` is set. */
export function asksForKeys({ callers, guard }: KeySettings): boolean {
  return guard.clientKeys.length > 0 || (callers?.length ?? 0) > 0
}

/** Whether a header may hold a key; a login and a revocation may have it in their body instead. */
export function hasKeyHeader(rawHeaders: RawHeaders): boolean {
  return ['procore-proxy-key', 'authorization'].some((name) => headerValues(rawHeaders, name).length > 0)
}

/**
 * The caller by its key, which comes in `Procore-Proxy-Key`, as `Authorization: Bearer KEY`, or as the password of
 * `Authorization: Basic` (RFC 7617). A key beside a made-up bearer counts. Throws `key_required` if there is no key, if
 * keys of two callers are sent, and (as a {@link WrongKeyError}) if a key is wrong. `keysOfLogin` are known to be keys.
 */
export function identifyCaller(
  settings: KeySettings,
  rawHeaders: RawHeaders,
  keysOfLogin: readonly string[] = [],
): Identity {
  if (!asksForKeys(settings)) return ANYONE
  const own = headerValues(rawHeaders, 'procore-proxy-key')
  const authorizations = headerValues(rawHeaders, 'authorization')
  if (own.length > 1) throw keyRequired('The header Procore-Proxy-Key was sent twice.')
  if (authorizations.length > 1) throw keyRequired('The header Authorization was sent twice.')
  const [key] = own
  const inAuthorization = authorizations.flatMap(credentialsIn)
  const byOwn = key === undefined ? [] : identitiesOf(settings, [key])
  if (key !== undefined && byOwn.length === 0)
    throw wrongKey('The key in Procore-Proxy-Key is not configured.')
  const all = [...byOwn, ...identitiesOf(settings, [...inAuthorization, ...keysOfLogin])]
  const [first] = all
  if (first === undefined) {
    if (inAuthorization.length === 0) throw keyRequired('The request has no key.')
    throw wrongKey('The key in Authorization is not configured.')
  }
  if (all.some(({ queueKey }) => queueKey !== first.queueKey)) {
    throw keyRequired('The request contains the keys of two callers.')
  }
  return first
}

/** The identity whose key this secret is, such as the `client_secret` of a login; undefined if it is no key. */
export function identifyKey(settings: KeySettings, secret: string): Identity | undefined {
  return identitiesOf(settings, [secret])[0]
}

// Invariant: every key is compared with everything that was sent, so that timing does not reveal which one matched.
function identitiesOf(settings: KeySettings, sent: readonly string[]): Identity[] {
  const found: Identity[] = []
  for (const { secret, identity } of keysOf(settings)) {
    for (const each of sent) if (secret.equals(each) && each !== '') found.push(identity)
  }
  return found
}

interface Key {
  readonly secret: Secret
  readonly identity: Identity
}

/** Made once for each configuration. */
const keyLists = new WeakMap<KeySettings, readonly Key[]>()

function keysOf(settings: KeySettings): readonly Key[] {
  const known = keyLists.get(settings)
  if (known !== undefined) return known
  const { callers = [], guard } = settings
  const ofCallers = callers.flatMap((caller) =>
    caller.keys.map((secret) => ({ secret, identity: { caller, queueKey: caller.name } })),
  )
  // A caller's name contains no space, so the two cannot be confused.
  const unnamed = guard.clientKeys.map((secret, place) => ({
    secret,
    identity: { caller: undefined, queueKey: `key ${place}` },
  }))
  const keys = [...ofCallers, ...unnamed]
  keyLists.set(settings, keys)
  return keys
}

/** The possible keys in an Authorization header; none for schemes other than Bearer and Basic. */
export function credentialsIn(authorization: string): readonly string[] {
  const [, scheme = '', credentials = ''] = /^\s*(bearer|basic)\s+(\S+)\s*$/i.exec(authorization) ?? []
  if (scheme.toLowerCase() === 'bearer') return [credentials]
  const text = Buffer.from(credentials, 'base64').toString()
  const colon = text.indexOf(':')
  return colon === -1 ? [] : [text.slice(colon + 1)].filter((password) => password !== '')
}

function keyRequired(detail: string): ProxyError {
  return new ProxyError('key_required', detail)
}

function wrongKey(detail: string): ProxyError {
  return new WrongKeyError('key_required', detail)
}

/** The parts of a company that a caller's rights depend on. Under `"*"`, the name is the id. */
export interface JudgedCompany {
  readonly name: string
  readonly company: Rights
}

/** Paths that name no project but that a caller with `projects` needs. */
const OF_EVERYONE = /^\/(?:rest|vapid)\/(?:v[0-9.]+\/)?(?:me|companies)$/
/** The list of projects, with GET and HEAD only. */
const LIST_OF_PROJECTS = /^\/(?:rest|vapid)\/(?:v[0-9.]+\/)?(?:companies\/[0-9]+\/)?projects$/

const HELP =
  'Change this caller’s `companies`, `access`, `rules` or `projects` if this call is meant to pass.'
const HELP_ON_RULES =
  'Change `rules` or `access` if this call is meant to pass; `procore-proxy explain METHOD URL` shows which of them decides.'

/**
 * Throws `access_denied` if the caller or the company does not allow the request. Without a caller, the company alone
 * decides.
 */
export function judgeCaller(
  caller: Caller | undefined,
  company: JudgedCompany,
  request: JudgedRequest,
): AccessDecision {
  const decision = decideCaller(caller, company, request)
  if (decision.allowed) return decision
  throw new ProxyError('access_denied', decision.why, helpFor(caller, company.company))
}

/** Without a caller and rules, the general help of the error applies. */
function helpFor(caller: Caller | undefined, { rules }: Rights): { help?: string } {
  if (caller !== undefined) return { help: HELP }
  return rules.length === 0 ? {} : { help: HELP_ON_RULES }
}

/**
 * Applies the rights of caller and company together, for the guard and for `explain`. Throws `request_invalid` for a
 * query that cannot be decoded.
 */
export function decideCaller(
  caller: Caller | undefined,
  { name, company }: JudgedCompany,
  request: JudgedRequest,
): AccessDecision {
  if (caller === undefined) return decideAccess(company, request)
  if (!mayUseCompany(caller, name))
    return denied(`The caller ${quote(caller.name)} may not use this company.`)
  const byCompany = decideAccess(company, request)
  if (!byCompany.allowed) return byCompany
  const rights = { access: caller.access, rules: caller.rules, subject: `The caller ${quote(caller.name)}` }
  const byCaller = decideAccess(rights, request)
  if (!byCaller.allowed || caller.projects === undefined) return byCaller
  return decideProjects(caller.projects, request, byCaller)
}

/** Whether the caller may use a company. Under `"*"`, companies are named by their ids. */
export function mayUseCompany(caller: Pick<Caller, 'companies'>, name: string): boolean {
  return caller.companies?.includes(name) ?? true
}

/**
 * The companies that a request may see in status, page, events and metrics. Both the caller and `fixed` (the company
 * of the address or host name that was used) limit them. Undefined means all.
 */
export function visibleCompanies(
  caller: Pick<Caller, 'companies'> | undefined,
  fixed: string | undefined,
): ReadonlySet<string> | undefined {
  const { companies } = caller ?? {}
  if (fixed === undefined) return companies === undefined ? undefined : new Set(companies)
  return new Set(companies === undefined || companies.includes(fixed) ? [fixed] : [])
}

// Invariant: no rule opens another project. A call that names no project needs a rule, or is one of the few
// exceptions.
function decideProjects(
  projects: readonly string[],
  request: JudgedRequest,
  byCaller: AccessDecision,
): AccessDecision {
  const isFile = request.path.startsWith(FILES_PATH)
  const named = isFile ? { ids: [], isConfined: false } : namedProjects(request.path, request.query)
  if (named === undefined) return denied('The path is too long, or escaped too often, to be judged.')
  const other = named.ids.find((id) => !projects.includes(id))
  if (other !== undefined)
    return denied(`The request names the project ${quote(other)}, which this caller may not use.`)
  if (named.isConfined || byCaller.byRule || needsNoProject(request)) return byCaller
  return denied(
    'This caller may use some projects only, and the request names none, or one with an empty id.',
  )
}

function needsNoProject({ method, path }: JudgedRequest): boolean {
  const paths = readingsOf(path)?.map((reading) => reading.replace(/\/$/, ''))
  const isGet = method === 'GET' || method === 'HEAD'
  const isOpen = (each: string) => OF_EVERYONE.test(each) || (isGet && LIST_OF_PROJECTS.test(each))
  return paths?.every(isOpen) ?? false
}

function denied(why: string): AccessDecision {
  return { allowed: false, why, byRule: false }
}

/**
 * Keys that end in `project_id` or `project_ids` in some spelling, including nested ones: `project_id[]`,
 * `Project-ID`, `projectId`, `filters[project_ids][]`; and `project` alone, as in `projects[]` and `filters[project]`.
 */
const PROJECT_ID: Parameter = {
  name: 'project_id',
  key: /(?:^|[^a-z0-9])projects?(?:[-_. ]?ids?(?:$|[^a-z0-9])|\]?\[ids?(?:$|[^a-z0-9])|\]?(?:\[[0-9]*\])?$)/i,
}

/**
 * Of these, the keys with which Procore's endpoints select a project. The others are filters, which an endpoint may
 * ignore.
 */
const OWN_PROJECT_ID: Parameter = { name: 'project_id', key: /^project_id(?:\[\])?$/ }

/** Every key that a server may read as `project_id`, so that an empty value could replace another one. */
const READ_AS_PROJECT_ID = parameterNamed('project_id')

/** The projects that a request names. */
export interface NamedProjects {
  /** Every id that any reading finds, as text. A segment that is not an id is included unchanged. */
  readonly ids: readonly string[]
  /**
   * Whether the request selects these projects in every reading. A nested filter alone may be ignored by the endpoint;
   * an empty `project_id` beside another one may be the one that counts.
   */
  readonly isConfined: boolean
}

/**
 * Finds the projects that a path (`/projects/ID/`) and a query (`project_id`) name. `path` is raw, without a company
 * prefix; `query` is raw, with its `?`. Undefined if the path cannot be judged. Throws `request_invalid` for a key or
 * value that cannot be decoded.
 */
export function namedProjects(path: string, query: string): NamedProjects | undefined {
  const readings = readingsOf(path)
  if (readings === undefined) return undefined
  // A format such as `.json` begins with a letter, and `.0` is part of another id.
  const inPath = segmentsAfter(readings, 'projects').map((each) => each.replace(/\.[a-z][a-z0-9]*$/, ''))
  const valuesOf = (key: Parameter) => queryValues({ path, query }, key)
  const inQuery = valuesOf(PROJECT_ID).filter((value) => value !== '')
  const isConfinedByQuery =
    queryValues({ path: '', query }, OWN_PROJECT_ID).length > 0 && !valuesOf(READ_AS_PROJECT_ID).includes('')
  // Some endpoints accept several ids, separated by commas.
  const ids = [...inPath, ...inQuery.flatMap((value) => value.split(','))]
  return { ids, isConfined: inPath.length > 0 || isConfinedByQuery }
}

const FREE_GUESSES = 10
const WINDOW_MS = 60_000
const DELAY_MS = 1_000
/** How many addresses are remembered. The one that guessed longest ago is forgotten first. */
const MOST_ADDRESSES = 1_000

/** Counts wrong keys by address. Requests with a correct key are never delayed. */
export class KeyThrottle {
  /** The times of the latest wrong keys, at most ten for each address. */
  readonly #guesses = new LRUCache<string, readonly number[]>({ max: MOST_ADDRESSES })

  /**
   * Counts a wrong key from this address (undefined for a unix socket) and returns the delay of its refusal in
   * milliseconds.
   */
  delayMs(address: string | undefined): number {
    const from = networkOf(address ?? '')
    const now = performance.now()
    const recent = (this.#guesses.get(from) ?? []).filter((at) => now - at < WINDOW_MS)
    this.#guesses.set(from, [...recent, now].slice(-FREE_GUESSES))
    return recent.length >= FREE_GUESSES ? DELAY_MS : 0
  }
}

/** The address; for IPv6 its /64, because one subscriber usually has all of it. */
function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined || !isIPv6(address)) return mapped ?? address
  const [head = '', tail = ''] = address.toLowerCase().split('::')
  const before = head.split(':').filter(Boolean)
  const after = tail.split(':').filter(Boolean)
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0')
  return [...before, ...zeros, ...after].slice(0, 4).join(':')
}
