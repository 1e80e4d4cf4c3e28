// Checks that need more than one key: references, companies and addresses that clash, callers, cache rules, open addresses.
import { accessIn, checkRules } from './access-rules.ts'
import { isLoopbackHost, leadsTo, listenText } from './addresses.ts'
import { BUILT_IN_ENVIRONMENTS } from './config.ts'
import { isRawMap } from './issues.ts'
import { didYouMean, type Finding, keyOf, type Path, repeated } from './problems.ts'
import { namedCompanies, placedAccounts, placedAddresses, type Settings } from './schema.ts'

/** What the checks look at. */
interface CheckInput {
  readonly settings: Settings
  /** The values before the schema was applied. Something that is written wrongly still counts as existing. */
  readonly raw: unknown
  /** Key paths that are already known to be wrong; nothing more is reported for them. */
  readonly wrong: ReadonlySet<string>
  /** By key path: the flag or variable that a value came from. */
  readonly sources: ReadonlyMap<string, string>
}

/** Runs all checks. */
export function checkSettings(input: CheckInput) {
  const guard = checkGuard(input)
  const findings = [
    ...checkEnvironments(input),
    ...checkAccountReferences(input),
    ...checkAccess(input),
    ...checkIds(input),
    ...checkDefaults(input.settings),
    ...checkAddresses(input.settings),
    ...checkLoops(input.settings),
    ...checkCallers(input),
    ...checkCache(input.settings),
    ...guard.findings,
  ].filter(({ path }) => !input.wrong.has(keyOf(path)))
  return { findings, warnings: [...ineffectiveEnvironment(input), ...guard.warnings] }
}

function keysOf(raw: unknown, key: string): string[] {
  const map = isRawMap(raw) ? raw[key] : undefined
  return isRawMap(map) ? Object.keys(map) : []
}

const WHAT = {
  environments: 'environment',
  serviceAccounts: 'service account',
  companies: 'company',
} as const

/** The problem of a name that refers to nothing in a section of the file. */
function unknown(path: Path, name: string, section: keyof typeof WHAT, known: readonly string[]): Finding {
  const others = known.length > 0 ? `Known are ${known.join(', ')}; add others` : 'Add it'
  const message = `there is no ${WHAT[section]} ${JSON.stringify(name)}`
  return { path, message, fix: `${didYouMean(name, known)}${others} under ${section}` }
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
      fix: `Give yours another name, such as my-${name}`,
    }))
  const ofAccounts = placedAccounts(settings).map(({ path, account }) => ({
    path: [...path, 'environment'],
    name: account.environment,
  }))
  const ofAccess = Object.keys(settings.defaultAccess).map((name) => ({
    path: ['defaultAccess', name],
    name,
  }))
  const uses = [{ path: ['environment'], name: settings.environment }, ...ofAccounts, ...ofAccess]
  const unknowns = uses.flatMap(({ path, name }) =>
    name === undefined || known.includes(name) ? [] : [unknown(path, name, 'environments', known)],
  )
  return [...redefined, ...unknowns, ...checkFileDomains(settings)]
}

/** Access tokens are sent to every host below a file domain, so it must not be a whole top-level domain. */
function checkFileDomains({ environments }: Settings): Finding[] {
  return Object.entries(environments).flatMap(([name, { fileDomain, apiUrl }]) => {
    const { hostname } = new URL(apiUrl)
    if (!fileDomain || /[.:]/.test(fileDomain) || fileDomain === hostname) return []
    // The files of a test server stay on this machine.
    if (fileDomain === 'localhost' && apiUrl.startsWith('http:')) return []
    const message = `${JSON.stringify(fileDomain)} is a top-level domain, and access tokens are sent to every host below it`
    const fix = `Write the domain of your files, or leave it out for ${hostname}`
    return [{ path: ['environments', name, 'fileDomain'], message, fix }]
  })
}

/** The variable or flag sets the top of the file; an account that names its own environment keeps it. */
function ineffectiveEnvironment({ settings, sources }: CheckInput): string[] {
  const source = sources.get('environment')
  return placedAccounts(settings).flatMap(({ path, account: { environment = settings.environment } }) =>
    source === undefined || environment === settings.environment
      ? []
      : [`${source} has no effect on ${keyOf(path)}, which names the environment ${environment} itself.`],
  )
}

