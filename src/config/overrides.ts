// Applies flags and variables to the values of the file, and remembers which of them a value came from.
import { resolve } from 'node:path'
import { isRawMap, type RawMap, valueAt } from './issues.ts'
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

/** The file's values, to which flags and variables are applied. */
interface Layer {
  readonly flags: Flags
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  readonly value: RawMap
  /** By key path: the flag or variable that a value came from. */
  readonly sources: Map<string, string>
  /** Key paths that are missing, for which `problems` has an entry already. */
  readonly reported: Set<string>
  readonly problems: Problem[]
  readonly warnings: string[]
}

/** A value, and the name of its flag or variable. */
type Given = Readonly<{ name: string; value: unknown }>

/** Applies flags and variables to `raw`, which is changed. A value that is not a map stays as it is. */
export function applyOverrides(raw: unknown, context: Pick<Layer, 'flags' | 'env' | 'cwd'>) {
  const value: unknown = raw ?? Object.create(null)
  const sets = { sources: new Map<string, string>(), reported: new Set<string>() }
  const result: Omit<Layer, 'value' | keyof typeof context> = { ...sets, problems: [], warnings: [] }
  if (isRawMap(value)) {
    // A section with nothing below it (every line commented out) counts as left out.
    for (const [key, section] of Object.entries(value)) if (section === null) delete value[key]
    const layer = { ...context, ...result, value }
    overrideListenAndLog(layer)
    overrideEnvironment(layer)
    overrideCompany(layer)
    defaultNetwork(layer)
  }
  return { value, ...result }
}

/** Sets a value, if there is one. If something that is not a map is in the way, the schema reports it. */
function set(layer: Layer, path: readonly string[], given: Given | undefined): void {
  if (given === undefined) return
  let map: RawMap = layer.value
  for (const part of path.slice(0, -1)) {
    map[part] ??= Object.create(null)
    const next = map[part]
    if (!isRawMap(next)) return
    map = next
  }
  map[path.at(-1) as string] = given.value
  layer.sources.set(keyOf(path), given.name)
}

/** A flag or variable; undefined if it is empty. */
function given(name: string, value: string | undefined) {
  return value?.trim() ? { name, value } : undefined
}

const variable = ({ env }: Layer, name: string) => given(name, env[name])

function overrideListenAndLog(layer: Layer): void {
  const { flags } = layer
  const listen = variable(layer, 'PROCORE_PROXY_LISTEN')
  const addresses = listen?.value.split(',').map((address) => address.trim())
  const fromFlags = flags.listen?.length ? { name: '--listen', value: [...flags.listen] } : undefined
  set(layer, ['listen'], fromFlags ?? (listen && { ...listen, value: addresses?.filter(Boolean) }))
  const level = given('--log-level', flags.logLevel) ?? variable(layer, 'PROCORE_PROXY_LOG_LEVEL')
  set(layer, ['log', 'level'], level)
  set(layer, ['log', 'format'], given('--log-format', flags.logFormat))
}

/** The name of the environment that PROCORE_API_URL and PROCORE_LOGIN_URL define. */
const CUSTOM = 'custom'

function overrideEnvironment(layer: Layer): void {
  const named = variable(layer, 'PROCORE_ENVIRONMENT')
  const api = variable(layer, 'PROCORE_API_URL')
  const login = variable(layer, 'PROCORE_LOGIN_URL')
  if (api && login) {
    set(layer, ['environments', CUSTOM], { name: api.name, value: Object.create(null) })
    set(layer, ['environments', CUSTOM, 'apiUrl'], api)
    set(layer, ['environments', CUSTOM, 'loginUrl'], login)
    set(layer, ['environment'], { name: api.name, value: CUSTOM })
  } else if (api || login) {
    const [is, key] = api ? [api.name, 'PROCORE_LOGIN_URL'] : ['PROCORE_LOGIN_URL', 'PROCORE_API_URL']
    layer.problems.push({ key, message: `is not set, but ${is} is`, fix: 'Set both or neither' })
  }
  if (named && (api || login)) {
    const message = 'names an environment, but PROCORE_API_URL and PROCORE_LOGIN_URL define another one'
    layer.problems.push({ key: named.name, message, fix: 'Unset PROCORE_ENVIRONMENT, or the other two' })
  }
  set(layer, ['environment'], given('--environment', layer.flags.environment) ?? named)
}

