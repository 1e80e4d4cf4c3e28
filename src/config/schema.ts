// The one schema of the configuration file: its keys, types and defaults. scripts/config/descriptions.ts describes them.
import * as z from 'zod/mini'
import type { Path } from './problems.ts'
import * as v from './schema-values.ts'

/** The name of the JSON Schema's file, which the package has in its folder `config`. */
export const SCHEMA_FILE = 'procore-proxy.schema.json'

/** Words that the proxy's own paths start with, so that no company may have them as its name. */
export const RESERVED_NAMES: readonly string[] = ['rest', 'vapid', 'oauth', '_proxy']

/** A section of the file, all of whose keys may be left out. */
const section = <T extends z.core.$ZodLooseShape>(shape: T) => z.prefault(v.map(shape), {} as never)

const environmentName = z.string({
  error: v.says('must be the name of an environment', 'Write one, such as production or sandbox'),
})
const access = v.word(['read-write', 'read-only'])
const RULES_FIX = 'Write a list, such as [{deny: /rest/v1.0/companies/**}]'

const account = v.map({
  environment: z.optional(environmentName),
  clientId: v.secretSource,
  clientSecret: v.secretSource,
})

const companyFields = {
  serviceAccount: v
    .oneOf(
      [z.string(), account],
      'must be the name of a service account or a service account itself',
      'Write a name from serviceAccounts, or {clientId: …, clientSecret: …}',
    )
    .register(z.globalRegistry, { title: 'service account' }),
  access: z.optional(access),
  rules: z.optional(v.fullListOf(v.accessRule, RULES_FIX)),
  rewriteFileUrls: v.flag(),
}

const NOT_LISTENING = {
  path: ['publicUrl'],
  error: v.says(
    'is for requests that arrive at `listen`, which this company does not have',
    'Add listen, or write publicUrl at the top of the file',
  ),
}

const company = v
  .map({
    id: v.companyId,
    ...companyFields,
    default: v.flag(),
    listen: z.optional(v.listenAddress),
    publicUrl: z.optional(v.publicUrl),
  })
  .check(z.refine(({ listen, publicUrl }) => publicUrl === undefined || listen !== undefined, NOT_LISTENING))

const companyNamePattern = new RegExp(
  `^(?!(?:${RESERVED_NAMES.filter((name) => /^[a-z]/.test(name)).join('|')})$)[a-z0-9][a-z0-9-]*$`,
)
const NAME_FIX = 'Use lower-case letters, digits and dashes, such as acme or acme-west'
const ACCOUNT_FIX = 'Use letters, digits, dots and dashes'
const simpleNames = { pattern: /^[a-z0-9][a-z0-9-]*$/, what: 'a name', fix: NAME_FIX }

/** What names look like. checks.ts judges them: the schema would judge nothing below a wrong name. */
export const NAMES = {
  environments: simpleNames,
  serviceAccounts: { pattern: /^[A-Za-z0-9][A-Za-z0-9._-]*$/, what: 'a name', fix: ACCOUNT_FIX },
  companies: { pattern: companyNamePattern, what: 'a company name', fix: NAME_FIX },
  callers: simpleNames,
}

/** A map of entries with names. */
const named = <T extends z.ZodMiniType>(section: keyof typeof NAMES, entry: T) =>
  z
    .prefault(z.record(z.string(), entry), {})
    .register(z.globalRegistry, { propertyNames: { type: 'string', pattern: NAMES[section].pattern.source } })

const companies = z
  .prefault(z.catchall(z.object({ '*': z.optional(v.map(companyFields)) }), company), {})
  .register(z.globalRegistry, {
    propertyNames: { anyOf: [{ const: '*' }, { pattern: companyNamePattern.source }] },
  })

const environment = v.map({
  apiUrl: v.origin,
  loginUrl: v.origin,
  fileDomain: z.optional(v.hostName),
  fileHosts: z.optional(
    v.fullListOf(v.fileHost, 'Write a list, such as [storage.example.com, "*.files.example.com"]'),
  ),
})

