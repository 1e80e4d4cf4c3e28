// Lists the companies, accounts, addresses and keys in the settings, each with its key path.
import type { Path } from './problems.ts'
import type { CompanySettings, Settings } from './schema.ts'

/** The companies that have a name, in the order of the file. */
export function namedCompanies({ companies }: Settings): [string, CompanySettings][] {
  return Object.entries(companies).filter(([name]) => name !== '*') as [string, CompanySettings][]
}

/** Every service account: shared ones first, then those of one company, which have the company's name. */
export function placedAccounts(settings: Settings) {
  const shared = Object.entries(settings.serviceAccounts).map(([name, account]) => {
    return { path: ['serviceAccounts', name], name, account }
  })
  const inline = Object.entries(settings.companies).flatMap(([name, company]) => {
    const account = company?.serviceAccount
    return typeof account === 'object' ? [{ path: ['companies', name, 'serviceAccount'], name, account }] : []
  })
  return [...shared, ...inline]
}

/** A value, or each value of a list, with its path. */
function each<T>(path: Path, values: T | T[]): { path: Path; value: T }[] {
  if (!Array.isArray(values)) return [{ path, value: values }]
  return values.map((value: T, index) => ({ path: [...path, index], value }))
}

/** Every address at which the API is served. */
export function placedAddresses(settings: Settings) {
  const shared = each(['listen'], settings.listen).map(({ path, value }) => ({ path, address: value }))
  const own = namedCompanies(settings).flatMap(([name, { listen: address }]) =>
    address === undefined ? [] : [{ path: ['companies', name, 'listen'], address }],
  )
  return [...shared, ...own]
}

/** Every key of a caller, with a name or without; `owner` is the path of the caller. */
export function placedKeys({ guard, callers }: Settings) {
  const clientKeys = ['guard', 'clientKeys']
  const nameless = { owner: clientKeys, path: clientKeys, keys: guard.clientKeys }
  const named = Object.entries(callers).map(([name, { key: keys }]) => {
    return { owner: ['callers', name], path: ['callers', name, 'key'], keys }
  })
  return [nameless, ...named].flatMap(({ owner, path, keys }) =>
    each(path, keys).map(({ path, value }) => ({ owner, path, source: value })),
  )
}
