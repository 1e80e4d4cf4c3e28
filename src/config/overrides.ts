// Applies flags and variables to the values of the file, and remembers which of them a value came from.
import { resolve } from 'node:path'
import { readCompanyId } from './company-url.ts'
import { isRawMap, type RawMap } from './issues.ts'
import { noProxyEntries } from './outbound.ts'
import { keyOf, type Path, type Problem } from './problems.ts'

/** What the command line can set; never a secret. */
export interface Flags {
  readonly config?: string | undefined
  readonly listen?: readonly string[] | undefined
  readonly environment?: string | undefined
  readonly companyId?: string | undefined
  readonly clientId?: string | undefined
  readonly logLevel?: string | undefined
  readonly logFormat?: string | undefined
}

/** Where flags and variables are read from. */
export interface OverrideContext {
  readonly flags: Flags
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
}

/** The file's values after flags and variables were applied. */
export interface Overridden {
  readonly value: unknown
  /** By key path: the flag or variable that a value came from. */
  readonly sources: ReadonlyMap<string, string>
  /** Key paths that are missing, for which `problems` has an entry already. */
  readonly reported: ReadonlySet<string>
  readonly problems: readonly Problem[]
  readonly warnings: readonly string[]
}

interface Given {
  /** The name of the flag or variable. */
  readonly name: string
  readonly value: unknown
}

/** The result, which the functions below fill in. */
interface Layer extends OverrideContext {
  readonly root: RawMap
  readonly sources: Map<string, string>
  readonly reported: Set<string>
  readonly problems: Problem[]
  readonly warnings: string[]
}

/** Applies flags and variables to `raw`, which is changed. A value that is not a map stays as it is. */
export function applyOverrides(raw: unknown, context: OverrideContext): Overridden {
  const root: unknown = raw ?? Object.create(null)
  const layer = { ...context, sources: new Map(), reported: new Set<string>(), problems: [], warnings: [] }
  if (isRawMap(root)) {
    // A section with nothing below it (every line commented out) counts as left out.
    for (const [key, value] of Object.entries(root)) if (value === null) delete root[key]
    const filled = { ...layer, root }
    overrideListenAndLog(filled)
    overrideEnvironment(filled)
    overrideCompany(filled)
    defaultNetwork(filled)
  }
  return { ...layer, value: root }
}

function get(layer: Layer, path: Path): unknown {
  return path.reduce<unknown>((value, part) => (isRawMap(value) ? value[part] : undefined), layer.root)
}

/** Sets a value. If something that is not a map is in the way, the schema reports it. */
function set(layer: Layer, path: readonly string[], { name, value }: Given): void {
  let map: RawMap = layer.root
  for (const part of path.slice(0, -1)) {
    map[part] ??= Object.create(null)
    const next = map[part]
    if (!isRawMap(next)) return
    map = next
  }
  map[path.at(-1) as string] = value
  layer.sources.set(keyOf(path), name)
}

function report(layer: Layer, key: string, [message, fix]: readonly [string, string]): void {
  layer.problems.push({ key, message, fix })
}

function variable(env: NodeJS.ProcessEnv, name: string): { name: string; value: string } | undefined {
  const value = env[name]
  return value === undefined || value.trim() === '' ? undefined : { name, value }
}

function flagOr(flag: string, value: string | undefined, fallback?: Given): Given | undefined {
  return value === undefined || value.trim() === '' ? fallback : { name: flag, value }
}

function overrideListenAndLog(layer: Layer): void {
  const { flags, env } = layer
  const fromVariable = variable(env, 'PROCORE_PROXY_LISTEN')
  if (flags.listen !== undefined && flags.listen.length > 0) {
    set(layer, ['listen'], { name: '--listen', value: [...flags.listen] })
  } else if (fromVariable) {
    const addresses = fromVariable.value.split(',').map((address) => address.trim())
    set(layer, ['listen'], { ...fromVariable, value: addresses.filter((address) => address !== '') })
  }
  const level = flagOr('--log-level', flags.logLevel, variable(env, 'PROCORE_PROXY_LOG_LEVEL'))
  if (level) set(layer, ['log', 'level'], level)
  const format = flagOr('--log-format', flags.logFormat)
  if (format) set(layer, ['log', 'format'], format)
}

/** The name of the environment that PROCORE_API_URL and PROCORE_LOGIN_URL define. */
const CUSTOM = 'custom'

function overrideEnvironment(layer: Layer): void {
  const { flags, env } = layer
  const named = variable(env, 'PROCORE_ENVIRONMENT')
  const api = variable(env, 'PROCORE_API_URL')
  const login = variable(env, 'PROCORE_LOGIN_URL')
  if (api && login) {
    set(layer, ['environments', CUSTOM], { name: api.name, value: Object.create(null) })
    set(layer, ['environments', CUSTOM, 'apiUrl'], api)
    set(layer, ['environments', CUSTOM, 'loginUrl'], login)
    set(layer, ['environment'], { name: api.name, value: CUSTOM })
  } else if (api || login) {
    const [given, missing] = api ? [api.name, 'PROCORE_LOGIN_URL'] : ['PROCORE_LOGIN_URL', 'PROCORE_API_URL']
    report(layer, missing, [`is not set, but ${given} is`, 'Set both or neither'])
  }
  if (named && (api || login)) {
    const message = 'names an environment, but PROCORE_API_URL and PROCORE_LOGIN_URL define another one'
    report(layer, named.name, [message, 'Unset PROCORE_ENVIRONMENT, or the other two'])
  }
  const chosen = flagOr('--environment', flags.environment, named)
  if (chosen) set(layer, ['environment'], chosen)
}