/** These two variables are meant for every program on the machine, so the file takes precedence over them. */
function defaultNetwork(layer: Layer): void {
  const either = (name: string) => variable(layer, name.toLowerCase()) ?? variable(layer, name)
  const setDefault = (key: string, given: Given | undefined) => {
    if (valueAt(layer.value, ['network', key]) === undefined) set(layer, ['network', key], given)
  }
  setDefault('proxy', either('HTTPS_PROXY'))
  const none = either('NO_PROXY')
  setDefault('noProxy', none && { ...none, value: noProxyEntries(none.value) })
}

/** What flags and variables say about one company. */
type Pieces = Readonly<Record<'companyId' | 'clientId' | 'clientSecret', Given | undefined>>

function readPieces(layer: Layer): Pieces {
  const { flags, cwd } = layer
  const secret = variable(layer, 'PROCORE_CLIENT_SECRET')
  const file = variable(layer, 'PROCORE_CLIENT_SECRET_FILE')
  if (secret && file) {
    const message = 'and PROCORE_CLIENT_SECRET are both set'
    layer.problems.push({ key: file.name, message, fix: 'Unset one of the two' })
  }
  const companyId = given('--company-id', flags.companyId) ?? variable(layer, 'PROCORE_COMPANY_ID')
  return {
    companyId: companyId && { ...companyId, value: readCompanyId(companyId.value) ?? companyId.value },
    clientId: given('--client-id', flags.clientId) ?? variable(layer, 'PROCORE_CLIENT_ID'),
    clientSecret:
      secret ?? (file && { name: file.name, value: { __proto__: null, file: resolve(cwd, file.value) } }),
  }
}

function overrideCompany(layer: Layer): void {
  const pieces = readPieces(layer)
  const all = Object.values(pieces).filter((piece) => piece !== undefined)
  const companies = valueAt(layer.value, ['companies'])
  if (all.length === 0 || (companies !== undefined && !isRawMap(companies))) return
  const names = Object.keys(companies ?? {})
  const [only, ...more] = names.filter((name) => name !== '*')
  if (names.length === 0) defineCompany(layer, pieces, String(all[0]?.name))
  else if (only !== undefined && more.length === 0) overridePieces(layer, only, pieces)
  else for (const { name } of all) ignorePiece(layer, name)
}

/** Defines the only company if there is no file, or if the file has no company. */
function defineCompany(layer: Layer, pieces: Pieces, source: string): void {
  const company = ['companies', 'default']
  const account = [...company, 'serviceAccount']
  set(layer, [...company, 'default'], { name: source, value: true })
  const missing = (path: Path, key: string, or = '') => {
    layer.reported.add(keyOf(path))
    const fix = `Set it${or}, or write a configuration file with procore-proxy init`
    layer.problems.push({ key, message: 'is not set', fix })
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
  set(layer, [...company, 'id'], companyId)
  const reference = valueAt(layer.value, [...company, 'serviceAccount'])
  const isShared = typeof reference === 'string'
  const account = isShared ? ['serviceAccounts', reference] : [...company, 'serviceAccount']
  // A reference to an account that does not exist is an error, so no account is created for it.
  if (isShared && valueAt(layer.value, account) === undefined) return
  set(layer, [...account, 'clientId'], clientId)
  set(layer, [...account, 'clientSecret'], clientSecret)
}

/** With several companies it is not clear which one a variable is for. */
function ignorePiece(layer: Layer, name: string): void {
  if (name.startsWith('--')) {
    const message = 'is for a single company, but the file has several'
    layer.problems.push({ key: name, message, fix: 'Leave it out, or change the file' })
  } else if (!refersTo(layer.value, name)) {
    const why = 'it is for a single company, and the file has several or only "*"'
    layer.warnings.push(`${name} is ignored: ${why}.`)
  }
}

/** Whether the file has `{env: NAME}` anywhere. */
function refersTo(value: unknown, name: string): boolean {
  if (isRawMap(value) && value['env'] === name) return true
  const items = isRawMap(value) || Array.isArray(value) ? Object.values(value) : []
  return items.some((item) => refersTo(item, name))
}

/**
 * Reads `7656`, `https://app.procore.com/7656/company/home/list` or
 * `https://app.procore.com/webclients/host/companies/7656/…`; the scheme may be left out. Undefined for anything else.
 */
export function readCompanyId(input: string): string | undefined {
  const text = input.trim()
  if (/^\d{1,20}$/.test(text)) return text
  const url = URL.parse(/^[\w.-]+\.\w+\//.test(text) ? `https://${text}` : text)
  const path = url !== null && /^https?:$/.test(url.protocol) ? url.pathname : ''
  const [, id] =
    /^\/(\d{1,20})\/company(?:\/|$)/.exec(path) ?? /\/companies\/(\d{1,20})(?:\/|$)/.exec(path) ?? []
  return id
}
