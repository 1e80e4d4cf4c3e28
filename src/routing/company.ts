// Chooses the company of a request: by listener, Host label, path prefix, header, path, query, or default.
import type { AnyCompany, Company } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import {
  type CompanyTable,
  companyOfId,
  knownCompanies,
  type NamedCompany,
  namesOf,
} from './company-table.ts'
import { queriesOf, readingsOf, segmentsAfter } from './path-readings.ts'
import { type CutPath, cutPrefix, isForwardedPath, isOwnPath } from './prefix.ts'
import { COMPANY_ID, queryValues } from './query.ts'
import { quote } from './quote.ts'
import type { Target } from './target.ts'

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

export interface Choice {
  /** Under `"*"`, its id. */
  readonly name: string
  readonly id: string
  readonly company: Company | AnyCompany
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
  const inHeaders = withoutEmpty(request.companyIdHeaders)
  const inPath = idsInPath(cut.path)
  const inQuery = queriesOf(cut.path, target.query).flatMap((query) => queryValues(query, COMPANY_ID))
  const { company, why } =
    fixed ??
    byHeader(table, inHeaders) ??
    (cut.path.startsWith('/rest/') ? byId(table, inPath[0], 'the path') : undefined) ??
    byId(table, inQuery[0], 'the query') ??
    unnamed(table)
  // Invariant: no id that the request names anywhere contradicts the chosen one.
  refuseOther(company, inHeaders, 'the header Procore-Company-Id')
  refuseOther(company, inPath, 'the path')
  refuseOther(company, inQuery, "the query's company_id")
  const { name, id } = company
  const route = forwarded ? 'forward' : 'own'
  return { name, id, company: company.company, prefix: cut.prefix, path: cut.path, why, route }
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
  return segments.map((segment) => segment.replace(/[.;].*/s, ''))
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

function refuseOther(company: NamedCompany, ids: readonly string[], place: string): void {
  for (const id of ids) {
    if (id === company.id) continue
    throw new ProxyError(
      'company_conflict',
      `The request is for ${quote(company.name)} with the id ${company.id}, but ${place} names ${quote(id)}.`,
    )
  }
}

function withoutEmpty(values: readonly string[]): readonly string[] {
  return values.includes('') ? values.filter((value) => value !== '') : values
}

/** The error for a path that is neither forwarded nor one of the proxy's own. */
export function routeUnknown(): ProxyError {
  return new ProxyError(
    'route_unknown',
    'The path is neither below /rest/ or /vapid/ nor one of the proxy itself.',
  )
}
