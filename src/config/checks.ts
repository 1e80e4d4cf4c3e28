// Checks that need more than one key: references, companies that clash, addresses that would be open to strangers.
import { accessIn, checkRules } from './access-rules.ts'
import { isLoopbackHost, listenText } from './addresses.ts'
import type { ListenAddress } from './config.ts'
import { BUILT_IN_ENVIRONMENTS } from './environments.ts'
import { isRawMap } from './issues.ts'
import { type Finding, keyOf, type Path } from './problems.ts'
import type { AccountSettings, CompanySettings, Settings } from './schema.ts'

/** What the checks look at. */
export interface CheckInput {
  readonly settings: Settings
  /** The values before the schema: what is wrong in itself still counts as existing. */
  readonly raw: unknown
  /** Key paths that are known to be wrong: nothing more is said of them. */
  readonly wrong: ReadonlySet<string>
  /** By key path: the flag or variable that a value came from. */
  readonly sources: ReadonlyMap<string, string>
}

/** What the checks say. */
export interface CheckResult {
  readonly findings: readonly Finding[]
  readonly warnings: readonly string[]
}

/** An account that is written somewhere, and where. */
export interface PlacedAccount {
  readonly path: Path
  /** Its name under `serviceAccounts`, or its company's. */
  readonly name: string
  readonly account: AccountSettings
}

/** The companies that have a name, in the order of the file. */
export function namedCompanies({ companies }: Settings): [string, CompanySettings][] {
  return Object.entries(companies).filter(([name]) => name !== '*') as [string, CompanySettings][]
}

/** Every account of the file: shared ones first, then those written inline. */
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

/** All checks at once. */
export function checkSettings(input: CheckInput): CheckResult {
  const listen = checkListen(input)
  const findings = [
    ...checkEnvironments(input),
    ...checkAccountReferences(input),
    ...checkAccess(input),
    ...checkIds(input),
    ...checkDefaults(input.settings),
    ...checkDuplicateAddresses(input.settings),
    ...listen.findings,
  ].filter(({ path }) => !input.wrong.has(keyOf(path)))
  return { findings, warnings: [...ineffectiveEnvironment(input), ...listen.warnings] }
}

function keysOf(raw: unknown, key: string): string[] {
  const map = isRawMap(raw) ? raw[key] : undefined
  return isRawMap(map) ? Object.keys(map) : []
}

function checkEnvironments({ settings, raw }: CheckInput): Finding[] {
  const builtIn = BUILT_IN_ENVIRONMENTS.map(({ name }) => name)
  const own = keysOf(raw, 'environments')
  const known = [...new Set([...builtIn, ...own])]
  const redefined = own
    .filter((name) => builtIn.includes(name))
    .map((name) => ({
      path: ['environments', name],
      message: `${name} is one of Procore's own environments and can't be redefined`,
      mend: `Give yours another name, such as my-${name}`,
    }))
  const uses = placedAccounts(settings).map(({ path, account }) => ({
    path: [...path, 'environment'],
    name: account.environment,
  }))
  const defaults = Object.keys(settings.defaultAccess).map((name) => ({
    path: ['defaultAccess', name],
    name,
  }))
  const unknown = [{ path: ['environment'], name: settings.environment }, ...uses, ...defaults]
    .filter(({ name }) => name !== undefined && !known.includes(name))
    .map(({ path, name }) => ({
      path,
      message: `there is no environment ${JSON.stringify(name)}`,
      mend: `Known are ${known.join(', ')}; others go under environments`,
    }))
  const domains = Object.entries(settings.environments).flatMap(([name, { fileDomain, apiUrl }]) => {
    // The bearer goes to every host below it: a whole top-level domain is no domain of anyone's.
    if (!fileDomain || /[.:]/.test(fileDomain) || fileDomain === new URL(apiUrl).hostname) return []
    // A test server, whose files stay on this machine.
    if (fileDomain === 'localhost' && apiUrl.startsWith('http:')) return []
    const message = `${JSON.stringify(fileDomain)} is a top-level domain, and tokens are sent to every host below it`
    const mend = `Write the domain of your files, or leave it out for ${new URL(apiUrl).hostname}`
    return [{ path: ['environments', name, 'fileDomain'], message, mend }]
  })
  return [...redefined, ...unknown, ...domains]
}

/** The variable or flag sets what is at the top of the file; an account that names its own environment keeps it. */
function ineffectiveEnvironment({ settings, sources }: CheckInput): string[] {
  const source = sources.get('environment')
  if (source === undefined) return []
  return placedAccounts(settings)
    .filter(
      ({ account }) => account.environment !== undefined && account.environment !== settings.environment,
    )
    .map(
      ({ path, account }) =>
        `${source} has no effect on ${keyOf(path)}, which names the environment ${account.environment} itself.`,
    )
}

