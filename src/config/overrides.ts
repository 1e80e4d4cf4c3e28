// Lays flags and variables over the values of the file, and remembers which of them a value came from.
import { resolve } from 'node:path'
import { readCompanyId } from './company-url.ts'
import { isRawMap, type RawMap } from './issues.ts'
import { noProxyEntries } from './outbound.ts'
import { keyOf, type Path, type Problem } from './problems.ts'

/** What the command line may set; a secret never stands there. */
export interface Flags {
  readonly config?: string | undefined
  readonly listen?: readonly string[] | undefined
  readonly environment?: string | undefined
  readonly companyId?: string | undefined
  readonly clientId?: string | undefined
  readonly logLevel?: string | undefined
  readonly logFormat?: string | undefined
}

/** A flag of the command line and what it sets. */
export interface FlagNote {
  readonly flag: string
  readonly variable: string | undefined
  readonly sets: string
}

/** Every flag that sets something of the configuration, for help texts and the reference. */
export const FLAGS: readonly FlagNote[] = [
  { flag: '--config FILE', variable: 'PROCORE_PROXY_CONFIG', sets: 'the configuration file' },
  {
    flag: '--listen ADDRESS',
    variable: 'PROCORE_PROXY_LISTEN',
    sets: '`listen`; may be given several times',
  },
  { flag: '--environment NAME', variable: 'PROCORE_ENVIRONMENT', sets: '`environment`' },
  { flag: '--company-id ID', variable: 'PROCORE_COMPANY_ID', sets: "the only company's `id`" },
  { flag: '--client-id ID', variable: 'PROCORE_CLIENT_ID', sets: "the only company's `clientId`" },
  { flag: '--log-level LEVEL', variable: 'PROCORE_PROXY_LOG_LEVEL', sets: '`log.level`' },
  { flag: '--log-format FORMAT', variable: undefined, sets: '`log.format`' },
]

/** Every variable that sets something, and what. */
export const VARIABLES: readonly { readonly variable: string; readonly sets: string }[] = [
  { variable: 'PROCORE_CLIENT_ID', sets: "the only company's `clientId`" },
  { variable: 'PROCORE_CLIENT_SECRET', sets: "the only company's `clientSecret`" },
  {
    variable: 'PROCORE_CLIENT_SECRET_FILE',
    sets: "the file that holds the only company's `clientSecret`; not together with PROCORE_CLIENT_SECRET",
  },
  { variable: 'PROCORE_COMPANY_ID', sets: "the only company's `id`" },
  { variable: 'PROCORE_ENVIRONMENT', sets: '`environment`' },
  {
    variable: 'PROCORE_API_URL',
    sets: 'with PROCORE_LOGIN_URL, an environment named `custom` that is used as `environment`; not together with PROCORE_ENVIRONMENT',
  },
  { variable: 'PROCORE_LOGIN_URL', sets: 'see PROCORE_API_URL' },
  { variable: 'PROCORE_PROXY_LISTEN', sets: '`listen`; several addresses are parted by commas' },
  { variable: 'PROCORE_PROXY_LOG_LEVEL', sets: '`log.level`' },
  { variable: 'PROCORE_PROXY_CONFIG', sets: 'the configuration file' },
  { variable: 'HTTPS_PROXY', sets: '`network.proxy`, where the file does not; `https_proxy` goes before it' },
  {
    variable: 'NO_PROXY',
    sets: '`network.noProxy`, where the file does not; parted by commas or blanks; `no_proxy` goes before it; what is no host (a range of addresses) is passed over',
  },
]

/** What there is to lay over a file. */
export interface OverrideContext {
  readonly flags: Flags
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
}

/** The file's values with flags and variables laid over. */
export interface Overridden {
  readonly value: unknown
  /** By key path: the flag or variable that a value came from. */
  readonly sources: ReadonlyMap<string, string>
  /** Key paths whose lack is among `problems` already. */
  readonly reported: ReadonlySet<string>
  readonly problems: readonly Problem[]
  readonly warnings: readonly string[]
}

interface Given {
  readonly name: string
  readonly value: string
}

/** Lays flags, then variables over `raw` (a new map; `raw` itself stays as it is where it is no map). */
export function applyOverrides(raw: unknown, context: OverrideContext): Overridden {
  const root: unknown = raw ?? Object.create(null)
  if (!isRawMap(root))
    return { value: raw, sources: new Map(), reported: new Set(), problems: [], warnings: [] }
  const layer = new Layer(root)
  overrideSettings(layer, context)
  overrideEnvironment(layer, context)
  overrideCompany(layer, context)
  defaultNetwork(layer, context)
  const { sources, reported, problems, warnings } = layer
  return { value: root, sources, reported, problems, warnings }
}

