// Checks that need more than one key: references, companies and addresses that clash, callers, cache rules, open addresses.
import { accessIn, checkRules } from './access-rules.ts'
import { isLoopbackHost, leadsTo, listenText } from './addresses.ts'
import { BUILT_IN_ENVIRONMENTS } from './config.ts'
import { isRawMap } from './issues.ts'
import { didYouMean, type Finding, keyOf, type Path, quoted, repeated } from './problems.ts'
import {
  type AccessSettings,
  NAMES,
  namedCompanies,
  placedAccounts,
  placedAddresses,
  RESERVED_NAMES,
  type Settings,
} from './schema.ts'

/** What the checks look at. */
interface CheckInput {
  readonly settings: Settings
  /** The values before the schema was applied. Something that is written wrongly still counts as existing. */
  readonly raw: unknown
  /** Key paths that are already known to be wrong, or were replaced; nothing more is reported for them. */
  readonly wrong: ReadonlySet<string>
  /** By key path: the flag or variable that a value came from. */
  readonly sources: ReadonlyMap<string, string>
}

interface Checking extends CheckInput {
  say(path: Path, message: string, fix: string): void
  readonly warnings: string[]
}

/** Runs all checks. */
export function checkSettings(input: CheckInput) {
  const findings = checkNames(input.raw)
  const warnings: string[] = []
  const say = (path: Path, message: string, fix: string) => {
    if (!input.wrong.has(keyOf(path))) findings.push({ path, message, fix })
  }
  const checks = [
    ...[checkEnvironments, checkFileDomains, checkAccountReferences, checkAccess, checkIds, checkDefaults],
    ...[checkAddresses, checkLoops, checkCallers, checkCache, checkGuard],
  ]
  for (const check of checks) check({ ...input, say, warnings })
  return { findings, warnings }
}

function keysOf(raw: unknown, key: string): string[] {
  const map = isRawMap(raw) ? raw[key] : undefined
  return isRawMap(map) ? Object.keys(map) : []
}

/** A wrong name is reported even if its entry is wrong too. */
function checkNames(raw: unknown): Finding[] {
  return Object.entries(NAMES).flatMap(([section, { pattern, what, fix }]) => {
    const isCompany = section === 'companies'
    const wrong = keysOf(raw, section).filter((name) => !pattern.test(name) && !(isCompany && name === '*'))
    return wrong.map((name) => {
      const reserved = 'a reserved word, because paths of the proxy itself start with it'
      const why = isCompany && RESERVED_NAMES.includes(name) ? reserved : `not ${what}`
      return { path: [section, name], message: `${quoted(name)} is ${why}`, fix }
    })
  })
}

/** Reports a name that refers to nothing in a section of the file. */
function sayUnknown({ say }: Checking, path: Path, name: string, [what, section, known]: Section): void {
  const others = known.length > 0 ? `Known are ${known.join(', ')}; add others` : 'Add it'
  const fix = `${didYouMean(name, known)}${others} under ${section}`
  say(path, `there is no ${what} ${JSON.stringify(name)}`, fix)
}
type Section = readonly [what: string, section: string, known: readonly string[]]

function checkEnvironments(checking: Checking): void {
  const { settings, raw, sources, say, warnings } = checking
  const builtIn = BUILT_IN_ENVIRONMENTS.map(({ name }) => name)
  const own = keysOf(raw, 'environments')
  const known = [...new Set([...builtIn, ...own])]
  for (const name of own.filter((name) => builtIn.includes(name))) {
    const message = `${name} is one of Procore's own environments and can't be redefined`
    say(['environments', name], message, `Give yours another name, such as my-${name}`)
  }
  const check = (path: Path, name: string) => {
    if (!known.includes(name)) sayUnknown(checking, path, name, ['environment', 'environments', known])
  }
  check(['environment'], settings.environment)
  // The variable or flag sets the top of the file; an account that names its own environment keeps it.
  const source = sources.get('environment')
  for (const { path, account } of placedAccounts(settings)) {
    const { environment } = account
    if (environment === undefined) continue
    check([...path, 'environment'], environment)
    const what = `${keyOf(path)}, which names the environment ${environment} itself`
    if (source && environment !== settings.environment) warnings.push(`${source} has no effect on ${what}.`)
  }
  for (const name of Object.keys(settings.defaultAccess)) check(['defaultAccess', name], name)
}

