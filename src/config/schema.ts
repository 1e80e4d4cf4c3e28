// The one schema of the configuration file: keys, types, defaults and descriptions. Everything else derives from it.
import ms from 'ms'
import { z } from 'zod'
import {
  checkSerializedOrigin,
  checkSocketPath,
  parseHostName,
  parseListen,
  parseUpstreamOrigin,
} from './addresses.ts'
import type { ListenAddress } from './config.ts'
import { OddNumber } from './document.ts'
import type { Mistake } from './problems.ts'

/** Where the JSON Schema is published. */
export const SCHEMA_URL =
  'https://raw.githubusercontent.com/procore-proxy/procore-proxy/main/config/procore-proxy.schema.json'

/** Words that start paths of the proxy's own, so no company may be called so (CONTRACT section 1). */
export const RESERVED_NAMES: readonly string[] = ['rest', 'vapid', 'oauth', '_proxy']

// A schema error's text is `message\nmend`; issues.ts takes the two apart again.
function text({ message, mend }: Mistake): string {
  return `${message}\n${mend}`
}

/** The error of a value that is no such thing; a missing value is called missing. */
function says(message: string | ((input: unknown) => string), mend: string) {
  return (issue: { readonly input?: unknown }): string => {
    if (issue.input === undefined) return text({ message: 'is missing', mend })
    return text({ message: typeof message === 'string' ? message : message(issue.input), mend })
  }
}

function shown(input: unknown): string {
  return input instanceof OddNumber ? input.source : (JSON.stringify(input) ?? String(input))
}

const flag = (description: string) =>
  z
    .boolean({ error: says((input) => `${shown(input)} is neither true nor false`, 'Write true or false') })
    .prefault(false)
    .meta({ description })

const oneOf = <const T extends string>(
  values: readonly [T, ...T[]],
  fallback: NoInfer<T>,
  description: string,
) =>
  z
    .enum(values, {
      error: says(
        (input) => `${shown(input)} is not one of ${values.join(', ')}`,
        `Write ${values.join(' or ')}`,
      ),
    })
    .prefault(fallback)
    .meta({ description })

/** A timer of Node counts to 2^31-1 ms; beyond, it fires at once. */
const MAX_DURATION_MS = 2 ** 31 - 1
const DURATION_MEND = 'Write a number with a unit: 500ms, 10s, 2m or 1h'

const duration = (minimumMs: number, fallback: string, description: string) => {
  const inRange = (value: string) => {
    const length = ms(value as ms.StringValue)
    return length >= minimumMs && length <= MAX_DURATION_MS
  }
  const wrong = says((input) => `${shown(input)} is not a duration`, DURATION_MEND)
  const outside = says(
    (input) => `${shown(input)} is out of range`,
    `Write a duration from ${ms(minimumMs)} to ${ms(MAX_DURATION_MS)}`,
  )
  return z
    .string({ error: wrong })
    .regex(/^\d{1,10}(\.\d{1,3})?(ms|s|m|h|d)$/, { error: wrong, abort: true })
    .refine(inRange, { error: outside })
    .transform((value) => Math.round(ms(value as ms.StringValue)))
    .prefault(fallback)
    .meta({ title: 'duration', description })
}

const count = (minimum: number, maximum: number, fallback: number, description: string) => {
  const error = says(
    (input) => `${shown(input)} is not a whole number from ${minimum} to ${maximum}`,
    `Write a whole number from ${minimum} to ${maximum}, without quotes`,
  )
  return z
    .int({ error })
    .min(minimum, { error })
    .max(maximum, { error })
    .prefault(fallback)
    .meta({ description })
}

const plainText = (what: string) => {
  const error = says(`must be ${what}`, `Write ${what} (in quotes if it looks like a number)`)
  return z.string({ error }).min(1, { error })
}

const secretSource = z
  .union(
    [
      plainText('the value itself'),
      z.strictObject({
        env: z
          .string({ error: says('must be the name of a variable', 'Write its name, such as ACME_SECRET') })
          .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, {
            error: says(
              (input) => `${shown(input)} is not the name of a variable`,
              'Write its name alone, without $ or braces',
            ),
          })
          .meta({ description: 'The environment variable that holds the value.' }),
      }),
      z.strictObject({
        file: plainText('the path of a file').meta({
          description:
            "The file that holds the value, relative to the configuration file's folder. One trailing newline is cut. Others must not be able to read it, except below /run/secrets.",
        }),
      }),
      z.strictObject({
        command: z
          .array(plainText('text'), { error: says('must be a list', 'Write [program, argument, …]') })
          .min(1, { error: says('is empty', 'Write [program, argument, …]') })
          .meta({
            description:
              "The program and its arguments (no shell), run in the configuration file's folder; it prints the value. One trailing newline is cut.",
          }),
        timeout: duration(1, '10s', 'Longest time that the program may take.'),
      }),
    ],
    {
      error: says(
        'must be text, {env: NAME}, {file: PATH} or {command: [program, argument]}, and only one of them',
        'Write exactly one of them; put text that looks like a number in quotes',
      ),
    },
  )
  .meta({ id: 'secret', title: 'secret' })

const listenPath = z
  .string({ error: says('must be a path', 'Write the path of the socket, such as /run/procore-proxy.sock') })
  .check((context) => {
    const mistake = checkSocketPath(context.value)
    if (mistake) context.issues.push({ code: 'custom', message: text(mistake), input: context.value })
  })
  .meta({ description: "The socket's absolute path." })

