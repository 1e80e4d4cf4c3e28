// Chooses the company of a request: by listener, Host label, path prefix, header, path, query, or default.
import type { AnyCompany, Company, Config } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { COMPANY_ID, queryValues, quote, readingsOf, segmentsAfter, type Target } from './raw-request.ts'

/** A raw path, split into the company prefix and the rest. */
export interface CutPath {
  /** As written, `/acme` or `/7656`; empty if there is none. */
  readonly prefix: string
  /** What follows the prefix. */
  readonly path: string
  readonly company: NamedCompany | undefined
}

const NAME = /^[a-z0-9][a-z0-9-]*$/

/**
 * Removes a company prefix if a known route follows it. Reserved words are never a prefix, and any other path is
 * returned whole. Throws `company_unknown` for a name or id that is not configured.
 */
export function cutPrefix(table: CompanyTable, path: string): CutPath {
  if (isRoute(path)) return { prefix: '', path, company: undefined }
  const slash = path.indexOf('/', 1)
  const rest = slash === -1 ? '' : path.slice(slash)
  if (!isRoute(rest)) return { prefix: '', path, company: undefined }
  const first = path.slice(1, slash)
  const company = table.byName.get(first) ?? companyOfId(table, first)
  if (company !== undefined) return { prefix: path.slice(0, slash), path: rest, company }
  if (!NAME.test(first)) return { prefix: '', path, company: undefined }
  throw new ProxyError(
    'company_unknown',
    `The path prefix names ${quote(first)}, which is not configured.${knownCompanies(table)}`,
  )
}

/** True for paths that the proxy answers itself. The path is raw, without prefix. */
export function isOwnPath(path: string): boolean {
  return (
    path === '/' ||
    isBelowProxy(path) ||
    path === '/oauth/token' ||
    path === '/oauth/token/info' ||
    path === '/oauth/revoke'
  )
}

/** True for paths that go to Procore. The path is raw, without prefix. */
export function isForwardedPath(path: string): boolean {
  return path.startsWith('/rest/') || path.startsWith('/vapid/')
}

/** True if the first segment is a reserved word and something follows it, and for `/_proxy`, which leads to the page. */
function isRoute(path: string): boolean {
  return isForwardedPath(path) || isBelowProxy(path) || path.startsWith('/oauth/')
}

function isBelowProxy(path: string): boolean {
  return path === '/_proxy' || path.startsWith('/_proxy/')
}

/** A company as one request sees it. Under `"*"`, its name is its id. */
export interface NamedCompany {
  readonly name: string
  /** Decimal; never a number. */
  readonly id: string
  readonly company: Company | AnyCompany
}

export interface CompanyTable {
  readonly byName: ReadonlyMap<string, NamedCompany>
  readonly byId: ReadonlyMap<string, NamedCompany>
  /** The `"*"` entry. */
  readonly any: AnyCompany | undefined
  readonly default: NamedCompany | undefined
  /** The only company, if there is exactly one and no `"*"`. */
  readonly only: NamedCompany | undefined
  /** The names that error messages may mention. */
  readonly shown: readonly string[]
}

const MOST_NAMES = 10

/** A canonical id has 1 to 20 digits and no leading zero, so that each company has one spelling only. */
const ID = /^[1-9][0-9]{0,19}$/

/** Arranges the companies of a configuration. */
export function companyTable(config: Pick<Config, 'companies' | 'anyCompany'>): CompanyTable {
  const byName = new Map<string, NamedCompany>()
  const byId = new Map<string, NamedCompany>()
  let chosen: NamedCompany | undefined
  for (const company of config.companies) {
    const named = { name: company.name, id: company.id, company }
    byName.set(named.name, named)
    byId.set(named.id, named)
    if (company.isDefault) chosen = named
  }
  const only =
    config.companies.length === 1 && config.anyCompany === undefined
      ? byName.get(config.companies[0]!.name)
      : undefined
  return { byName, byId, any: config.anyCompany, default: chosen, only, shown: [...byName.keys()] }
}

/**
 * The table for a caller or address that may see these companies only (undefined: all). Error messages mention no
 * others.
 */
