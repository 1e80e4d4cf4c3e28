// The one schema of the configuration file: its keys, types and defaults. scripts/config/descriptions.ts describes them.
import * as z from 'zod'
import {
  accessRule,
  companyId,
  count,
  duration,
  fileHost,
  flag,
  fullListOf,
  hostName,
  listenAddress,
  listOf,
  matching,
  noProxyEntry,
  origin,
  pathPattern,
  percentage,
  plainText,
  projectId,
  publicUrl,
  reference,
  says,
  secretSource,
  shown,
  size,
  webOrigin,
  word,
} from './schema-values.ts'

/** The name of the JSON Schema's file, which the package has in its folder `config`. */
export const SCHEMA_FILE = 'procore-proxy.schema.json'

/** Words that the proxy's own paths start with, so that no company may have them as its name. */
export const RESERVED_NAMES: readonly string[] = ['rest', 'vapid', 'oauth', '_proxy']

const environmentName = z.string({
  error: says('must be the name of an environment', 'Write one, such as production or sandbox'),
})
const access = word(['read-write', 'read-only'])
const accountName = matching(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'a name', 'Use letters, digits, dots and dashes')
const simpleName = matching(
  /^[a-z0-9][a-z0-9-]*$/,
  'a name',
  'Use lower-case letters, digits and dashes, such as acme or acme-west',
)
const RULES_FIX = 'Write a list, such as [{deny: /rest/v1.0/companies/**}]'

const accountFields = {
  environment: environmentName.optional(),
  clientId: secretSource,
  clientSecret: secretSource,
}

const account = z.strictObject(accountFields)

const companyFields = {
  serviceAccount: z
    .union([z.string(), z.strictObject(accountFields)], {
      error: says(
        'must be the name of a service account or a service account itself',
        'Write a name from serviceAccounts, or {clientId: …, clientSecret: …}',
      ),
    })
    .meta({
      title: 'service account',
    }),
  access: access.optional(),
  rules: fullListOf(accessRule, RULES_FIX).optional(),
  rewriteFileUrls: flag(),
}

const company = z
  .strictObject({
    id: companyId,
    ...companyFields,
    default: flag(),
    listen: listenAddress.optional(),
    publicUrl: publicUrl.optional(),
  })
  .refine(({ listen, publicUrl }) => publicUrl === undefined || listen !== undefined, {
    path: ['publicUrl'],
    error: says(
      'is for requests that arrive at `listen`, which this company does not have',
      'Add listen, or write publicUrl at the top of the file',
    ),
  })

const anyCompany = z.strictObject(companyFields)

const companyNamePattern = new RegExp(
  `^(?!(?:${RESERVED_NAMES.filter((name) => /^[a-z]/.test(name)).join('|')})$)[a-z0-9][a-z0-9-]*$`,
)

const companies = z
  .object({ '*': anyCompany.optional() })
  .catchall(company)
  .superRefine((entries, context) => {
    for (const name of Object.keys(entries)) {
      if (name === '*' || companyNamePattern.test(name)) continue
      const message = RESERVED_NAMES.includes(name)
        ? `${shown(name)} is a reserved word, because paths of the proxy itself start with it`
        : `${shown(name)} is not a company name`
      const fix = 'Use lower-case letters, digits and dashes, such as acme or acme-west'
      context.addIssue({ code: 'custom', path: [name], message: `${message}\n${fix}` })
    }
  })
  .prefault({})
  .meta({
    propertyNames: { anyOf: [{ const: '*' }, { pattern: companyNamePattern.source }] },
  })

const environment = z.strictObject({
  apiUrl: origin,
  loginUrl: origin,
  fileDomain: hostName.optional(),
  fileHosts: fullListOf(
    fileHost,
    'Write a list, such as [storage.example.com, "*.files.example.com"]',
  ).optional(),
})

const caller = z.strictObject({
  key: z
    .union([secretSource, fullListOf(secretSource, 'Write a key, or a list of keys')], {
      error: says(
        'is neither a secret nor a list of secrets',
        'Write {env: NAME} or {file: PATH}, or a list of them while you replace a key',
      ),
    })
    .meta({
      title: 'secret',
    }),
  companies: fullListOf(
    reference('the name of a company', 'Write a name from companies, such as acme'),
    'Write a list of company names, or leave it out for all companies',
  ).optional(),
  access: access.prefault('read-write'),
  rules: listOf(accessRule, RULES_FIX).prefault([]),
  projects: fullListOf(
    projectId,
    'Write a list of ids, such as ["316469"], or leave it out for all projects',
  ).optional(),
  share: percentage.optional(),
})

const keepRule = z.strictObject({
  paths: fullListOf(pathPattern, 'Write a list, such as [/rest/v1.0/projects]'),
  for: duration(1),
  whenExhausted: duration(1).optional(),
})

