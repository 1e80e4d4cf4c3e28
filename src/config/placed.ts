// Lists the companies, accounts, addresses and keys in the settings, each with its key path.
import type { ListenAddress } from './config.ts'
import type { Path } from './problems.ts'
import type { AccountSettings, CompanySettings, SecretSource, Settings } from './schema.ts'

/** A service account, where it is written, and its name. */
export interface PlacedAccount {
  readonly path: Path
  /** Its name under `serviceAccounts`, or its company's. */
  readonly name: string
  readonly account: AccountSettings
}

/** An address that the proxy listens on, and where it is written. */
export interface PlacedAddress {
  readonly path: Path
  readonly address: ListenAddress
}

/** A caller's key, where it is written, and whose it is: a path too. */
export interface PlacedKey {
  readonly path: Path
  readonly owner: Path
  readonly source: SecretSource
}

/** The companies that have a name, in the order of the file. */
export function namedCompanies({ companies }: Settings): [string, CompanySettings][] {
  return Object.entries(companies).filter(([name]) => name !== '*') as [string, CompanySettings][]
}

/** Every service account: shared ones first, then those of one company. */
export function placedAccounts(settings: Settings): PlacedAccount[] {
  const shared = Object.entries(settings.serviceAccounts).map(([name, account]) => {
    return { path: ['serviceAccounts', name], name, account }
  })
  const inline = Object.entries(settings.companies).flatMap(([name, company]) => {
    const account = company?.serviceAccount
    return typeof account === 'object' ? [{ path: ['companies', name, 'serviceAccount'], name, account }] : []
  })
  return [...shared, ...inline]
}

/** Every address at which the API is served. */
export function placedAddresses(settings: Settings): PlacedAddress[] {
  const { listen } = settings
  const shared = Array.isArray(listen)
    ? listen.map((address, index) => ({ path: ['listen', index], address }))
    : [{ path: ['listen'], address: listen }]
  const own = namedCompanies(settings).flatMap(([name, { listen: address }]) =>
    address === undefined ? [] : [{ path: ['companies', name, 'listen'], address }],
  )
  return [...shared, ...own]
}

/** Every key of a caller, with a name or without. */
export function placedKeys({ guard, callers }: Settings): PlacedKey[] {
  const owner = ['guard', 'clientKeys']
  const nameless = guard.clientKeys.map((source, index) => ({ path: [...owner, index], owner, source }))
  const named = Object.entries(callers).flatMap(([name, { key }]): PlacedKey[] => {
    const path = ['callers', name, 'key']
    if (!Array.isArray(key)) return [{ path, owner: ['callers', name], source: key }]
    return key.map((source, index) => ({ path: [...path, index], owner: ['callers', name], source }))
  })
  return [...nameless, ...named]
}