export function shownTo(table: CompanyTable, visible: ReadonlySet<string> | undefined): CompanyTable {
  return visible === undefined ? table : { ...table, shown: table.shown.filter((name) => visible.has(name)) }
}

/** The names that error messages may mention, at most ten. */
export function namesOf({ shown }: CompanyTable): string {
  return shown.slice(0, MOST_NAMES).join(', ') + (shown.length > MOST_NAMES ? ', …' : '')
}

/** A sentence for an error about a name or id that is not configured; empty if no names may be mentioned. */
function knownCompanies(table: CompanyTable): string {
  return table.shown.length === 0 ? '' : ` Configured are: ${namesOf(table)}.`
}

/** The company of an id: the configured one, else `"*"` if the id is canonical, else undefined. */
// Invariant: a configured id is never served by "*", whose account and access may differ.
export function companyOfId(table: CompanyTable, id: string): NamedCompany | undefined {
  const configured = table.byId.get(id)
  if (configured !== undefined || table.any === undefined || !ID.test(id)) return configured
  return { name: id, id, company: table.any }
}

/** How a request arrived, as far as that determines its company. */
export interface Arrival {
  /** The name of the company whose own `listen` address took the request. */
  readonly listenerCompany: string | undefined
  /** The label before `.localhost` in the Host header. */
  readonly hostLabel: string | undefined
}

/** Everything in a request that may name a company. */
export interface RoutedRequest extends Arrival {
  readonly target: Target
  /** Every value of Procore-Company-Id, as sent. */
  readonly companyIdHeaders: readonly string[]
}

export interface Choice extends NamedCompany {
  /** The prefix as the caller wrote it, such as `/acme`; empty if there is none. */
  readonly prefix: string
  /** The raw path without the prefix. */
  readonly path: string
  /** Why this company was chosen, for `explain` and the log. */
  readonly why: string
  /** Whether Procore or the proxy itself answers the request. */
  readonly route: 'forward' | 'own'
}

interface Picked {
  readonly company: NamedCompany
  readonly why: string
}

/** The place in a path where an id chooses the company; elsewhere it must only not contradict the choice. */
const BELOW_COMPANIES = /^\/rest\/v[^/]*\/companies\//

/** What Ruby's `to_i` reads as a number: digits after white space, a sign or underscores. */
const STARTS_LIKE_A_NUMBER = /^[\s+\-_]*[0-9]/

/**
 * Chooses the company of a request: by listener, Host label or path prefix, else by header, path or query, else the
 * default. Throws `company_unknown`, `company_conflict`, `company_required`, `route_unknown`, and `request_invalid` for a
 * path or `company_id` that can't be decoded.
 */
export function chooseCompany(table: CompanyTable, request: RoutedRequest): Choice {
  const { target } = request
  const cut = cutPrefix(table, target.path)
  const fixed = fixedCompany(table, request, cut)
  const forwarded = isForwardedPath(cut.path)
  if (!forwarded && !isOwnPath(cut.path)) {
    throw routeUnknown()
  }
  const inHeaders = request.companyIdHeaders.filter((id) => id !== '')
  const ids = idsIn({ path: cut.path, query: target.query })
  const { company, why } =
    fixed ??
    byHeader(table, inHeaders) ??
    (BELOW_COMPANIES.test(cut.path) ? byId(table, ids.inPath[0], 'the path') : undefined) ??
    byId(table, ids.inQuery[0], 'the query') ??
    unnamed(table)
  // Invariant: no id that the request names anywhere contradicts the chosen one.
  refuseOther(company, inHeaders, 'the header Procore-Company-Id')
  refuseOtherIds(company, ids)
  const { name, id } = company
  const route = forwarded ? 'forward' : 'own'
  return { name, id, company: company.company, prefix: cut.prefix, path: cut.path, why, route }
}

/** Every company id in a target, in any reading. Throws `request_invalid` if one can't be decoded. */
export function idsIn(target: Target) {
  const inPath = idsInPath(target.path)
  return { inPath, inQuery: queryValues(target, COMPANY_ID).filter((id) => id !== '') }
}

