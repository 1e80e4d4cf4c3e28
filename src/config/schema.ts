// The one schema of the configuration file: its keys, types and defaults. scripts/config/descriptions.ts describes them.
import * as z from 'zod'
import * as v from './schema-values.ts'

/** The name of the JSON Schema's file, which the package has in its folder `config`. */
export const SCHEMA_FILE = 'procore-proxy.schema.json'

/** Words that the proxy's own paths start with, so that no company may have them as its name. */
export const RESERVED_NAMES: readonly string[] = ['rest', 'vapid', 'oauth', '_proxy']

/** A section of the file, all of whose keys may be left out. */
const section = <T extends z.core.$ZodLooseShape>(shape: T) => z.strictObject(shape).prefault({} as never)

const environmentName = z.string({
  error: v.says('must be the name of an environment', 'Write one, such as production or sandbox'),
})
const access = v.word(['read-write', 'read-only'])
const accountName = v.matching(
  /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
  'a name',
  'Use letters, digits, dots and dashes',
)
const simpleName = v.matching(
  /^[a-z0-9][a-z0-9-]*$/,
  'a name',
  'Use lower-case letters, digits and dashes, such as acme or acme-west',
)
const RULES_FIX = 'Write a list, such as [{deny: /rest/v1.0/companies/**}]'

