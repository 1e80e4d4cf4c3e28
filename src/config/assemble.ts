// Settings and the secrets read for them → the frozen Config.
import { createHash } from 'node:crypto'
import { accessIn, resolveRule } from './access-rules.ts'
import { namedCompanies, placedAccounts } from './checks.ts'
import type { AnyCompany, Company, Config, Environment, ListenAddress, ServiceAccount } from './config.ts'
import { BUILT_IN_ENVIRONMENTS } from './environments.ts'
import { networkSettings } from './outbound.ts'
import { keyOf, type Path } from './problems.ts'
import type { Settings } from './schema.ts'
import { Secret } from './secret.ts'

/** What a Config holds besides settings. */
export interface AssembleInput {
  readonly settings: Settings
  /** By key path: client ids, client secrets, client keys and the proxy's URL. What is not there is empty. */
  readonly values: ReadonlyMap<string, string>
  /** Of `network.caFile`. */
  readonly certificates?: readonly string[]
  readonly file: string | undefined
  readonly warnings: readonly string[]
  readonly watchedFiles: readonly string[]
}

/** Equal for two accounts exactly when login origin, client id and secret are; the secret can't be read from it. */
export function accountKey(loginUrl: string, clientId: string, clientSecret: string): string {
  // A JSON list, so that no two different triples give the same text.
  const text = JSON.stringify([new URL(loginUrl).origin, clientId, clientSecret])
  return createHash('sha256').update(text).digest('base64url')
}

/** Puts a Config together and freezes it through and through. The settings must be free of mistakes. */
export function assembleConfig(input: AssembleInput): Config {
  const { settings, values, certificates = [], file, warnings, watchedFiles } = input
  const valueAt = (path: Path) => values.get(keyOf(path)) ?? ''
  const environments = new Map(
    [...BUILT_IN_ENVIRONMENTS, ...ownEnvironments(settings)].map((one) => [one.name, one]),
  )
  const placed = placedAccounts(settings).map(({ path, name, account }) => {
    const environment = environments.get(account.environment ?? settings.environment) as Environment
    const clientId = valueAt([...path, 'clientId'])
    const secret = valueAt([...path, 'clientSecret'])
    const key = accountKey(environment.loginUrl, clientId, secret)
    const made: ServiceAccount = { name, environment, clientId, clientSecret: new Secret(secret), key }
    return [keyOf(path), made] as const
  })
  const accounts = new Map(placed)
  const common = (name: string, company: AnySettings) => {
    const { serviceAccount, rules = [], rewriteFileUrls } = company
    const path =
      typeof serviceAccount === 'string'
        ? ['serviceAccounts', serviceAccount]
        : ['companies', name, 'serviceAccount']
    const account = accounts.get(keyOf(path)) as ServiceAccount
    const access = accessIn(account.environment.name, company, settings.defaultAccess)
    return { account, access, rules: rules.map(resolveRule), rewriteFileUrls }
  }
  const companies = namedCompanies(settings).map(
    ([name, company]): Company => ({
      name,
      id: company.id,
      ...common(name, company),
      isDefault: company.default,
      listen: company.listen,
      publicUrl: company.publicUrl,
    }),
  )
  const any = settings.companies['*']
  const anyCompany: AnyCompany | undefined = any && common('*', any)
  const { upstream, rateLimit, guard } = settings
  return deepFreeze({
    file,
    listen: listenAddresses(settings),
    publicUrl: settings.publicUrl,
    accounts: [...accounts.values()],
    companies,
    anyCompany,
    upstream: {
      connectTimeoutMs: upstream.connectTimeout,
      responseTimeoutMs: upstream.responseTimeout,
      connections: upstream.connections,
      maxQueued: upstream.maxQueued,
      retries: upstream.retries,
      compression: upstream.compression,
      http2: upstream.http2,
    },
    network: networkSettings(settings.network, valueAt(['network', 'proxy']), certificates),
    rateLimit: {
      whenExhausted: rateLimit.whenExhausted,
      maxWaitMs: rateLimit.maxWait,
      maxQueued: rateLimit.maxQueued,
    },
    guard: {
      ...guard,
      clientKeys: guard.clientKeys.map((_, index) => new Secret(valueAt(['guard', 'clientKeys', index]))),
    },
    log: settings.log,
    inspector: settings.inspector,
    shutdownTimeoutMs: settings.shutdownTimeout,
    warnings: [...warnings],
    watchedFiles: [...new Set(watchedFiles)],
  })
}

type AnySettings = NonNullable<Settings['companies']['*']>

function listenAddresses({ listen }: Settings): readonly ListenAddress[] {
  return Array.isArray(listen) ? listen : [listen]
}

function ownEnvironments(settings: Settings): Environment[] {
  return Object.entries(settings.environments).map(([name, { apiUrl, loginUrl, fileDomain }]) => {
    return { name, apiUrl, loginUrl, fileDomain: fileDomain ?? new URL(apiUrl).hostname }
  })
}

function deepFreeze<T extends object>(value: T): T {
  for (const inner of Object.values(value)) {
    if (typeof inner === 'object' && inner !== null && !Object.isFrozen(inner)) deepFreeze(inner)
  }
  return Object.freeze(value)
}