const caller = v.map({
  key: v
    .oneOf(
      [v.secretSource, v.fullListOf(v.secretSource, 'Write a key, or a list of keys')],
      'is neither a secret nor a list of secrets',
      'Write {env: NAME} or {file: PATH}, or a list of them while you replace a key',
    )
    .register(z.globalRegistry, { title: 'secret' }),
  companies: z.optional(
    v.fullListOf(v.companyName, 'Write a list of company names, or leave it out for all companies'),
  ),
  access: z.prefault(access, 'read-write'),
  rules: v.listOf(v.accessRule, RULES_FIX),
  projects: z.optional(
    v.fullListOf(v.projectId, 'Write a list of ids, such as ["316469"], or leave it out for all projects'),
  ),
  share: z.optional(v.percentage),
})

const keepRule = v.map({
  paths: v.fullListOf(v.pathPattern, 'Write a list, such as [/rest/v1.0/projects]'),
  for: v.duration(1),
  whenExhausted: z.optional(v.duration(1)),
})

const audit = v.map({
  file: v.plainText('the path of a file'),
  what: z.prefault(v.word(['writes', 'all']), 'writes'),
})

const PREFIX_FIX = 'Use up to 64 letters, digits, dashes, dots and colons'
const shared = v.map({
  url: v.secretSource,
  prefix: z.prefault(v.matching(/^[\w.:-]{1,64}$/, 'a prefix of keys', PREFIX_FIX), 'procore-proxy'),
  timeout: z.prefault(v.duration(1), '50ms'),
  whenDown: z.prefault(v.word(['split', 'local', 'reject']), 'split'),
})

const LISTEN_FIX = 'Write an address, or leave it out for 127.0.0.1:8377'
const listenAddresses = v.fullListOf(v.listenAddress, LISTEN_FIX)