class Layer {
  readonly root: RawMap
  readonly sources = new Map<string, string>()
  readonly reported = new Set<string>()
  readonly problems: Problem[] = []
  readonly warnings: string[] = []

  constructor(root: RawMap) {
    this.root = root
    // A key with nothing below it (every line of a section commented out) is as good as none.
    for (const [key, value] of Object.entries(root)) if (value === null) delete root[key]
  }

  get(path: Path): unknown {
    return path.reduce<unknown>((value, part) => (isRawMap(value) ? value[part] : undefined), this.root)
  }

  /** Sets a value; where something that is no map stands in the way, the schema will say so. */
  set(path: readonly string[], value: unknown, source: string): void {
    let map: RawMap = this.root
    for (const part of path.slice(0, -1)) {
      map[part] ??= Object.create(null)
      const next = map[part]
      if (!isRawMap(next)) return
      map = next
    }
    map[path.at(-1) as string] = value
    this.sources.set(keyOf(path), source)
  }

  say(key: string, message: string, fix: string): void {
    this.problems.push({ key, message, fix })
  }
}

function variable(env: NodeJS.ProcessEnv, name: string): Given | undefined {
  const value = env[name]
  return value === undefined || value.trim() === '' ? undefined : { name, value }
}

function flagOr(flag: string, value: string | undefined, fallback: Given | undefined): Given | undefined {
  return value === undefined || value.trim() === '' ? fallback : { name: flag, value }
}

function overrideSettings(layer: Layer, { flags, env }: OverrideContext): void {
  const fromVariable = variable(env, 'PROCORE_PROXY_LISTEN')
  if (flags.listen !== undefined && flags.listen.length > 0)
    layer.set(['listen'], [...flags.listen], '--listen')
  else if (fromVariable) {
    const addresses = fromVariable.value.split(',').map((address) => address.trim())
    layer.set(
      ['listen'],
      addresses.filter((address) => address !== ''),
      fromVariable.name,
    )
  }
  const level = flagOr('--log-level', flags.logLevel, variable(env, 'PROCORE_PROXY_LOG_LEVEL'))
  if (level) layer.set(['log', 'level'], level.value, level.name)
  const format = flagOr('--log-format', flags.logFormat, undefined)
  if (format) layer.set(['log', 'format'], format.value, format.name)
}

/** The name of the environment that PROCORE_API_URL and PROCORE_LOGIN_URL make. */
const CUSTOM = 'custom'

function overrideEnvironment(layer: Layer, { flags, env }: OverrideContext): void {
  const named = variable(env, 'PROCORE_ENVIRONMENT')
  const api = variable(env, 'PROCORE_API_URL')
  const login = variable(env, 'PROCORE_LOGIN_URL')
  if (api && login) {
    layer.set(['environments', CUSTOM], Object.create(null), api.name)
    layer.set(['environments', CUSTOM, 'apiUrl'], api.value, api.name)
    layer.set(['environments', CUSTOM, 'loginUrl'], login.value, login.name)
    layer.set(['environment'], CUSTOM, api.name)
  } else if (api || login) {
    const [set, missing] = api ? [api.name, 'PROCORE_LOGIN_URL'] : ['PROCORE_LOGIN_URL', 'PROCORE_API_URL']
    layer.say(missing, `is not set, but ${set} is`, `Set both or neither`)
  }
  if (named && (api || login)) {
    layer.say(
      named.name,
      'names an environment, and PROCORE_API_URL and PROCORE_LOGIN_URL make another',
      'Unset PROCORE_ENVIRONMENT, or the two others',
    )
  }
  const chosen = flagOr('--environment', flags.environment, named)
  if (chosen) layer.set(['environment'], chosen.value, chosen.name)
}

/** These two are for every program of the machine: what the file says of this one goes before them. */
function defaultNetwork(layer: Layer, { env }: OverrideContext): void {
  const given = (name: string) => variable(env, name.toLowerCase()) ?? variable(env, name)
  const isFree = (key: string) => layer.get(['network', key]) === undefined
  const proxy = given('HTTPS_PROXY')
  if (proxy && isFree('proxy')) {
    const source: RawMap = Object.create(null)
    source['env'] = proxy.name
    layer.set(['network', 'proxy'], source, proxy.name)
  }
  const none = given('NO_PROXY')
  if (none && isFree('noProxy')) layer.set(['network', 'noProxy'], noProxyEntries(none.value), none.name)
}