/** Throws `company_conflict` if one of the ids is not the company's. */
export function refuseOtherIds(company: IdAndName, { inPath, inQuery }: ReturnType<typeof idsIn>): void {
  refuseOther(company, inPath, 'the path')
  refuseOther(company, inQuery, "the query's company_id")
}

/**
 * The segments after `companies`, in any reading of the path, that could be read as a number. `.json` and `;x` are
 * removed; otherwise they are as written, so `07`, `7-acme` and `+7` equal no company's id. Words such as `me` name
 * no company.
 */
function idsInPath(path: string): readonly string[] {
  const readings = readingsOf(path)
  if (readings === undefined) {
    throw new ProxyError('request_invalid', 'The path is too long, or escaped too often, to be judged.')
  }
  const segments = segmentsAfter(readings, 'companies').filter((segment) =>
    STARTS_LIKE_A_NUMBER.test(segment),
  )
  return segments.map((segment) => segment.replace(/(?:;|\.[a-z]).*/s, ''))
}

/**
 * The company that the listener, Host label and path prefix determine; undefined if none of them does. Also used for
 * the proxy's own pages, which need no company. Throws `company_unknown` and `company_conflict`.
 */
export function fixedCompany(table: CompanyTable, arrival: Arrival, cut: CutPath): Picked | undefined {
  const { listenerCompany, hostLabel } = arrival
  let picked: Picked | undefined
  if (listenerCompany !== undefined) {
    picked = { company: byName(table, listenerCompany, 'listen address'), why: 'listen address' }
  }
  if (hostLabel !== undefined) {
    picked = agreed(picked, byName(table, hostLabel, 'Host'), `host ${hostLabel}.localhost`)
  }
  if (cut.company !== undefined) picked = agreed(picked, cut.company, `path prefix ${cut.prefix}`)
  return picked
}

function byName(table: CompanyTable, name: string, place: string): NamedCompany {
  const company = table.byName.get(name)
  if (company !== undefined) return company
  throw new ProxyError(
    'company_unknown',
    `The ${place} names ${quote(name)}, which is not configured.${knownCompanies(table)}`,
  )
}

function agreed(before: Picked | undefined, company: NamedCompany, why: string): Picked {
  if (before === undefined) return { company, why }
  if (before.company.name === company.name) return before
  throw new ProxyError(
    'company_conflict',
    `The ${before.why} means ${quote(before.company.name)}, but the ${why} means ${quote(company.name)}.`,
  )
}

function byHeader(table: CompanyTable, values: readonly string[]): Picked | undefined {
  const [first] = values
  if (values.some((value) => value !== first)) {
    throw new ProxyError('company_conflict', 'Two Procore-Company-Id headers name two companies.')
  }
  return byId(table, first, 'the header Procore-Company-Id')
}

function byId(table: CompanyTable, id: string | undefined, place: string): Picked | undefined {
  if (id === undefined) return undefined
  const company = companyOfId(table, id)
  if (company !== undefined) return { company, why: `id in ${place}` }
  throw new ProxyError(
    'company_unknown',
    `No company with the id ${quote(id)}, named in ${place}, is configured.${knownCompanies(table)}`,
  )
}

function unnamed(table: CompanyTable): Picked {
  if (table.default !== undefined) return { company: table.default, why: 'the default company' }
  if (table.only !== undefined) return { company: table.only, why: 'the only company' }
  const names = namesOf(table)
  const hint = names === '' ? 'any company id can be named.' : `configured are: ${names}.`
  throw new ProxyError('company_required', `The request names no company, and none is the default; ${hint}`)
}

type IdAndName = Pick<NamedCompany, 'name' | 'id'>

function refuseOther(company: IdAndName, ids: readonly string[], place: string): void {
  for (const id of ids) {
    if (id === company.id) continue
    throw new ProxyError(
      'company_conflict',
      `The request is for ${quote(company.name)} with the id ${company.id}, but ${place} names ${quote(id)}.`,
    )
  }
}

/** The error for a path that is neither forwarded nor one of the proxy's own. */
export function routeUnknown(): ProxyError {
  return new ProxyError(
    'route_unknown',
    'The path is neither below /rest/ or /vapid/ nor one of the proxy itself.',
  )
}