/** The schema of the file. Unknown keys are errors; defaults are defined here and nowhere else. */
export const fileSchema = v
  .map({
    listen: z.prefault(
      v.oneOf(
        [v.listenAddress, listenAddresses],
        v.noAddress('is neither a listen address nor a list of them'),
        'Write host:port, "[IPv6]:port" or unix:/path, such as 127.0.0.1:8377',
      ),
      '127.0.0.1:8377',
    ),
    publicUrl: z.optional(v.publicUrl),
    environment: z.prefault(environmentName, 'production'),
    environments: named('environments', environment),
    defaultAccess: z.prefault(z.record(z.string(), access), {}),
    serviceAccounts: named('serviceAccounts', account),
    companies,
    callers: named('callers', caller),
    upstream: section({
      connectTimeout: z.prefault(v.duration(1), '10s'),
      responseTimeout: z.prefault(v.duration(1), '120s'),
      connections: z.prefault(v.count(1, 10_000), 64),
      maxQueued: z.prefault(v.count(0, 1_000_000), 1000),
      retries: z.prefault(v.count(0, 10), 2),
      compression: z.prefault(v.word(['auto', 'off']), 'auto'),
    }),
    network: section({
      proxy: z.optional(v.secretSource),
      noProxy: z.optional(v.list(v.noProxyEntry, 'Write a list, such as [example.com]')),
      caFile: z.optional(v.plainText('the path of a file')),
    }),
    rateLimit: section({
      whenExhausted: z.prefault(v.word(['wait', 'reject', 'pass']), 'wait'),
      maxWait: z.prefault(v.duration(), '60s'),
      maxQueued: z.prefault(v.count(0, 1_000_000), 1000),
    }),
    cache: section({
      coalesce: v.flag(),
      keep: v.listOf(keepRule, 'Write a list, such as [{paths: [/rest/v1.0/projects], for: 60s}]'),
      refusals: z.prefault(v.duration(), '0s'),
      size: z.prefault(v.size, '64MB'),
    }),
    lists: section({
      enabled: v.flag(true),
      perPage: z.prefault(v.count(1, 10_000), 1000),
      maxPages: z.prefault(v.count(1, 100_000), 200),
      maxProjects: z.prefault(v.count(1, 100_000), 200),
      concurrency: z.prefault(v.count(1, 100), 2),
      csvFormulas: z.prefault(v.word(['escape', 'keep']), 'escape'),
    }),
    recordings: section({
      redact: v.listOf(v.plainText('the name of a member'), 'Write a list, such as [email, login]'),
    }),
    audit: z.optional(audit),
    shared: z.optional(shared),
    guard: section({
      allowedHosts: v.listOf(v.hostName, 'Write a list, such as [proxy.example.com]'),
      allowedOrigins: v.listOf(v.webOrigin, 'Write a list, such as [https://app.example.com]'),
      requireHeader: v.flag(),
      clientKeys: v.listOf(v.secretSource, 'Write a list, such as [{env: PROXY_KEY}]'),
      allowUnauthenticated: v.flag(),
    }),
    metrics: section({ listen: z.optional(v.listenAddress) }),
    log: section({
      level: z.prefault(v.word(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']), 'info'),
      format: z.prefault(v.word(['auto', 'json', 'readable']), 'auto'),
    }),
    inspector: section({
      enabled: v.flag(true),
      requests: z.prefault(v.count(1, 10_000), 200),
      showQueryValues: v.flag(),
      bodies: v.flag(),
    }),
    shutdownTimeout: z.prefault(v.duration(), '30s'),
  })
  .register(z.globalRegistry, { title: 'procore-proxy configuration' })

/** The settings after parsing: defaults are filled in, durations are in ms, addresses are parsed. */
export type Settings = z.output<typeof fileSchema>
export type SecretSource = z.output<typeof v.secretSource>
export type CompanySettings = z.output<typeof company>
export type AccessSettings = Pick<CompanySettings, 'access' | 'rules'>
export type RuleSettings = z.output<typeof v.accessRule>

/** The JSON Schema (draft 2020-12) of the file as a user writes it, without descriptions. */
export function jsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(fileSchema, { io: 'input' })
  // A section with nothing below it counts as left out.
  for (const section of Object.values(schema.properties as Record<string, { type?: unknown }>))
    if (section.type === 'object') section.type = ['object', 'null']
  return schema
}

/** The companies that have a name, in the order of the file. */
export function namedCompanies({ companies }: Settings): [string, CompanySettings][] {
  return Object.entries(companies).filter(([name]) => name !== '*') as [string, CompanySettings][]
}

/** Every service account: shared ones first, then those of one company, which have its name, if no shared one has it. */
export function placedAccounts(settings: Settings) {
  const shared = Object.entries(settings.serviceAccounts).map(([name, account]) => {
    return { path: ['serviceAccounts', name], name, account }
  })
  const inline = Object.entries(settings.companies).flatMap(([name, company]) => {
    const account = company?.serviceAccount
    if (typeof account !== 'object') return []
    const path = ['companies', name, 'serviceAccount']
    return [
      { path, name: Object.hasOwn(settings.serviceAccounts, name) ? `companies.${name}` : name, account },
    ]
  })
  return [...shared, ...inline]
}

/** A value, or each value of a list, with its path. */
function each<T>(path: Path, values: T | T[]): { path: Path; value: T }[] {
  if (!Array.isArray(values)) return [{ path, value: values }]
  return values.map((value: T, index) => ({ path: [...path, index], value }))
}

/** Every address at which the API is served. */
export function placedAddresses(settings: Settings) {
  const own = namedCompanies(settings).flatMap(([name, { listen }]) =>
    listen === undefined ? [] : each(['companies', name, 'listen'], listen),
  )
  return [...each(['listen'], settings.listen), ...own].map(({ path, value: address }) => ({ path, address }))
}

/** Every key of a caller, with a name or without; `owner` is the path of the caller. */
export function placedKeys({ guard, callers }: Settings) {
  const clientKeys = ['guard', 'clientKeys']
  const nameless = each(clientKeys, guard.clientKeys).map((key) => ({ ...key, owner: clientKeys }))
  const named = Object.entries(callers).flatMap(([name, { key }]) =>
    each(['callers', name, 'key'], key).map((one) => ({ ...one, owner: ['callers', name] })),
  )
  return [...nameless, ...named].map(({ owner, path, value: source }) => ({ owner, path, source }))
}