/** Access tokens are sent to every host below a file domain, so it must not be a whole top-level domain. */
function checkFileDomains({ settings, say }: Checking): void {
  for (const [name, { fileDomain, apiUrl }] of Object.entries(settings.environments)) {
    const { hostname } = new URL(apiUrl)
    if (!fileDomain || /[.:]/.test(fileDomain) || fileDomain === hostname) continue
    // The files of a test server stay on this machine.
    if (fileDomain === 'localhost' && apiUrl.startsWith('http:')) continue
    const message = `${JSON.stringify(fileDomain)} is a top-level domain, and access tokens are sent to every host below it`
    const fix = 'Write the domain of your files, or leave it out for the host of apiUrl'
    say(['environments', name, 'fileDomain'], message, fix)
  }
}

function checkAccountReferences(checking: Checking): void {
  const { settings, raw } = checking
  const known = keysOf(raw, 'serviceAccounts')
  for (const [company, { serviceAccount: name } = {}] of Object.entries(settings.companies)) {
    const path = ['companies', company, 'serviceAccount']
    if (typeof name === 'string' && !known.includes(name))
      sayUnknown(checking, path, name, ['service account', 'serviceAccounts', known])
  }
}

function checkAccess({ settings, wrong, say }: Checking): void {
  const isWrong = (...path: Path) => wrong.has(keyOf(path))
  const check = (owner: Path, { rules = [], access }: AccessSettings) => {
    const known = isWrong(...owner, 'access') ? undefined : access
    for (const { path, message, fix } of checkRules({ path: [...owner, 'rules'], rules, access: known }))
      say(path, message, fix)
  }
  const accounts = new Map(Object.entries(settings.serviceAccounts))
  for (const [name, company] of Object.entries(settings.companies)) {
    if (company === undefined) continue
    const { serviceAccount: own, rules } = company
    const account = typeof own === 'string' ? accounts.get(own) : own
    const environment = account?.environment ?? settings.environment
    const isKnown =
      account !== undefined && !isWrong('defaultAccess') && !isWrong('defaultAccess', environment)
    const access = isKnown ? accessIn(environment, company, settings.defaultAccess) : company.access
    check(['companies', name], { rules, access })
  }
  for (const [name, { rules, access, projects }] of Object.entries(settings.callers)) {
    // A caller with projects needs rules to be allowed calls that name no project.
    check(['callers', name], { rules, access: projects ? undefined : access })
  }
}

function checkIds({ settings, wrong, say }: Checking): void {
  const companies = namedCompanies(settings).filter(([name]) => !wrong.has(keyOf(['companies', name, 'id'])))
  for (const [[name, { id }], [other]] of repeated(companies, ([, { id }]) => id)) {
    const fix = 'Correct one of the two ids, or remove one of the two companies'
    say(['companies', name, 'id'], `${id} is the id of ${other} too`, fix)
  }
  for (const [name, { id }] of companies) {
    // Invariant: a path prefix of digits means one company, whether it is read as a name or as an id.
    if (!/^\d+$/.test(name) || name === id) continue
    const [other] = companies.find(([, company]) => company.id === name) ?? []
    const ownId = `the name consists of digits but is not the company's id ${id}`
    const message = other ? `the name is the id of ${other}` : ownId
    say(['companies', name], message, `Choose a name with a letter in it, or use ${id}`)
  }
}

function checkDefaults({ settings, say }: Checking): void {
  const [first, ...more] = namedCompanies(settings).filter(([, company]) => company.default)
  const message = `${first?.[0]} is the default company too`
  for (const [name] of more) say(['companies', name, 'default'], message, 'Keep default: true on one of them')
}

/** Every address, including the one for metrics. */
function allAddresses(settings: Settings) {
  const { listen: address } = settings.metrics
  return [...placedAddresses(settings), ...(address ? [{ path: ['metrics', 'listen'], address }] : [])]
}

function checkAddresses({ settings, say }: Checking): void {
  const fixed = allAddresses(settings).filter(({ address }) => address.kind === 'unix' || address.port !== 0)
  for (const [{ path, address }, other] of repeated(fixed, ({ address }) => listenText(address))) {
    const message = `${keyOf(other.path)} is ${listenText(address)} too`
    say(path, message, 'Choose another port or path for one of them')
  }
}

