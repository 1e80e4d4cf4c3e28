// Indexes the configured companies, once per configuration, so that each request can look them up.
import type { AnyCompany, Company, Config } from '../config/config.ts'

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
export function knownCompanies(table: CompanyTable): string {
  return table.shown.length === 0 ? '' : ` Configured are: ${namesOf(table)}.`
}

/** The company of an id: the configured one, else `"*"` if the id is canonical, else undefined. */
// Invariant: a configured id is never served by "*", whose account and access may differ.
export function companyOfId(table: CompanyTable, id: string): NamedCompany | undefined {
  const configured = table.byId.get(id)
  if (configured !== undefined || table.any === undefined || !ID.test(id)) return configured
  return { name: id, id, company: table.any }
}
