// The one schema of the configuration file: its keys, types, defaults and descriptions. Everything else derives from it.
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
  environment: environmentName
    .optional()
    .describe(
      'The environment that the service account belongs to. If left out, the `environment` at the top of the file.',
    ),
  clientId: secretSource.describe('The client id.'),
  clientSecret: secretSource.describe(
    'The client secret. A secret in plain text is refused if other users can read the configuration file (`chmod 600` fixes that).',
  ),
}

const account = z
  .strictObject(accountFields)
  .describe('A client id and its secret. A developer managed service account can serve several companies.')

const companyFields = {
  serviceAccount: z
    .union(
      [z.string(), z.strictObject(accountFields).describe('A service account for this company alone.')],
      {
        error: says(
          'must be the name of a service account or a service account itself',
          'Write a name from serviceAccounts, or {clientId: …, clientSecret: …}',
        ),
      },
    )
    .meta({
      title: 'service account',
      description: 'The name of an entry in `serviceAccounts`, or a service account written here.',
    }),
  access: access
    .optional()
    .describe(
      'What callers may do: `read-only` allows GET, HEAD and OPTIONS only. If left out, `defaultAccess` for the environment decides, and without that it is `read-write`.',
    ),
  rules: fullListOf(accessRule, RULES_FIX)
    .optional()
    .describe(
      'Rules for paths and methods. The first rule that matches a request decides. If none matches, `access` decides.',
    ),
  rewriteFileUrls: flag().describe(
    'Whether file URLs in JSON responses are rewritten so that callers download the files through the proxy. A value is rewritten if it is, as a whole, an https URL of one of the file hosts.',
  ),
}

const company = z
  .strictObject({
    id: companyId.describe("Procore's id of the company: up to 20 digits, in quotes."),
    ...companyFields,
    default: flag().describe(
      'Whether requests that name no company are for this one. Only one company can be the default.',
    ),
    listen: listenAddress
      .optional()
      .describe(
        'A listen address for this company alone, for tools that can only be given a host and a port.',
      ),
    publicUrl: publicUrl
      .optional()
      .describe('Like the `publicUrl` at the top, for requests that arrive at this `listen` address.'),
  })
  .refine(({ listen, publicUrl }) => publicUrl === undefined || listen !== undefined, {
    path: ['publicUrl'],
    error: says(
      'is for requests that arrive at `listen`, which this company does not have',
      'Add listen, or write publicUrl at the top of the file',
    ),
  })

const anyCompany = z
  .strictObject(companyFields)
  .describe('Any other company id that a request names. This needs a developer managed service account.')

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
    description:
      'The companies that callers work in, by name (lower-case letters, digits and dashes). The names appear in URLs, logs and metrics.',
  })

const environment = z.strictObject({
  apiUrl: origin.describe('The origin of the API. Plain http is allowed to this machine only.'),
  loginUrl: origin.describe('The origin of the login server. Plain http is allowed to this machine only.'),
  fileDomain: hostName
    .optional()
    .describe(
      'The domain whose hosts serve files, including the domain itself. If left out, the host of the API. Write `localhost` if a test server on this machine serves the files.',
    ),
  fileHosts: fullListOf(fileHost, 'Write a list, such as [storage.example.com, "*.files.example.com"]')
    .optional()
    .describe(
      'The hosts that the access token is sent to for files: host names, and `*.` with a name for all hosts below it. If left out, all hosts of `fileDomain`.',
    ),
})

