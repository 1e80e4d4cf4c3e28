// Reads flags, variables and the file into one frozen Config, or reports every mistake at once.
import { hash } from 'node:crypto'
import { dirname, resolve } from 'node:path'
import { accessIn, resolveRule } from './access-rules.ts'
import { checkSettings } from './checks.ts'
import {
  BUILT_IN_ENVIRONMENTS,
  type Caller,
  type Company,
  type Config,
  type Environment,
  Secret,
  type ServiceAccount,
} from './config.ts'
import { type Position, readDocument } from './document.ts'
import {
  checkAuditFile,
  type FoundFile,
  findConfigFile,
  isOpenToOthers,
  readTextFile,
  type SearchContext,
} from './files.ts'
import { isRawMap, readSettings } from './issues.ts'
import { networkSettings, readCaFile } from './outbound.ts'
import { applyOverrides, type Flags } from './overrides.ts'
import { ConfigError, type Finding, isMistake, keyOf, type Path, type Problem } from './problems.ts'
import { namedCompanies, placedAccounts, placedKeys, type Settings } from './schema.ts'
import { checkPlainSecrets, readCredentials, secretFlaw } from './secrets.ts'

/** Everything that a configuration is made from. */
export interface LoadInput extends Omit<SearchContext, 'flag'> {
  readonly flags: Flags
  /** Is read in place of a file. */
  readonly text?: string
  /**
   * `false` reads no secret and requires no company, for commands that only need to know where a proxy listens.
   * Client ids, secrets and keys are then empty, and a company that variables define only in part is left out.
   * `'keys'` reads the keys of callers only, for a replay: it logs in nowhere and opens no connection.
   */
  readonly resolveSecrets?: boolean | 'keys'
}

/** Far larger than any configuration. */
const MAX_FILE_BYTES = 1024 * 1024

/**
 * Reads the configuration.
 * @throws {ConfigError} with every mistake, in the order of the file.
 */
export async function loadConfig(input: LoadInput): Promise<Config> {
  const { flags, env, cwd, text, resolveSecrets = true } = input
  const found = text === undefined ? findConfigFile({ ...input, flag: flags.config }) : undefined
  const file = found?.path
  const folder = found ? dirname(found.path) : cwd
  const files = file ? [file] : []
  const { document, mode } = await readConfigFile(found, text)
  const layered = applyOverrides(document.value, { flags, env, cwd })
  const { settings, findings, wrong } = readSettings(layered.value)
  for (const key of layered.reported) wrong.add(key)
  const checked = checkSettings({ settings, raw: layered.value, wrong, sources: layered.sources })
  const sourceOf = (path: Path) =>
    path.map((_, index) => layered.sources.get(keyOf(path.slice(0, path.length - index)))).find(Boolean)
  const place = ({ path, message, fix }: Finding): Problem => {
    const key = sourceOf(path)
    return key ? { key, message, fix } : placed(file, { path, message, fix, ...document.locate(path) })
  }
  const problems = [
    ...document.problems.map((problem) => placed(file, problem)),
    ...[...findings, ...checked.findings].filter(({ path }) => !layered.reported.has(keyOf(path))).map(place),
  ]
  const warnings = [...layered.warnings, ...checked.warnings]

  if (!resolveSecrets) {
    if (problems.length > 0) throw new ConfigError(problems)
    // A company that variables define only in part has placeholders for the rest.
    const known = layered.reported.size > 0 ? { ...settings, companies: {}, callers: {} } : settings
    return assembleConfig({ settings: known, values: new Map(), file, folder, warnings, watchedFiles: files })
  }

  const isReplay = resolveSecrets === 'keys'
  // What a replay does not need must not have to be there, or right.
  const used = isReplay ? { ...settings, network: {}, shared: undefined } : settings
  for (const { path } of isReplay ? placedAccounts(settings) : [])
    wrong.add(keyOf([...path, 'clientId'])).add(keyOf([...path, 'clientSecret']))
  const credentials = await readCredentials(used, wrong, { env, folder })
  const ca = await readCaFile(used, folder)
  const isOverridden = (path: Path) => sourceOf(path) !== undefined
  const plain = checkPlainSecrets(used, wrong, { file, mode, isOverridden })
  const others = [noCompany(layered.value, found), credentials.findings, ca.findings]
  others.push(await checkAuditFile(settings.audit, folder), plain.findings)
  problems.push(...layered.problems, ...others.flat().map(place))
  const watchedFiles = [...files, ...credentials.files, ...ca.files]
  if (problems.length > 0) throw new ConfigError(problems, watchedFiles)
  for (const { path, text } of credentials.warnings)
    warnings.push(`${sourceOf(path) ?? keyOf(path)}: ${text}`)
  warnings.push(...plain.warnings)
  // A user who can write the file could direct the secrets to another login server.
  if (isOpenToOthers(mode, 0o022))
    warnings.push(
      `Other users can change ${file}, and could have your secrets sent elsewhere: chmod go-w ${file}`,
    )
  const { values } = credentials
  const { certificates } = ca
  return assembleConfig({ settings: used, values, certificates, file, folder, warnings, watchedFiles })
}