/** Octal digits, with or without quotes and leading `0` or `0o`; the owner must be able to read and write. */
const fileMode = z
  .preprocess(
    (input) => (input instanceof OddNumber || typeof input === 'number' ? shown(input) : input),
    z
      .string({ error: says('must be a file mode', 'Write it in octal and quoted, such as "660"') })
      .regex(/^(0|0o)?[67][0-7]{2}$/, {
        error: says(
          (input) => `${shown(input)} is not a file mode that lets the owner read and write`,
          'Write it in octal and quoted, such as "660"',
        ),
      })
      .transform((digits) => Number.parseInt(digits.replace(/^0o/, ''), 8)),
  )
  .prefault('600')
  .meta({
    description: "The socket's permission bits, in octal.",
    title: 'file mode',
    type: ['string', 'integer'],
  })

const listenAddress = z
  .union(
    [
      z.string().transform((value, context): ListenAddress => {
        const address = parseListen(value)
        if ('kind' in address) return address
        context.issues.push({ code: 'custom', message: text(address), input: value })
        return z.NEVER
      }),
      z
        .strictObject({ path: listenPath, mode: fileMode })
        .transform(({ path, mode }): ListenAddress => ({ kind: 'unix', path, mode })),
    ],
    {
      error: says(
        (input) => (typeof input === 'number' ? `${input} is a port without a host` : 'is no listen address'),
        'Write host:port, "[IPv6]:port", unix:/path or {path: /path, mode: "660"}, such as 127.0.0.1:8377',
      ),
    },
  )
  .meta({ id: 'listenAddress', title: 'listen address' })

const companyId = z
  .preprocess(
    (input) => (typeof input === 'number' ? String(input) : input),
    z
      .string({
        error: (issue) => {
          const { input } = issue
          if (input instanceof OddNumber) {
            return text({
              message: `${input.source} is a number that would not be kept as it is written`,
              mend: `Quote it: "${input.source}"`,
            })
          }
          return says(
            () => 'is not a company id',
            'Write the id of the Procore company in quotes, such as "7656"',
          )(issue)
        },
      })
      .regex(/^\d{1,20}$/, {
        error: says(
          (input) => `${shown(input)} is not a company id`,
          'Write 1 to 20 digits in quotes, such as "7656"',
        ),
      }),
  )
  .meta({
    title: 'company id',
    type: ['string', 'integer'],
    minimum: 0,
    maximum: Number.MAX_SAFE_INTEGER,
    description: "Procore's id of the company: up to 20 digits. Quote it; beyond 2^53 it must be quoted.",
  })

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
  access: oneOf(
    ['read-write', 'read-only'],
    'read-write',
    'What callers may do: `read-only` lets GET, HEAD and OPTIONS through.',
  ),
  rewriteFileUrls: flag(
    'Whether URLs of files in JSON answers are rewritten so that they are fetched through the proxy.',
  ),
}

const company = z.strictObject({
  id: companyId,
  ...companyFields,
  default: flag('Whether it is used where a request names no company. At most one company is the default.'),
  listen: listenAddress
    .optional()
    .meta({ description: 'An address of its own, for tools that can set nothing but a host and a port.' }),
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

const origin = (description: string) =>
  z
    .string({
      error: says('must be an origin', 'Write a scheme and a host, such as https://api.example.com'),
    })
    .transform((value, context) => {
      const result = parseUpstreamOrigin(value)
      if (typeof result === 'string') return result
      context.issues.push({ code: 'custom', message: text(result), input: value })
      return z.NEVER
    })
    .meta({ title: 'origin', description })

const hostName = (description: string) =>
  z
    .string({ error: says('must be a host name', 'Write a host name, such as proxy.example.com') })
    .transform((value, context) => {
      const result = parseHostName(value)
      if (typeof result === 'string') return result
      context.issues.push({ code: 'custom', message: text(result), input: value })
      return z.NEVER
    })
    .meta({ title: 'host name', description })

const environment = z.strictObject({
  apiUrl: origin('The origin of the API. Plain http only to this machine.'),
  loginUrl: origin('The origin of the login server. Plain http only to this machine.'),
  fileDomain: hostName('The domain whose hosts serve files; without it, the host of the API.').optional(),
})

/** The list that a bare value stands for, or the list itself; JSON Schema knows both. */
const listOf = <T extends z.ZodType>(item: T, mend: string) =>
  z.array(item, { error: says('must be a list', mend) })

/** The schema of the file. Unknown keys are errors; defaults live here and nowhere else. */
export const fileSchema = z
  .strictObject({
    version: z
      .literal(1, {
        error: says(
          (input) => `${shown(input)} is not a version this program knows`,
          'Write 1, or leave it out',
        ),
      })
      .optional()
      .meta({ description: 'The version of this format.' }),
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
      })
      .prefault({})
      .meta({ description: 'Connections to Procore.' }),
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
        allowedOrigins: listOf(
          z
            .string({ error: says('must be an origin', 'Write one, such as https://app.example.com') })
            .check((context) => {
              const mistake = checkSerializedOrigin(context.value)
              if (mistake)
                context.issues.push({ code: 'custom', message: text(mistake), input: context.value })
            })
            .meta({ title: 'origin' }),
          'Write a list, such as [https://app.example.com]',
        )
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

/** The JSON Schema (draft 2020-12) of the file as a user writes it. */
export function jsonSchema(): Record<string, unknown> {
  const { $schema, ...rest } = z.toJSONSchema(fileSchema, { io: 'input' })
  return { $schema, $id: SCHEMA_URL, ...rest }
}