const caller = z
  .strictObject({
    key: z
      .union([secretSource, fullListOf(secretSource, 'Write a key, or a list of keys')], {
        error: says(
          'is neither a secret nor a list of secrets',
          'Write {env: NAME} or {file: PATH}, or a list of them while you replace a key',
        ),
      })
      .meta({
        title: 'secret',
        description:
          'The key that the caller sends, or a list of keys while you replace one. A key has at least 16 characters.',
      }),
    companies: fullListOf(
      reference('the name of a company', 'Write a name from companies, such as acme'),
      'Write a list of company names, or leave it out for all companies',
    )
      .optional()
      .describe(
        'The names of the companies that the caller may use; all companies if left out. Where `"*"` is configured, ids of other companies are allowed too.',
      ),
    access: access
      .prefault('read-write')
      .describe("The most that the caller may do. The company's own `access` and `rules` apply too."),
    rules: listOf(accessRule, RULES_FIX)
      .prefault([])
      .describe("Rules for this caller, written like a company's rules. Both must allow a request."),
    projects: fullListOf(
      projectId,
      'Write a list of ids, such as ["316469"], or leave it out for all projects',
    )
      .optional()
      .describe('The ids of the projects that the caller may use; all projects if left out.'),
    share: percentage
      .optional()
      .describe(
        'The largest part of a rate limit window that this caller may use while others need it, such as `25%`.',
      ),
  })
  .describe('A caller with a key and permissions of its own.')