async function readConfigFile(found: FoundFile | undefined, text = '') {
  if (found === undefined) return { document: readDocument(text), mode: 0 }
  const file = await readTextFile(found.path, MAX_FILE_BYTES)
  if (isMistake(file)) throw new ConfigError([{ key: found.namedBy ?? '', ...file }])
  const document = readDocument(file.text)
  // Nothing else can be said about text that is not YAML.
  if (!document.readable) throw new ConfigError(document.problems.map((one) => placed(found.path, one)))
  return { document, mode: file.mode }
}

function placed(file: string | undefined, { path, line, column, ...rest }: Finding & Position): Problem {
  return { ...(file === undefined ? {} : { file, line, column }), key: keyOf(path), ...rest }
}

function noCompany(raw: unknown, found: FoundFile | undefined): Finding[] {
  if (!isRawMap(raw)) return []
  const { companies = Object.create(null) } = raw
  if (!isRawMap(companies) || Object.keys(companies).length > 0) return []
  const variables = 'PROCORE_COMPANY_ID, PROCORE_CLIENT_ID and PROCORE_CLIENT_SECRET'
  if (found)
    return [{ path: ['companies'], message: 'no company is configured', fix: `Add one, or set ${variables}` }]
  const message = `there is no configuration: no file was found, and ${variables} are not set`
  const fix =
    'Run procore-proxy init to write a file, or procore-proxy demo to try it without a Procore account'
  return [{ path: [], message, fix }]
}

/** What a Config is built from besides the settings. */
export interface AssembleInput extends Pick<Config, 'file' | 'warnings' | 'watchedFiles'> {
  readonly settings: Settings
  /** By key path: client ids, client secrets, keys, and URLs with passwords. A missing value counts as empty. */
  readonly values: ReadonlyMap<string, string>
  /** From `network.caFile`, in PEM. */
  readonly certificates?: readonly string[]
  /** Absolute; relative paths start here. */
  readonly folder: string
}

/** Equal for two accounts exactly if login origin, client id and secret are equal. The secret cannot be derived from it. */
export function accountKey(loginUrl: string, clientId: string, clientSecret: string): string {
  // A JSON array, so that no two different triples have the same text.
  return hash('sha256', JSON.stringify([new URL(loginUrl).origin, clientId, clientSecret]), 'base64url')
}

