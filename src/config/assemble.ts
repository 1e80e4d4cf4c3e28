// Builds the frozen Config from the settings and their secrets.
import { hash } from 'node:crypto'
import { resolve } from 'node:path'
import { accessIn, resolveRule } from './access-rules.ts'
import type { Caller, Company, Config, Environment, ServiceAccount } from './config.ts'
import { secretFlaw } from './credentials.ts'
import { BUILT_IN_ENVIRONMENTS } from './environments.ts'
import { networkSettings } from './outbound.ts'
import { namedCompanies, placedAccounts, placedKeys } from './placed.ts'
import { keyOf, type Path } from './problems.ts'
import type { Settings } from './schema.ts'
import { Secret } from './secret.ts'

/** What a Config is built from besides the settings. */
export interface AssembleInput {
  readonly settings: Settings
  /** By key path: client ids, client secrets, keys, and URLs with passwords. A missing value counts as empty. */
  readonly values: ReadonlyMap<string, string>
  /** From `network.caFile`, in PEM. */
  readonly certificates?: readonly string[]
  readonly file: string | undefined
  /** Absolute; relative paths start here. */
  readonly folder: string
  readonly warnings: readonly string[]
  readonly watchedFiles: readonly string[]
}

/** Equal for two accounts exactly if login origin, client id and secret are equal. The secret cannot be derived from it. */
export function accountKey(loginUrl: string, clientId: string, clientSecret: string): string {
  // A JSON array, so that no two different triples have the same text.
  const text = JSON.stringify([new URL(loginUrl).origin, clientId, clientSecret])
  return hash('sha256', text, 'base64url')
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
      return { name, id, ...commonOf(input, accounts, [name, company]), isDefault, listen, publicUrl }
    }),
    anyCompany: any && commonOf(input, accounts, ['*', any]),
    callers: Object.entries(settings.callers).map(
      ([name, { companies, access, rules, projects, share }]): Caller => ({
        name,
        keys: keysOf(['callers', name]),
        companies,
        access,
        rules: rules.map(resolveRule),
        projects,
        share,
      }),
    ),
    upstream: { ...upstream, connectTimeoutMs: connectTimeout, responseTimeoutMs: responseTimeout },
    network: networkSettings(settings.network, valueAt(['network', 'proxy']), certificates),
    rateLimit: { ...rateLimit, maxWaitMs: maxWait },
    cache: {
      coalesce: cache.coalesce,
      keep: cache.keep.map(({ paths, for: forMs, whenExhausted = 0 }) => ({
        patterns: paths,
        forMs,
        whenExhaustedMs: whenExhausted,
      })),
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

type Accounts = ReadonlyMap<string, ServiceAccount>

/** By key path. */
function accountsOf(settings: Settings, valueAt: (path: Path) => string): Accounts {
  const own = Object.entries(settings.environments).map(([name, { fileDomain, ...rest }]): Environment => {
    return { name, ...rest, fileDomain: fileDomain ?? new URL(rest.apiUrl).hostname } as Environment
  })
  const environments = new Map([...BUILT_IN_ENVIRONMENTS, ...own].map((one) => [one.name, one]))
  return new Map(
    placedAccounts(settings).map(({ path, name, account }) => {
      const environment = environments.get(account.environment ?? settings.environment) as Environment
      const clientId = valueAt([...path, 'clientId'])
      const secret = valueAt([...path, 'clientSecret'])
      const made: ServiceAccount = {
        name,
        environment,
        clientId,
        clientSecret: new Secret(secret),
        key: accountKey(environment.loginUrl, clientId, secret),
        secretFlaw: secretFlaw(secret),
      }
      return [keyOf(path), made]
    }),
  )
}

type AnySettings = NonNullable<Settings['companies']['*']>

/** What companies and `"*"` have in common. */
function commonOf(
  { settings }: AssembleInput,
  accounts: Accounts,
  [name, company]: readonly [string, AnySettings],
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