function checkAccountReferences({ settings, raw }: CheckInput): Finding[] {
  const known = keysOf(raw, 'serviceAccounts')
  return Object.entries(settings.companies).flatMap(([company, { serviceAccount: name } = {}]) => {
    if (typeof name !== 'string' || known.includes(name)) return []
    return [unknown(['companies', company, 'serviceAccount'], name, 'serviceAccounts', known)]
  })
}

function checkAccess({ settings, wrong }: CheckInput): Finding[] {
  const isWrong = (start: string) => [...wrong].some((key) => key.startsWith(start))
  const accounts = new Map(placedAccounts(settings).map((placed) => [keyOf(placed.path), placed.account]))
  const ofCompanies = Object.entries(settings.companies).flatMap(([name, company]) => {
    const path = ['companies', name, 'rules']
    // Wrong rules have been replaced by others.
    if (company === undefined || isWrong(keyOf(path))) return []
    const { serviceAccount: own, rules = [] } = company
    const account = typeof own === 'string' ? accounts.get(keyOf(['serviceAccounts', own])) : own
    const environment = account?.environment ?? settings.environment
    const isKnown = account !== undefined && !isWrong('defaultAccess')
    const access = isKnown ? accessIn(environment, company, settings.defaultAccess) : company.access
    return checkRules({ path, rules, access })
  })
  const ofCallers = Object.entries(settings.callers).flatMap(([name, { rules, access, projects }]) => {
    const path = ['callers', name, 'rules']
    // A caller with projects needs rules to be allowed calls that name no project.
    return isWrong(keyOf(path)) ? [] : checkRules({ path, rules, access: projects ? undefined : access })
  })
  return [...ofCompanies, ...ofCallers]
}

function checkIds({ settings, wrong }: CheckInput): Finding[] {
  const companies = namedCompanies(settings).filter(([name]) => !wrong.has(keyOf(['companies', name, 'id'])))
  const findings: Finding[] = repeated(companies, ([, { id }]) => id).map(([[name, { id }], [other]]) => ({
    path: ['companies', name, 'id'],
    message: `${id} is the id of ${other} too`,
    fix: 'Correct one of the two ids, or remove one of the two companies',
  }))
  for (const [name, { id }] of companies) {
    // Invariant: a path prefix of digits means one company, whether it is read as a name or as an id.
    if (!/^\d+$/.test(name) || name === id) continue
    const [other] = companies.find(([, company]) => company.id === name) ?? []
    const ownId = `the name consists of digits but is not the company's id ${id}`
    const message = other ? `the name is the id of ${other}` : ownId
    const fix = `Choose a name with a letter in it, or use ${id}`
    findings.push({ path: ['companies', name], message, fix })
  }
  return findings
}

function checkDefaults(settings: Settings): Finding[] {
  const [first, ...more] = namedCompanies(settings).filter(([, company]) => company.default)
  return more.map(([name]) => ({
    path: ['companies', name, 'default'],
    message: `${first?.[0]} is the default company too`,
    fix: 'Keep default: true on one of them',
  }))
}

/** Every address, including the one for metrics. */
function allAddresses(settings: Settings) {
  const { listen: address } = settings.metrics
  return [...placedAddresses(settings), ...(address ? [{ path: ['metrics', 'listen'], address }] : [])]
}

function checkAddresses(settings: Settings): Finding[] {
  const fixed = allAddresses(settings).filter(({ address }) => address.kind === 'unix' || address.port !== 0)
  return repeated(fixed, ({ address }) => listenText(address)).map(([{ path, address }, other]) => ({
    path,
    message: `${keyOf(other.path)} is ${listenText(address)} too`,
    fix: 'Choose another port or path for one of them',
  }))
}

