// The one schema of the configuration file: keys, types, defaults and descriptions. Everything else derives from it.
import * as z from 'zod'
import {
  accessRule,
  companyId,
  count,
  duration,
  flag,
  hostName,
  listenAddress,
  listOf,
  noProxyEntry,
  oneOf,
  origin,
  plainText,
  publicUrl,
  says,
  secretSource,
  shown,
  text,
  webOrigin,
} from './schema-values.ts'

/** Where the JSON Schema is published. */
export const SCHEMA_URL =
  'https://raw.githubusercontent.com/procore-proxy/procore-proxy/main/config/procore-proxy.schema.json'

/** Words that start paths of the proxy's own, so no company may be called so (CONTRACT section 1). */
export const RESERVED_NAMES: readonly string[] = ['rest', 'vapid', 'oauth', '_proxy']

const accountFields = {
  environment: z
    .string({ error: says('must be the name of an environment', 'Write one, such as production or sandbox') })
    .optional()
    .meta({ description: 'The environment it logs in to; without it, the one at the top of the file.' }),
  clientId: secretSource.meta({ description: 'The client id.' }),
  clientSecret: secretSource.meta({
    description:
      'The client secret. A plain one is refused where others can read the configuration file (chmod 600).',
  }),
}

const accountName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, {
  error: says((input) => `${shown(input)} is not a name`, 'Use letters, digits, dots and dashes'),
})

const account = z
  .strictObject(accountFields)
  .meta({ description: 'A client id and secret; a developer managed one may serve several companies.' })

const access = z.enum(['read-write', 'read-only'], {
  error: says(
    (input) => `${shown(input)} is not one of read-write, read-only`,
    'Write read-write or read-only',
  ),
})

const companyFields = {
  serviceAccount: z
    .union(
      [
        z.string(),
        z.strictObject(accountFields).meta({ description: "A service account of this company's own." }),
      ],
      {
        error: says(
          'must be the name of a service account or a service account itself',
          'Write a name of serviceAccounts, or {clientId: …, clientSecret: …}',
        ),
      },
    )
    .meta({
      title: 'service account',
      description: 'The name of one of `serviceAccounts`, or a service account written here.',
    }),
  access: access.optional().meta({
    description:
      'What callers may do: `read-only` lets GET, HEAD and OPTIONS through. Without it, what `defaultAccess` says of its environment, else `read-write`.',
  }),
  rules: listOf(accessRule, 'Write a list, such as [{deny: /rest/v1.0/companies/**}]')
    .min(1, { error: says('is an empty list', 'Write a rule, or leave it out') })
    .optional()
    .meta({
      description:
        'Rules for paths and methods: the first that matches a request decides, and where none does, `access`.',
    }),
  rewriteFileUrls: flag(
    'Whether URLs of files in JSON answers are rewritten so that they are fetched through the proxy: values that are, as a whole, an https URL of a host in the domain of files.',
  ),
}

const company = z
  .strictObject({
    id: companyId,
    ...companyFields,
    default: flag('Whether it is used where a request names no company. At most one company is the default.'),
    listen: listenAddress
      .optional()
      .meta({ description: 'An address of its own, for tools that can set nothing but a host and a port.' }),
    publicUrl: publicUrl(
      'As `publicUrl` at the top, for requests that come by this `listen` address.',
    ).optional(),
  })
  .superRefine(({ listen, publicUrl }, context) => {
    if (publicUrl === undefined || listen !== undefined) return
    const message = 'is for requests that come by `listen`, which this company does not have'
    const mend = 'Add listen, or write publicUrl at the top of the file'
    context.addIssue({ code: 'custom', path: ['publicUrl'], message: text({ message, mend }) })
  })

const anyCompany = z
  .strictObject(companyFields)
  .meta({ description: 'Any other id that a request names (developer managed service accounts only).' })

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
        ? `${shown(name)} is a reserved word: ${RESERVED_NAMES.join(', ')} start paths of the proxy itself`
        : `${shown(name)} is not a company name`
      const mend = 'Use small letters, digits and dashes, such as acme or acme-west'
      context.addIssue({ code: 'custom', path: [name], message: text({ message, mend }) })
    }
  })