/** Finds an API or login server whose address is obviously the proxy's own. */
function checkLoops({ settings, say }: Checking): void {
  const addresses = allAddresses(settings)
  for (const [name, environment] of Object.entries(settings.environments)) {
    for (const key of ['apiUrl', 'loginUrl'] as const) {
      const url = environment[key]
      const own = addresses.find(({ address }) => leadsTo(url, address))
      if (own === undefined && URL.parse(settings.publicUrl ?? '')?.origin !== url) continue
      const message = `${url} leads back to this proxy (${own === undefined ? 'publicUrl' : keyOf(own.path)})`
      say(['environments', name, key], message, 'Write the address of the server itself')
    }
  }
}

function checkCallers(checking: Checking): void {
  const { settings, raw, say } = checking
  const known = keysOf(raw, 'companies').filter((name) => name !== '*')
  const byId = new Map(namedCompanies(settings).map(([name, { id }]) => [id, name]))
  const hasAny = settings.companies['*'] !== undefined
  for (const [caller, { companies = [] }] of Object.entries(settings.callers)) {
    for (const [index, name] of companies.entries()) {
      const path = ['callers', caller, 'companies', index]
      const named = byId.get(name)
      if (known.includes(name)) continue
      if (named !== undefined) say(path, `${name} is the id of ${named}`, `Write its name: ${named}`)
      else if (!hasAny || !/^\d{1,20}$/.test(name))
        sayUnknown(checking, path, name, ['company', 'companies', known])
    }
  }
}

function checkCache({ settings, say }: Checking): void {
  for (const [index, { for: forMs, whenExhausted = forMs }] of settings.cache.keep.entries()) {
    const path = ['cache', 'keep', index, 'whenExhausted']
    if (whenExhausted < forMs) say(path, 'is shorter than `for`', 'Write a longer duration, or leave it out')
  }
}

const KEYS = 'give callers keys (callers or guard.clientKeys)'
const ALLOW =
  'or, if something else in front of the proxy authenticates callers, set guard.allowUnauthenticated: true'

/** Refuses configurations that other machines or web pages could reach without identifying themselves. */
function checkGuard({ settings, raw, wrong, say, warnings }: Checking): void {
  const { guard, publicUrl } = settings
  const decisive = ['guard', 'guard.clientKeys', 'guard.allowUnauthenticated', 'callers']
  if (decisive.some((key) => wrong.has(key))) return
  if (guard.clientKeys.length > 0 || keysOf(raw, 'callers').length > 0) return
  const open = placedAddresses(settings).filter(
    ({ address }) => address.kind === 'tcp' && !isLoopbackHost(address.host),
  )
  if (guard.allowUnauthenticated) {
    const addresses = open.map(({ address }) => listenText(address)).join(', ')
    const warning = `guard.allowUnauthenticated is on: anyone who can connect to ${addresses} can use your service accounts.`
    if (open.length > 0) warnings.push(warning)
    return
  }
  for (const { path, address } of open) {
    const message = `${listenText(address)} is open to other machines, and anyone who can connect could use your service accounts`
    say(path, message, `Listen on 127.0.0.1, or ${KEYS}, ${ALLOW}`)
  }
  if (guard.requireHeader || wrong.has('guard.requireHeader')) return
  // Browsers send no Sec-Fetch headers to plain HTTP origins beyond loopback, so web pages could make requests.
  const check = (path: Path, host: string) => {
    const message = `any web page could make a browser send requests to ${host}`
    if (!isLoopbackHost(host)) say(path, message, `Set guard.requireHeader: true, or ${KEYS}, ${ALLOW}`)
  }
  for (const [index, host] of guard.allowedHosts.entries()) check(['guard', 'allowedHosts', index], host)
  const checkUrl = (path: Path, url: string | undefined) => {
    if (url?.startsWith('http:')) check(path, new URL(url).hostname)
  }
  checkUrl(['publicUrl'], publicUrl)
  for (const [name, company] of namedCompanies(settings))
    checkUrl(['companies', name, 'publicUrl'], company.publicUrl)
}