/** Finds an API or login server whose address is obviously the proxy's own. */
function checkLoops(settings: Settings): Finding[] {
  const addresses = allAddresses(settings)
  return Object.entries(settings.environments).flatMap(([name, environment]) =>
    (['apiUrl', 'loginUrl'] as const).flatMap((key) => {
      const url = environment[key]
      const own = addresses.find(({ address }) => leadsTo(url, address))
      const isPublic = URL.parse(settings.publicUrl ?? '')?.origin === url
      if (own === undefined && !isPublic) return []
      const what = own === undefined ? 'publicUrl' : keyOf(own.path)
      const message = `${url} leads back to this proxy (${what})`
      return [{ path: ['environments', name, key], message, fix: 'Write the address of the server itself' }]
    }),
  )
}

function checkCallers({ settings, raw }: CheckInput): Finding[] {
  const known = keysOf(raw, 'companies').filter((name) => name !== '*')
  const byId = new Map(namedCompanies(settings).map(([name, { id }]) => [id, name]))
  const hasAny = settings.companies['*'] !== undefined
  return Object.entries(settings.callers).flatMap(([caller, { companies = [] }]) =>
    companies.flatMap((name, index): Finding[] => {
      const path = ['callers', caller, 'companies', index]
      if (known.includes(name)) return []
      const named = byId.get(name)
      if (named !== undefined)
        return [{ path, message: `${name} is the id of ${named}`, fix: `Write its name: ${named}` }]
      if (hasAny && /^\d{1,20}$/.test(name)) return []
      return [unknown(path, name, 'companies', known)]
    }),
  )
}

function checkCache({ cache }: Settings): Finding[] {
  return cache.keep.flatMap((rule, index) => {
    if (rule.whenExhausted === undefined || rule.whenExhausted >= rule.for) return []
    const path = ['cache', 'keep', index, 'whenExhausted']
    return [{ path, message: 'is shorter than `for`', fix: 'Write a longer duration, or leave it out' }]
  })
}

const KEYS = 'give callers keys (callers or guard.clientKeys)'
const ALLOW =
  'or, if something else in front of the proxy authenticates callers, set guard.allowUnauthenticated: true'

/** Checks `listen`, `publicUrl` and `guard.allowedHosts`. */
function checkGuard({ settings, wrong }: CheckInput) {
  const { guard, callers } = settings
  // Mistakes within `guard` itself have been reported already.
  const isWrong = [...wrong].some((key) => /^(guard|callers)\b/.test(key))
  const hasKeys = guard.clientKeys.length > 0 || Object.keys(callers).length > 0
  if (hasKeys || isWrong) return { findings: [], warnings: [] }
  const open = placedAddresses(settings).filter(
    ({ address }) => address.kind === 'tcp' && !isLoopbackHost(address.host),
  )
  if (guard.allowUnauthenticated) {
    const addresses = open.map(({ address }) => listenText(address)).join(', ')
    const warning = `guard.allowUnauthenticated is on: anyone who can connect to ${addresses} can use your service accounts.`
    return { findings: [], warnings: open.length === 0 ? [] : [warning] }
  }
  const findings = open.map(({ path, address }) => ({
    path,
    message: `${listenText(address)} is open to other machines, and anyone who can connect could use your service accounts`,
    fix: `Listen on 127.0.0.1, or ${KEYS}, ${ALLOW}`,
  }))
  return { findings: [...findings, ...(guard.requireHeader ? [] : openNames(settings))], warnings: [] }
}

/** Browsers send no Sec-Fetch headers to plain HTTP origins beyond loopback, so web pages could make requests. */
function openNames(settings: Settings): Finding[] {
  const hosts = settings.guard.allowedHosts.map((host, index) => ({
    path: ['guard', 'allowedHosts', index],
    host,
  }))
  const ofCompanies = namedCompanies(settings).map(([name, { publicUrl: url }]) => ({
    path: ['companies', name, 'publicUrl'],
    url,
  }))
  const plain = [{ path: ['publicUrl'], url: settings.publicUrl }, ...ofCompanies].flatMap(({ path, url }) =>
    url?.startsWith('http:') ? [{ path, host: new URL(url).hostname }] : [],
  )
  return [...hosts, ...plain]
    .filter(({ host }) => !isLoopbackHost(host))
    .map(({ path, host }) => ({
      path,
      message: `any web page could make a browser send requests to ${host}`,
      fix: `Set guard.requireHeader: true, or ${KEYS}, ${ALLOW}`,
    }))
}