const account = z.strictObject({
  environment: environmentName.optional(),
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
    .meta({ title: 'service account' }),
  access: access.optional(),
  rules: v.fullListOf(v.accessRule, RULES_FIX).optional(),
  rewriteFileUrls: v.flag(),
}

const company = z
  .strictObject({
    id: v.companyId,
    ...companyFields,
    default: v.flag(),
    listen: v.listenAddress.optional(),
    publicUrl: v.publicUrl.optional(),
  })
  .refine(({ listen, publicUrl }) => publicUrl === undefined || listen !== undefined, {
    path: ['publicUrl'],
    error: v.says(
      'is for requests that arrive at `listen`, which this company does not have',
      'Add listen, or write publicUrl at the top of the file',
    ),
  })

const companyNamePattern = new RegExp(
  `^(?!(?:${RESERVED_NAMES.filter((name) => /^[a-z]/.test(name)).join('|')})$)[a-z0-9][a-z0-9-]*$`,
)

const companies = z
  .object({ '*': z.strictObject(companyFields).optional() })
  .catchall(company)
  .superRefine((entries, context) => {
    for (const name of Object.keys(entries)) {
      if (name === '*' || companyNamePattern.test(name)) continue
      const message = RESERVED_NAMES.includes(name)
        ? `${v.shown(name)} is a reserved word, because paths of the proxy itself start with it`
        : `${v.shown(name)} is not a company name`
      const fix = 'Use lower-case letters, digits and dashes, such as acme or acme-west'
      context.addIssue({ code: 'custom', path: [name], message: `${message}\n${fix}` })
    }
  })
  .prefault({})
  .meta({ propertyNames: { anyOf: [{ const: '*' }, { pattern: companyNamePattern.source }] } })

const environment = z.strictObject({
  apiUrl: v.origin,
  loginUrl: v.origin,
  fileDomain: v.hostName.optional(),
  fileHosts: v
    .fullListOf(v.fileHost, 'Write a list, such as [storage.example.com, "*.files.example.com"]')
    .optional(),
})

const caller = z.strictObject({
  key: v
    .oneOf(
      [v.secretSource, v.fullListOf(v.secretSource, 'Write a key, or a list of keys')],
      'is neither a secret nor a list of secrets',
      'Write {env: NAME} or {file: PATH}, or a list of them while you replace a key',
    )
    .meta({ title: 'secret' }),
  companies: v
    .fullListOf(
      v.reference('the name of a company', 'Write a name from companies, such as acme'),
      'Write a list of company names, or leave it out for all companies',
    )
    .optional(),
  access: access.prefault('read-write'),
  rules: v.listOf(v.accessRule, RULES_FIX).prefault([]),
  projects: v
    .fullListOf(v.projectId, 'Write a list of ids, such as ["316469"], or leave it out for all projects')
    .optional(),
  share: v.percentage.optional(),
})

const keepRule = z.strictObject({
  paths: v.fullListOf(v.pathPattern, 'Write a list, such as [/rest/v1.0/projects]'),
  for: v.duration(1),
  whenExhausted: v.duration(1).optional(),
})

const audit = z.strictObject({
  file: v.plainText('the path of a file'),
  what: v.word(['writes', 'all']).prefault('writes'),
})

const shared = z.strictObject({
  url: v.secretSource,
  prefix: v
    .matching(/^[\w.:-]{1,64}$/, 'a prefix of keys', 'Use up to 64 letters, digits, dashes, dots and colons')
    .prefault('procore-proxy'),
  timeout: v.duration(1).prefault('50ms'),
  whenDown: v.word(['split', 'local', 'reject']).prefault('split'),
})

/** The schema of the file. Unknown keys are errors; defaults are defined here and nowhere else. */
export const fileSchema = z
  .strictObject({
    listen: v
      .oneOf(
        [
          v.listenAddress,
          v.fullListOf(v.listenAddress, 'Write an address, or leave it out for 127.0.0.1:8377'),
        ],
        v.noAddress('is neither a listen address nor a list of them'),
        'Write host:port, "[IPv6]:port" or unix:/path, such as 127.0.0.1:8377',
      )
      .prefault('127.0.0.1:8377'),
    publicUrl: v.publicUrl.optional(),
    environment: environmentName.prefault('production'),
    environments: z.record(simpleName, environment).prefault({}),
    defaultAccess: z.record(z.string(), access).prefault({}),
    serviceAccounts: z.record(accountName, account).prefault({}),
    companies,
    callers: z.record(simpleName, caller).prefault({}),
    upstream: section({
      connectTimeout: v.duration(1).prefault('10s'),
      responseTimeout: v.duration(1).prefault('120s'),
      connections: v.count(1, 10_000).prefault(64),
      maxQueued: v.count(0, 1_000_000).prefault(1000),
      retries: v.count(0, 10).prefault(2),
      compression: v.word(['auto', 'off']).prefault('auto'),
    }),
    network: section({
      proxy: v.secretSource.optional(),
      noProxy: v.listOf(v.noProxyEntry, 'Write a list, such as [example.com]').optional(),
      caFile: v.plainText('the path of a file').optional(),
    }),
    rateLimit: section({
      whenExhausted: v.word(['wait', 'reject', 'pass']).prefault('wait'),
      maxWait: v.duration().prefault('60s'),
      maxQueued: v.count(0, 1_000_000).prefault(1000),
    }),
    cache: section({
      coalesce: v.flag(),
      keep: v
        .listOf(keepRule, 'Write a list, such as [{paths: [/rest/v1.0/projects], for: 60s}]')
        .prefault([]),
      refusals: v.duration().prefault('0s'),
      size: v.size(1e6, 16e9).prefault('64MB'),
    }),
    lists: section({
      enabled: v.flag(true),
      perPage: v.count(1, 10_000).prefault(1000),
      maxPages: v.count(1, 100_000).prefault(200),
      maxProjects: v.count(1, 100_000).prefault(200),
      concurrency: v.count(1, 100).prefault(2),
      csvFormulas: v.word(['escape', 'keep']).prefault('escape'),
    }),
    recordings: section({
      redact: v
        .listOf(v.plainText('the name of a member'), 'Write a list, such as [email, login]')
        .prefault([]),
    }),
    audit: audit.optional(),
    shared: shared.optional(),
    guard: section({
      allowedHosts: v.listOf(v.hostName, 'Write a list, such as [proxy.example.com]').prefault([]),
      allowedOrigins: v.listOf(v.webOrigin, 'Write a list, such as [https://app.example.com]').prefault([]),
      requireHeader: v.flag(),
      clientKeys: v.listOf(v.secretSource, 'Write a list, such as [{env: PROXY_KEY}]').prefault([]),
      allowUnauthenticated: v.flag(),
    }),
    metrics: section({ listen: v.listenAddress.optional() }),
    log: section({
      level: v.word(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).prefault('info'),
      format: v.word(['auto', 'json', 'readable']).prefault('auto'),
    }),
    inspector: section({
      enabled: v.flag(true),
      requests: v.count(1, 10_000).prefault(200),
      showQueryValues: v.flag(),
      bodies: v.flag(),
    }),
    shutdownTimeout: v.duration().prefault('30s'),
  })
  .meta({ title: 'procore-proxy configuration' })

/** The settings after parsing: defaults are filled in, durations are in ms, addresses are parsed. */
export type Settings = z.output<typeof fileSchema>

/** Where a secret is kept; `timeout` in ms. */
export type SecretSource = z.output<typeof v.secretSource>

/** A company as written. */
export type CompanySettings = z.output<typeof company>

/** The access settings of a company or of `"*"`. */
export type AccessSettings = Pick<CompanySettings, 'access' | 'rules'>

/** A rule as written. */
export type RuleSettings = z.output<typeof v.accessRule>

/** The JSON Schema (draft 2020-12) of the file as a user writes it, without descriptions. */
export function jsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(fileSchema, { io: 'input' })
}