function checkAccountReferences({ settings, raw }: CheckInput): Finding[] {
  const known = keysOf(raw, 'serviceAccounts')
  return Object.entries(settings.companies).flatMap(([name, company]) => {
    const reference = company?.serviceAccount
    if (typeof reference !== 'string' || known.includes(reference)) return []
    const message = `there is no service account ${JSON.stringify(reference)}`
    const mend =
      known.length === 0
        ? 'Add it under serviceAccounts'
        : `Known are ${known.join(', ')}; others go under serviceAccounts`
    return [{ path: ['companies', name, 'serviceAccount'], message, mend }]
  })
}

function checkAccess({ settings, wrong }: CheckInput): Finding[] {
  const accounts = new Map(placedAccounts(settings).map((placed) => [keyOf(placed.path), placed.account]))
  return Object.entries(settings.companies).flatMap(([name, company]) => {
    const path = ['companies', name, 'rules']
    // Rules that are wrong in themselves were replaced by others.
    if (company === undefined || [...wrong].some((key) => key.startsWith(keyOf(path)))) return []
    const { serviceAccount: reference, rules = [] } = company
    const account =
      typeof reference === 'string' ? accounts.get(keyOf(['serviceAccounts', reference])) : reference
    const environment = account?.environment ?? settings.environment
    const isKnown = account !== undefined && ![...wrong].some((key) => key.startsWith('defaultAccess'))
    const access = isKnown ? accessIn(environment, company, settings.defaultAccess) : company.access
    return checkRules({ path, rules, access })
  })
}

function checkIds({ settings, wrong }: CheckInput): Finding[] {
  const companies = namedCompanies(settings).filter(([name]) => !wrong.has(keyOf(['companies', name, 'id'])))
  const findings: Finding[] = []
  const first = new Map<string, string>()
  for (const [name, { id }] of companies) {
    const path = ['companies', name, 'id']
    const other = first.get(id)
    if (other !== undefined) {
      const message = `${id} is the id of ${other} too`
      findings.push({ path, message, mend: 'Correct one of the two ids, or keep one of the two companies' })
    } else first.set(id, name)
  }
  for (const [name, { id }] of companies) {
    // Invariant: a path prefix of digits means one company, whether it is read as a name or as an id.
    if (!/^\d+$/.test(name) || name === id) continue
    const other = first.get(name)
    const message =
      other === undefined
        ? `the name is all digits, but not the company's id ${id}`
        : `the name is the id of ${other}`
    findings.push({
      path: ['companies', name],
      message,
      mend: `Choose a name with a letter in it, or use ${id}`,
    })
  }
  return findings
}

function checkDefaults(settings: Settings): Finding[] {
  const [first, ...more] = namedCompanies(settings).filter(([, company]) => company.default)
  return more.map(([name]) => ({
    path: ['companies', name, 'default'],
    message: `${first?.[0]} is the default company too`,
    mend: 'Keep default: true on one of them',
  }))
}

interface PlacedAddress {
  readonly path: Path
  readonly address: ListenAddress
}

function placedAddresses(settings: Settings): PlacedAddress[] {
  const { listen } = settings
  const global = Array.isArray(listen)
    ? listen.map((address, index) => ({ path: ['listen', index], address }))
    : [{ path: ['listen'], address: listen }]
  const own = namedCompanies(settings).flatMap(([name, { listen: address }]) =>
    address === undefined ? [] : [{ path: ['companies', name, 'listen'], address }],
  )
  return [...global, ...own]
}

function checkDuplicateAddresses(settings: Settings): Finding[] {
  const seen = new Map<string, Path>()
  return placedAddresses(settings).flatMap(({ path, address }) => {
    const text = listenText(address)
    const other = seen.get(text)
    if (address.kind === 'tcp' && address.port === 0) return []
    seen.set(text, other ?? path)
    if (other === undefined) return []
    return [
      {
        path,
        message: `${keyOf(other)} is ${text} too`,
        mend: 'Choose another port or path for one of them',
      },
    ]
  })
}

function checkListen({ settings, wrong }: CheckInput): CheckResult {
  const { guard } = settings
  const open = placedAddresses(settings).filter(
    ({ address }) => address.kind === 'tcp' && !isLoopbackHost(address.host),
  )
  if (guard.clientKeys.length > 0 || open.length === 0) return { findings: [], warnings: [] }
  if (guard.allowUnauthenticated) {
    const addresses = open.map(({ address }) => listenText(address)).join(', ')
    const warning = `guard.allowUnauthenticated is on: anyone who reaches ${addresses} uses your service accounts.`
    return { findings: [], warnings: [warning] }
  }
  // A guard that is wrong in itself is reported as that alone.
  if ([...wrong].some((key) => key.startsWith('guard'))) return { findings: [], warnings: [] }
  const findings = open.map(({ path, address }) => ({
    path,
    message: `${listenText(address)} is open to other machines: anyone who reaches it would use your service accounts`,
    mend: 'Listen on 127.0.0.1, or ask callers for a key (guard.clientKeys), or, where something else keeps strangers out, set guard.allowUnauthenticated: true',
  }))
  return { findings, warnings: [] }
}