interface Pieces {
  readonly companyId: Given | undefined
  readonly clientId: Given | undefined
  /** `value` is a secret source. */
  readonly clientSecret: { readonly name: string; readonly value: unknown } | undefined
}

function readPieces(layer: Layer, { flags, env, cwd }: OverrideContext): Pieces {
  const secret = variable(env, 'PROCORE_CLIENT_SECRET')
  const file = variable(env, 'PROCORE_CLIENT_SECRET_FILE')
  if (secret && file) {
    layer.say(file.name, 'and PROCORE_CLIENT_SECRET are both set', 'Unset one of the two')
  }
  const source: RawMap = Object.create(null)
  if (file) source['file'] = resolve(cwd, file.value)
  return {
    companyId: flagOr('--company-id', flags.companyId, variable(env, 'PROCORE_COMPANY_ID')),
    clientId: flagOr('--client-id', flags.clientId, variable(env, 'PROCORE_CLIENT_ID')),
    clientSecret: secret ?? (file && { name: file.name, value: source }),
  }
}

function overrideCompany(layer: Layer, context: OverrideContext): void {
  const pieces = readPieces(layer, context)
  const given = Object.values(pieces).filter((piece) => piece !== undefined)
  const companies = layer.get(['companies'])
  if (given.length === 0 || (companies !== undefined && !isRawMap(companies))) return
  const names = Object.keys(companies ?? {})
  const [only, ...more] = names.filter((name) => name !== '*')
  if (names.length === 0) defineCompany(layer, pieces)
  else if (only !== undefined && more.length === 0) overridePieces(layer, only, pieces)
  else ignorePieces(layer, given)
}

/** One company with no file, or with a file that has none. */
function defineCompany(layer: Layer, pieces: Pieces): void {
  const company = ['companies', 'default']
  const [first] = Object.values(pieces).filter((piece) => piece !== undefined)
  layer.set([...company, 'default'], true, String(first?.name))
  const missing = (path: readonly string[], name: string, or = '') => {
    layer.reported.add(keyOf([...company, ...path]))
    layer.say(name, 'is not set', `Set it${or}, or write a configuration file with procore-proxy init`)
  }
  const account = 'serviceAccount'
  if (!pieces.companyId) missing(['id'], 'PROCORE_COMPANY_ID')
  if (!pieces.clientId) missing([account, 'clientId'], 'PROCORE_CLIENT_ID')
  if (!pieces.clientSecret) {
    missing([account, 'clientSecret'], 'PROCORE_CLIENT_SECRET', ' (or PROCORE_CLIENT_SECRET_FILE)')
  }
  if (!pieces.clientId && !pieces.clientSecret) layer.reported.add(keyOf([...company, account]))
  overridePieces(layer, 'default', pieces)
}

function overridePieces(layer: Layer, name: string, { companyId, clientId, clientSecret }: Pieces): void {
  const company = ['companies', name]
  if (companyId) {
    const reading = readCompanyId(companyId.value)
    layer.set([...company, 'id'], 'id' in reading ? reading.id : companyId.value, companyId.name)
  }
  const reference = layer.get([...company, 'serviceAccount'])
  const account =
    typeof reference === 'string' ? ['serviceAccounts', reference] : [...company, 'serviceAccount']
  // A reference to an account that does not exist is reported; no account is made up for it.
  if (typeof reference === 'string' && layer.get(account) === undefined) return
  if (clientId) layer.set([...account, 'clientId'], clientId.value, clientId.name)
  if (clientSecret) layer.set([...account, 'clientSecret'], clientSecret.value, clientSecret.name)
}

/** With several companies nobody knows which one a variable is for. */
function ignorePieces(layer: Layer, given: readonly { readonly name: string }[]): void {
  for (const { name } of given) {
    if (name.startsWith('--')) {
      layer.say(name, 'is for one company, and the file has several', 'Leave it out, or change the file')
    } else if (!refersTo(layer.root, name)) {
      layer.warnings.push(`${name} is ignored: it is for one company, and the file has several or only "*".`)
    }
  }
}

/** Whether `{env: NAME}` stands anywhere in the file. */
function refersTo(value: unknown, name: string): boolean {
  if (Array.isArray(value)) return value.some((item) => refersTo(item, name))
  if (!isRawMap(value)) return false
  return value['env'] === name || Object.values(value).some((item) => refersTo(item, name))
}