const keepRule = z.strictObject({
  paths: fullListOf(pathPattern, 'Write a list, such as [/rest/v1.0/projects]').describe(
    'Patterns of the paths whose responses are kept, written like those of an access rule.',
  ),
  for: duration(1).describe('How long a response is served from the cache.'),
  whenExhausted: duration(1)
    .optional()
    .describe(
      "How old a response may be while Procore's rate limit is used up. If left out, as old as `for`.",
    ),
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
      .prefault('127.0.0.1:8377')
      .describe(
        'Where the proxy listens: `host:port`, `"[IPv6]:port"`, `unix:/path`, `{path, mode}`, or a list of these. Port 0 means any free port.',
      ),
    publicUrl: publicUrl
      .optional()
      .describe(
        'The URL at which callers reach the proxy if another server is in front of it. Link headers, Location headers and rewritten file URLs start with it, and its host is accepted in the Host header. If left out, the address that the caller used.',
      ),
    environment: environmentName
      .prefault('production')
      .describe(
        'The environment of service accounts that name none: production, sandbox, monthly-sandbox, federal, or one from `environments`.',
      ),
    environments: z
      .record(simpleName, environment)
      .prefault({})
      .describe('Environments of your own, such as a gateway or a test server.'),
    defaultAccess: z
      .record(z.string(), access)
      .prefault({})
      .describe(
        'The `access` of companies that have none, by the environment of their service account. `{production: read-only}` makes all of production read-only.',
      ),
    serviceAccounts: z
      .record(accountName, account)
      .prefault({})
      .describe('Service accounts that several companies share, by name.'),
    companies,
    callers: z
      .record(simpleName, caller)
      .prefault({})
      .describe(
        'Callers with names, keys and permissions of their own. If there are any, every request needs a key.',
      ),
    upstream: z
      .strictObject({
        connectTimeout: duration(1)
          .prefault('10s')
          .describe('The longest time to connect to Procore, including TLS.'),
        responseTimeout: duration(1)
          .prefault('120s')
          .describe(
            "The longest wait for the first byte of Procore's response, and between two parts of it.",
          ),
        connections: count(1, 10_000)
          .prefault(64)
          .describe('The most connections to one API origin for one company.'),
        maxQueued: count(0, 1_000_000)
          .prefault(1000)
          .describe(
            'The most requests of one company that wait for a connection. Further requests get the error `overloaded`.',
          ),
        retries: count(0, 10)
          .prefault(2)
          .describe(
            'How often a request is sent again if the connection fails before any response (POST and PATCH only if no byte was sent).',
          ),
        compression: word(['auto', 'off'])
          .prefault('auto')
          .describe(
            'Whether the proxy asks Procore for gzip on behalf of callers that send no Accept-Encoding. They get the response unpacked.',
          ),
      })
      .prefault({})
      .describe('Connections to Procore.'),
    network: z
      .strictObject({
        proxy: secretSource
          .optional()
          .describe(
            'The URL of an HTTP proxy between this machine and Procore: `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT` (https too), or `none`. If left out, the variable HTTPS_PROXY decides. A password in plain text is refused if other users can read the configuration file. Loopback addresses are always reached directly.',
          ),
        noProxy: listOf(noProxyEntry, 'Write a list, such as [example.com]')
          .optional()
          .describe(
            'Hosts that are reached without that proxy: names (including all hosts below them), addresses, or `"*"` for every host. A port may follow. If left out, the variable NO_PROXY decides.',
          ),
        caFile: plainText('the path of a file')
          .optional()
          .describe(
            "A file of CA certificates (PEM or DER), relative to the configuration file's folder. They are trusted in addition to Node's own and those of the variable NODE_EXTRA_CA_CERTS.",
          ),
      })
      .prefault({})
      .describe(
        'The way out of a corporate network. `proxy` and `noProxy` default to the variables HTTPS_PROXY and NO_PROXY.',
      ),
    rateLimit: z
      .strictObject({
        whenExhausted: word(['wait', 'reject', 'pass'])
          .prefault('wait')
          .describe(
            "What happens to requests while Procore's rate limit is used up: they `wait`, are refused with 429 (`reject`), or are sent anyway (`pass`).",
          ),
        maxWait: duration()
          .prefault('60s')
          .describe('The longest time that a request waits for the rate limit or for Retry-After.'),
        maxQueued: count(0, 1_000_000)
          .prefault(1000)
          .describe('The most requests of one company that wait for the rate limit.'),
      })
      .prefault({})
      .describe("Procore's rate limits."),
    cache: z
      .strictObject({
        coalesce: flag().describe('Whether equal GET requests at the same time are sent to Procore once.'),
        keep: listOf(keepRule, 'Write a list, such as [{paths: [/rest/v1.0/projects], for: 60s}]')
          .prefault([])
          .describe('Responses that are kept and served again without asking Procore.'),
        refusals: duration()
          .prefault('0s')
          .describe("How long Procore's 403 and 404 responses are served again; `0s` means not at all."),
        size: size(1e6, 16e9).prefault('64MB').describe('The most memory for everything that is kept.'),
      })
      .prefault({})
      .describe('Requests that can be saved. Everything here is off unless you turn it on.'),
    lists: z
      .strictObject({
        enabled: flag(true).describe(
          'Whether `/_proxy/csv/`, `/_proxy/ndjson/` and `/_proxy/json/` are served.',
        ),
        perPage: count(1, 10_000)
          .prefault(1000)
          .describe('How many rows one page has, if the caller does not say; at most 100 for v2 of the API.'),
        maxPages: count(1, 100_000).prefault(200).describe('The most pages that are read for one list.'),
        maxProjects: count(1, 100_000)
          .prefault(200)
          .describe('The most projects that are read for a list of all projects (`*`).'),
        concurrency: count(1, 100)
          .prefault(2)
          .describe('How many projects are read at the same time for such a list.'),
        csvFormulas: word(['escape', 'keep'])
          .prefault('escape')
          .describe(
            "What happens to CSV texts that a spreadsheet would run as formulas: `escape` puts a `'` before them, `keep` leaves them alone.",
          ),
      })
      .prefault({})
      .describe('Complete lists, read page by page, as CSV, NDJSON or JSON.'),
    recordings: z
      .strictObject({
        redact: listOf(plainText('the name of a member'), 'Write a list, such as [email, login]')
          .prefault([])
          .describe('Names of members of JSON bodies whose values are masked in recordings.'),
      })
      .prefault({})
      .describe('What `start --record` writes.'),
    audit: z
      .strictObject({
        file: plainText('the path of a file').describe(
          "The file that the audit log is appended to, relative to the configuration file's folder. Its folder must exist.",
        ),
        what: word(['writes', 'all'])
          .prefault('writes')
          .describe('Which requests are logged: `writes` (with refused requests) or `all`.'),
      })
      .optional()
      .describe('A log of what each caller did, one JSON line for each request.'),
    shared: z
      .strictObject({
        url: secretSource.describe(
          'The URL of Redis or Valkey: `redis://` or `rediss://` (TLS), with user and password if needed.',
        ),
        prefix: matching(
          /^[\w.:-]{1,64}$/,
          'a prefix of keys',
          'Use up to 64 letters, digits, dashes, dots and colons',
        )
          .prefault('procore-proxy')
          .describe('What the names of all keys in Redis start with.'),
        timeout: duration(1).prefault('50ms').describe('The longest time that a request waits for Redis.'),
        whenDown: word(['split', 'local', 'reject'])
          .prefault('split')
          .describe(
            "What happens while Redis can't be reached: each replica uses its part of the rate limit (`split`), all of it (`local`), or refuses requests (`reject`).",
          ),
      })
      .optional()
      .describe('Redis or Valkey, through which several replicas share rate limits and access tokens.'),
    guard: z
      .strictObject({
        allowedHosts: listOf(hostName, 'Write a list, such as [proxy.example.com]')
          .prefault([])
          .describe(
            'Host names by which callers may reach the proxy, besides localhost, *.localhost, 127.0.0.0/8 and [::1].',
          ),
        allowedOrigins: listOf(webOrigin, 'Write a list, such as [https://app.example.com]')
          .prefault([])
          .describe('Origins of web pages that may call the proxy from a browser.'),
        requireHeader: flag().describe('Whether callers must send `Procore-Proxy-Request: true`.'),
        clientKeys: listOf(secretSource, 'Write a list, such as [{env: PROXY_KEY}]')
          .prefault([])
          .describe(
            'Keys, of which callers must send one as `Procore-Proxy-Key`. Each has at least 16 characters. `callers` has keys with names.',
          ),
        allowUnauthenticated: flag().describe(
          'Whether the proxy may be reachable from other machines, or by names that web pages can use, without `clientKeys` or `callers`. Anyone who can connect then uses your service accounts.',
        ),
      })
      .prefault({})
      .describe('Who may call the proxy.'),
    metrics: z
      .strictObject({
        listen: listenAddress
          .optional()
          .describe(
            'One more address, which serves health checks and metrics without a key, and nothing else. Other machines may be able to reach it.',
          ),
      })
      .prefault({})
      .describe('Where monitoring systems read metrics.'),
    log: z
      .strictObject({
        level: word(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
          .prefault('info')
          .describe('The least important log lines that are written.'),
        format: word(['auto', 'json', 'readable'])
          .prefault('auto')
          .describe('How log lines are written. `auto` means readable on a terminal and JSON otherwise.'),
      })
      .prefault({})
      .describe('The log.'),
    inspector: z
      .strictObject({
        enabled: flag(true).describe('Whether recent requests are remembered and shown on the status page.'),
        requests: count(1, 10_000)
          .prefault(200)
          .describe('How many requests are remembered, in memory only.'),
        showQueryValues: flag().describe(
          'Whether query values are shown, which may be signatures or personal data. Otherwise each is shown as `*`.',
        ),
        bodies: flag().describe(
          'Whether the first 2 KiB of each text body are remembered and shown. Values that look like secrets are masked, but personal data is not.',
        ),
      })
      .prefault({})
      .describe(
        'What the status page shows of requests. Values of request headers are never shown, and bodies only if you ask for them.',
      ),
    shutdownTimeout: duration()
      .prefault('30s')
      .describe('How long requests in progress may continue when the proxy stops.'),
  })
  .meta({ title: 'procore-proxy configuration' })

/** What the schema makes of a file: defaults are filled in, durations are in ms, addresses are parsed. */
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

/** The JSON Schema (draft 2020-12) of the file as a user writes it. */
export function jsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(fileSchema, { io: 'input' })
}