const environment = z.strictObject({
  apiUrl: origin('The origin of the API. Plain http only to this machine.'),
  loginUrl: origin('The origin of the login server. Plain http only to this machine.'),
  fileDomain: hostName(
    'The domain whose hosts serve files, itself included; without it, the host of the API. `localhost` where files come from a test server on this machine.',
  ).optional(),
})

/** The schema of the file. Unknown keys are errors; defaults live here and nowhere else. */
export const fileSchema = z
  .strictObject({
    version: z
      .literal(1, {
        error: says(
          (input) =>
            input === '1'
              ? `${shown(input)} is text, not a number`
              : `${shown(input)} is not a version this program knows`,
          'Write 1, without quotes, or leave it out',
        ),
      })
      .optional()
      .meta({
        description:
          'The version of this format; without it, 1. A program that reads only older ones refuses the file and says so.',
      }),
    listen: z
      .union(
        [
          listenAddress,
          listOf(listenAddress, 'Write one address or a list').min(1, {
            error: says('is an empty list', 'Write an address, or leave it out for 127.0.0.1:8377'),
          }),
        ],
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
      .meta({
        description:
          'Where the proxy listens: `host:port`, `"[IPv6]:port"`, `unix:/path`, `{path, mode}`, or a list of them. Port 0 is any free port.',
      }),
    publicUrl: publicUrl(
      'Where callers reach the proxy, if that is through another server in front of it: what Link, Location and rewritten file URLs begin with. Its host is accepted as Host. Without it, that is the address that the caller used.',
    ).optional(),
    environment: z
      .string({
        error: says('must be the name of an environment', 'Write one, such as production or sandbox'),
      })
      .prefault('production')
      .meta({
        description:
          'The environment of service accounts that name none: production, sandbox, monthly-sandbox, federal, or one of `environments`.',
      }),
    environments: z
      .record(
        z.string().regex(/^[a-z0-9][a-z0-9-]*$/, {
          error: says((input) => `${shown(input)} is not a name`, 'Use small letters, digits and dashes'),
        }),
        environment,
      )
      .prefault({})
      .meta({ description: 'Environments of your own, such as a gateway or a test server.' }),
    defaultAccess: z.record(z.string(), access).prefault({}).meta({
      description:
        'The `access` of companies that name none themselves, by the environment of their service account: `{production: read-only}` makes all of production read-only.',
    }),
    serviceAccounts: z
      .record(accountName, account)
      .prefault({})
      .meta({ description: 'Service accounts that several companies share.' }),
    companies: companies.prefault({}).meta({
      propertyNames: { anyOf: [{ const: '*' }, { pattern: companyNamePattern.source }] },
      description:
        'The companies that callers work in, by name (small letters, digits, dashes). The name is used in URLs, logs and metrics.',
    }),
    upstream: z
      .strictObject({
        connectTimeout: duration(1, '10s', 'Longest time to connect to Procore, TLS included.'),
        responseTimeout: duration(
          1,
          '120s',
          "Longest time to the first byte of Procore's answer, and then between two pieces of it.",
        ),
        connections: count(1, 10_000, 64, 'Most sockets to one API origin for one company.'),
        maxQueued: count(
          0,
          1_000_000,
          1000,
          'Most requests of one company that wait for a socket; beyond, callers get `overloaded`.',
        ),
        retries: count(
          0,
          10,
          2,
          'How often a request is sent again after a connection failed before any answer (POST and PATCH only where no byte was sent).',
        ),
        compression: oneOf(
          ['auto', 'off'],
          'auto',
          'Whether Procore is asked for gzip on behalf of callers that send no Accept-Encoding; they get the answer unpacked.',
        ),
        http2: flag(
          'Whether HTTP/2 may be spoken with Procore: many requests share one socket, at about twice the CPU. For lines where opening sockets is slow or counted.',
        ),
      })
      .prefault({})
      .meta({ description: 'Connections to Procore.' }),
    network: z
      .strictObject({
        proxy: secretSource.optional().meta({
          description:
            'The URL of an HTTP proxy on the way to Procore, login and API alike: `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT` (https too), or `none`. Without it, what the variable HTTPS_PROXY says. A plain one with a password is refused where others can read the configuration file (chmod 600). Loopback is never reached through it.',
        }),
        noProxy: listOf(noProxyEntry, 'Write a list, such as [example.com]').optional().meta({
          description:
            'Hosts that are reached without it: names (with all below them), addresses, or `"*"` for every host; a port may follow. Without it, what the variable NO_PROXY says.',
        }),
        caFile: plainText('the path of a file').optional().meta({
          description:
            "A file of CA certificates (PEM or DER), relative to the configuration file's folder, that are trusted besides Node's own and those of the variable NODE_EXTRA_CA_CERTS: for login, API and an https proxy.",
        }),
      })
      .prefault({})
      .meta({
        description:
          'The way out of a corporate network: the keys `proxy`, `noProxy` and `caFile`. Without the first two, the variables HTTPS_PROXY and NO_PROXY count.',
      }),
    rateLimit: z
      .strictObject({
        whenExhausted: oneOf(
          ['wait', 'reject', 'pass'],
          'wait',
          "What happens to requests while Procore's budget is used up: `wait` for it, `reject` with 429, or `pass` them on.",
        ),
        maxWait: duration(0, '60s', 'Longest time that a request waits for its budget or for Retry-After.'),
        maxQueued: count(0, 1_000_000, 1000, 'Most requests of one company that wait for their budget.'),
      })
      .prefault({})
      .meta({ description: "Procore's rate limits." }),
    guard: z
      .strictObject({
        allowedHosts: listOf(hostName('A host name.'), 'Write a list, such as [proxy.example.com]')
          .prefault([])
          .meta({
            description:
              'Host names that callers may use besides localhost, *.localhost, 127.0.0.0/8 and [::1].',
          }),
        allowedOrigins: listOf(webOrigin, 'Write a list, such as [https://app.example.com]')
          .prefault([])
          .meta({ description: 'Origins of web pages that may call the proxy from a browser.' }),
        requireHeader: flag('Whether callers must send `Procore-Proxy-Request: true`.'),
        clientKeys: listOf(secretSource, 'Write a list, such as [{env: PROXY_KEY}]').prefault([]).meta({
          description:
            'Keys of which callers must send one as `Procore-Proxy-Key`. None: no key is asked for.',
        }),
        allowUnauthenticated: flag(
          'Whether addresses beyond loopback may be listened on without `clientKeys`: anyone who reaches them uses your service accounts.',
        ),
      })
      .prefault({})
      .meta({ description: 'Who may call the proxy.' }),
    log: z
      .strictObject({
        level: oneOf(
          ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
          'info',
          'The least important lines that are written.',
        ),
        format: oneOf(
          ['auto', 'json', 'readable'],
          'auto',
          'How lines are written; `auto` is readable on a terminal and JSON otherwise.',
        ),
      })
      .prefault({})
      .meta({ description: 'The log.' }),
    inspector: z
      .strictObject({
        enabled: flag('Whether requests are remembered and the status page shows them.', true),
        requests: count(1, 10_000, 200, 'How many requests are remembered, in memory alone.'),
        showQueryValues: flag(
          'Whether query values are shown; they may be signatures or personal data. Without it each is `*`.',
        ),
        bodies: flag(
          'Whether the first 2 KiB of each body that is text are remembered and shown, what looks secret as `*`; the rest may be personal data.',
        ),
      })
      .prefault({})
      .meta({
        description:
          'What the status page shows of requests: no value of a request header, and no body unless asked for.',
      }),
    shutdownTimeout: duration(
      0,
      '30s',
      'Longest time that requests under way are given when the proxy stops.',
    ),
  })
  .meta({ title: 'procore-proxy configuration' })

/** What the schema makes of a file: defaults filled in, durations in ms, addresses parsed. */
export type Settings = z.output<typeof fileSchema>

/** Where a secret is kept; `timeout` in ms. */
export type SecretSource = z.output<typeof secretSource>

/** A service account as written. */
export type AccountSettings = z.output<typeof account>

/** A company as written. */
export type CompanySettings = z.output<typeof company>

/** A company or `"*"`, as far as its access is concerned. */
export type AccessSettings = Pick<CompanySettings, 'access' | 'rules'>

/** A rule as written. */
export type RuleSettings = z.output<typeof accessRule>

/** The JSON Schema (draft 2020-12) of the file as a user writes it. */
export function jsonSchema(): Record<string, unknown> {
  const { $schema, ...rest } = z.toJSONSchema(fileSchema, { io: 'input' })
  return { $schema, $id: SCHEMA_URL, ...rest }
}