/** Builds a Config and freezes it deeply. The settings must have been checked. */
export function assembleConfig(input: AssembleInput): Config {
  const { settings, values, certificates = [], file, folder, warnings, watchedFiles } = input
  const { guard, cache, audit, shared, listen } = settings
  const { connectTimeout, responseTimeout, ...upstream } = settings.upstream
  const { maxWait, ...rateLimit } = settings.rateLimit
  const valueAt = (path: Path) => values.get(keyOf(path)) ?? ''
  const keysOf = (owner: Path) =>
    placedKeys(settings)
      .filter((key) => keyOf(key.owner) === keyOf(owner))
      .map(({ path }) => new Secret(valueAt(path)))
  const accounts = accountsOf(settings, valueAt)
  const any = settings.companies['*']
  return deepFreeze({
    file,
    listen: Array.isArray(listen) ? listen : [listen],
    publicUrl: settings.publicUrl,
    accounts: [...accounts.values()],
    companies: namedCompanies(settings).map(([name, company]): Company => {
      const { id, default: isDefault, listen, publicUrl } = company
      return { name, id, ...commonOf(settings, accounts, [name, company]), isDefault, listen, publicUrl }
    }),
    anyCompany: any && commonOf(settings, accounts, ['*', any]),
    callers: Object.entries(settings.callers).map(([name, caller]): Caller => {
      const { companies, access, rules, projects, share } = caller
      const keys = keysOf(['callers', name])
      return { name, keys, companies, access, rules: rules.map(resolveRule), projects, share }
    }),
    upstream: { ...upstream, connectTimeoutMs: connectTimeout, responseTimeoutMs: responseTimeout },
    network: networkSettings(settings.network, valueAt(['network', 'proxy']), certificates),
    rateLimit: { ...rateLimit, maxWaitMs: maxWait },
    cache: {
      coalesce: cache.coalesce,
      keep: cache.keep.map(({ paths: patterns, for: forMs, whenExhausted: whenExhaustedMs = 0 }) => {
        return { patterns, forMs, whenExhaustedMs }
      }),
      refusalsMs: cache.refusals,
      sizeBytes: cache.size,
    },
    lists: settings.lists,
    recordings: settings.recordings,
    audit: audit && { file: resolve(folder, audit.file), what: audit.what },
    shared: shared && {
      url: new Secret(valueAt(['shared', 'url'])),
      prefix: shared.prefix,
      timeoutMs: shared.timeout,
      whenDown: shared.whenDown,
    },
    guard: { ...guard, clientKeys: keysOf(['guard', 'clientKeys']) },
    metricsListen: settings.metrics.listen,
    log: settings.log,
    inspector: settings.inspector,
    shutdownTimeoutMs: settings.shutdownTimeout,
    warnings: [...warnings],
    watchedFiles: [...new Set(watchedFiles)],
  })
}

/** By key path. */
function accountsOf(settings: Settings, valueAt: (path: Path) => string) {
  const own = Object.entries(settings.environments).map(([name, { fileDomain, ...rest }]): Environment => {
    return { name, ...rest, fileDomain: fileDomain ?? new URL(rest.apiUrl).hostname } as Environment
  })
  const environments = new Map([...BUILT_IN_ENVIRONMENTS, ...own].map((one) => [one.name, one]))
  return new Map(
    placedAccounts(settings).map(({ path, name, account }): [string, ServiceAccount] => {
      const environment = environments.get(account.environment ?? settings.environment) as Environment
      const clientId = valueAt([...path, 'clientId'])
      const secret = valueAt([...path, 'clientSecret'])
      const key = accountKey(environment.loginUrl, clientId, secret)
      const clientSecret = new Secret(secret)
      const flaw = secretFlaw(clientId, 'client id') ?? secretFlaw(secret)
      const place = keyOf(path)
      return [place, { name, place, environment, clientId, clientSecret, key, secretFlaw: flaw }]
    }),
  )
}

/** What companies and `"*"` have in common. */
function commonOf(
  settings: Settings,
  accounts: ReadonlyMap<string, ServiceAccount>,
  [name, company]: readonly [string, NonNullable<Settings['companies']['*']>],
) {
  const { serviceAccount, rules = [], rewriteFileUrls } = company
  const isShared = typeof serviceAccount === 'string'
  const path = isShared ? ['serviceAccounts', serviceAccount] : ['companies', name, 'serviceAccount']
  const account = accounts.get(keyOf(path)) as ServiceAccount
  const access = accessIn(account.environment.name, company, settings.defaultAccess)
  return { account, access, rules: rules.map(resolveRule), rewriteFileUrls }
}

function deepFreeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) {
    if (typeof inner === 'object' && inner !== null && !Object.isFrozen(inner)) deepFreeze(inner)
  }
  return Object.freeze(value)
}