/** These two variables are meant for every program on the machine, so the file takes precedence over them. */
function defaultNetwork(layer: Layer): void {
  const given = (name: string) => variable(layer.env, name.toLowerCase()) ?? variable(layer.env, name)
  const proxy = given('HTTPS_PROXY')
  if (proxy && get(layer, ['network', 'proxy']) === undefined) {
    set(layer, ['network', 'proxy'], { name: proxy.name, value: mapOf('env', proxy.name) })
  }
  const none = given('NO_PROXY')
  if (none && get(layer, ['network', 'noProxy']) === undefined) {
    set(layer, ['network', 'noProxy'], { name: none.name, value: noProxyEntries(none.value) })
  }
}

function mapOf(key: string, value: string): RawMap {
  return Object.assign(Object.create(null), { [key]: value })
}

/** What flags and variables say about one company. */
interface Pieces {
  readonly companyId: Given | undefined
  readonly clientId: Given | undefined
  readonly clientSecret: Given | undefined
}

function readPieces(layer: Layer): Pieces {
  const { flags, env, cwd } = layer
  const secret = variable(env, 'PROCORE_CLIENT_SECRET')
  const file = variable(env, 'PROCORE_CLIENT_SECRET_FILE')
  if (secret && file)
    report(layer, file.name, ['and PROCORE_CLIENT_SECRET are both set', 'Unset one of the two'])
  const companyId = flagOr('--company-id', flags.companyId, variable(env, 'PROCORE_COMPANY_ID'))
  const reading = readCompanyId(String(companyId?.value ?? ''))
  return {
    companyId: companyId && 'id' in reading ? { ...companyId, value: reading.id } : companyId,
    clientId: flagOr('--client-id', flags.clientId, variable(env, 'PROCORE_CLIENT_ID')),
    clientSecret: secret ?? (file && { name: file.name, value: mapOf('file', resolve(cwd, file.value)) }),
  }
}

function overrideCompany(layer: Layer): void {
  const pieces = readPieces(layer)
  const given = Object.values(pieces).filter((piece): piece is Given => piece !== undefined)
  const companies = get(layer, ['companies'])
  if (given.length === 0 || (companies !== undefined && !isRawMap(companies))) return
  const names = Object.keys(companies ?? {})
  const [only, ...more] = names.filter((name) => name !== '*')
  if (names.length === 0) defineCompany(layer, pieces, String(given[0]?.name))
  else if (only !== undefined && more.length === 0) overridePieces(layer, only, pieces)
  else for (const { name } of given) ignorePiece(layer, name)
}

/** Defines the only company if there is no file, or if the file has no company. */
function defineCompany(layer: Layer, pieces: Pieces, source: string): void {
  const company = ['companies', 'default']
  const account = [...company, 'serviceAccount']
  set(layer, [...company, 'default'], { name: source, value: true })
  const missing = (path: readonly string[], name: string, or = '') => {
    layer.reported.add(keyOf(path))
    report(layer, name, ['is not set', `Set it${or}, or write a configuration file with procore-proxy init`])
  }
  if (!pieces.companyId) missing([...company, 'id'], 'PROCORE_COMPANY_ID')
  if (!pieces.clientId) missing([...account, 'clientId'], 'PROCORE_CLIENT_ID')
  if (!pieces.clientSecret)
    missing([...account, 'clientSecret'], 'PROCORE_CLIENT_SECRET', ' (or PROCORE_CLIENT_SECRET_FILE)')
  if (!pieces.clientId && !pieces.clientSecret) layer.reported.add(keyOf(account))
  overridePieces(layer, 'default', pieces)
}

function overridePieces(layer: Layer, name: string, { companyId, clientId, clientSecret }: Pieces): void {
  const company = ['companies', name]
  if (companyId) set(layer, [...company, 'id'], companyId)
  const reference = get(layer, [...company, 'serviceAccount'])
  const isShared = typeof reference === 'string'
  const account = isShared ? ['serviceAccounts', reference] : [...company, 'serviceAccount']
  // A reference to an account that does not exist is an error, so no account is created for it.
  if (isShared && get(layer, account) === undefined) return
  if (clientId) set(layer, [...account, 'clientId'], clientId)
  if (clientSecret) set(layer, [...account, 'clientSecret'], clientSecret)
}

/** With several companies it is not clear which one a variable is for. */
function ignorePiece(layer: Layer, name: string): void {
  if (name.startsWith('--')) {
    const message = 'is for a single company, but the file has several'
    report(layer, name, [message, 'Leave it out, or change the file'])
  } else if (!refersTo(layer.root, name)) {
    const why = 'it is for a single company, and the file has several or only "*"'
    layer.warnings.push(`${name} is ignored: ${why}.`)
  }
}

/** Whether the file has `{env: NAME}` anywhere. */
function refersTo(value: unknown, name: string): boolean {
  if (Array.isArray(value)) return value.some((item) => refersTo(item, name))
  if (!isRawMap(value)) return false
  return value['env'] === name || Object.values(value).some((item) => refersTo(item, name))
}