/** The schema of the file. Unknown keys are errors; defaults are defined here and nowhere else. */
export const fileSchema = z
  .strictObject({
    listen: z
      .union(
        [listenAddress, fullListOf(listenAddress, 'Write an address, or leave it out for 127.0.0.1:8377')],
        {
          error: says(
            (input) =>
              typeof input === 'number'
                ? `${input} is a port without a host`
                : 'is neither a listen address nor a list of them',
            'Write host:port, "[IPv6]:port" or unix:/path, such as 127.0.0.1:8377',
          ),
        },
      )
      .prefault('127.0.0.1:8377'),
    publicUrl: publicUrl.optional(),
    environment: environmentName.prefault('production'),
    environments: z.record(simpleName, environment).prefault({}),
    defaultAccess: z.record(z.string(), access).prefault({}),
    serviceAccounts: z.record(accountName, account).prefault({}),
    companies,
    callers: z.record(simpleName, caller).prefault({}),
    upstream: z
      .strictObject({
        connectTimeout: duration(1).prefault('10s'),
        responseTimeout: duration(1).prefault('120s'),
        connections: count(1, 10_000).prefault(64),
        maxQueued: count(0, 1_000_000).prefault(1000),
        retries: count(0, 10).prefault(2),
        compression: word(['auto', 'off']).prefault('auto'),
      })
      .prefault({}),
    network: z
      .strictObject({
        proxy: secretSource.optional(),
        noProxy: listOf(noProxyEntry, 'Write a list, such as [example.com]').optional(),
        caFile: plainText('the path of a file').optional(),
      })
      .prefault({}),
    rateLimit: z
      .strictObject({
        whenExhausted: word(['wait', 'reject', 'pass']).prefault('wait'),
        maxWait: duration().prefault('60s'),
        maxQueued: count(0, 1_000_000).prefault(1000),
      })
      .prefault({}),
    cache: z
      .strictObject({
        coalesce: flag(),
        keep: listOf(keepRule, 'Write a list, such as [{paths: [/rest/v1.0/projects], for: 60s}]').prefault(
          [],
        ),
        refusals: duration().prefault('0s'),
        size: size(1e6, 16e9).prefault('64MB'),
      })
      .prefault({}),
    lists: z
      .strictObject({
        enabled: flag(true),
        perPage: count(1, 10_000).prefault(1000),
        maxPages: count(1, 100_000).prefault(200),
        maxProjects: count(1, 100_000).prefault(200),
        concurrency: count(1, 100).prefault(2),
        csvFormulas: word(['escape', 'keep']).prefault('escape'),
      })
      .prefault({}),
    recordings: z
      .strictObject({
        redact: listOf(plainText('the name of a member'), 'Write a list, such as [email, login]').prefault(
          [],
        ),
      })
      .prefault({}),
    audit: z
      .strictObject({
        file: plainText('the path of a file'),
        what: word(['writes', 'all']).prefault('writes'),
      })
      .optional(),
    shared: z
      .strictObject({
        url: secretSource,
        prefix: matching(
          /^[\w.:-]{1,64}$/,
          'a prefix of keys',
          'Use up to 64 letters, digits, dashes, dots and colons',
        ).prefault('procore-proxy'),
        timeout: duration(1).prefault('50ms'),
        whenDown: word(['split', 'local', 'reject']).prefault('split'),
      })
      .optional(),
    guard: z
      .strictObject({
        allowedHosts: listOf(hostName, 'Write a list, such as [proxy.example.com]').prefault([]),
        allowedOrigins: listOf(webOrigin, 'Write a list, such as [https://app.example.com]').prefault([]),
        requireHeader: flag(),
        clientKeys: listOf(secretSource, 'Write a list, such as [{env: PROXY_KEY}]').prefault([]),
        allowUnauthenticated: flag(),
      })
      .prefault({}),
    metrics: z
      .strictObject({
        listen: listenAddress.optional(),
      })
      .prefault({}),
    log: z
      .strictObject({
        level: word(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).prefault('info'),
        format: word(['auto', 'json', 'readable']).prefault('auto'),
      })
      .prefault({}),
    inspector: z
      .strictObject({
        enabled: flag(true),
        requests: count(1, 10_000).prefault(200),
        showQueryValues: flag(),
        bodies: flag(),
      })
      .prefault({}),
    shutdownTimeout: duration().prefault('30s'),
  })
  .meta({ title: 'procore-proxy configuration' })

/** The settings after parsing: defaults are filled in, durations are in ms, addresses are parsed. */
export type Settings = z.output<typeof fileSchema>

/** Where a secret is kept; `timeout` in ms. */
export type SecretSource = z.output<typeof secretSource>

/** A service account as written. */
export type AccountSettings = z.output<typeof account>

/** A company as written. */
export type CompanySettings = z.output<typeof company>

/** The access settings of a company or of `"*"`. */
export type AccessSettings = Pick<CompanySettings, 'access' | 'rules'>

/** A rule as written. */
export type RuleSettings = z.output<typeof accessRule>

/** The JSON Schema (draft 2020-12) of the file as a user writes it, without descriptions. */
export function jsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(fileSchema, { io: 'input' })
}
