// The kinds of values in the configuration and the wording of what is wrong with them.
import ms from 'ms'
import * as z from 'zod'
import { checkPattern, METHOD_WORDS } from './access-rules.ts'
import {
  checkSerializedOrigin,
  checkSocketPath,
  parseHostName,
  parseListen,
  parsePublicUrl,
  parseUpstreamOrigin,
} from './addresses.ts'
import type { ListenAddress } from './config.ts'
import { OddNumber } from './document.ts'
import { parseNoProxy } from './outbound.ts'
import { type Mistake, quoted } from './problems.ts'

/** What is said of a value that is not there. */
export const MISSING = 'is missing'

/** Joins message and mend; issues.ts takes them apart again. */
export function text({ message, mend }: Mistake): string {
  return `${message}\n${mend}`
}

/** The error of a value that is no such thing; a missing value is called missing. */
export function says(message: string | ((input: unknown) => string), mend: string) {
  return (issue: { readonly input?: unknown }): string => {
    if (issue.input === undefined) return text({ message: MISSING, mend })
    return text({ message: typeof message === 'string' ? message : message(issue.input), mend })
  }
}

/** A value as messages show it. */
export function shown(input: unknown): string {
  if (input instanceof OddNumber) return input.source
  if (typeof input === 'string') return quoted(input)
  // Never what is inside: by a slip of indentation that may be a secret.
  if (typeof input === 'object' && input !== null) return Array.isArray(input) ? 'a list' : 'a map'
  return String(input)
}

/** `true` or `false`; `false` by default. */
export const flag = (description: string, otherwise = false) =>
  z
    .boolean({ error: says((input) => `${shown(input)} is neither true nor false`, 'Write true or false') })
    .prefault(otherwise)
    .meta({ description })

/** One of a few words. */
export const oneOf = <const T extends string>(
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

/** Text such as `10s`; becomes milliseconds. */
export const duration = (minimumMs: number, fallback: string, description: string) => {
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

/** A whole number in a range. */
export const count = (minimum: number, maximum: number, fallback: number, description: string) => {
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

/** Text that is not empty. */
export const plainText = (what: string) => {
  const error = says(`must be ${what}`, `Write ${what} (in quotes if it looks like a number)`)
  return z.string({ error }).min(1, { error })
}

/** Where a secret is kept; a timeout becomes milliseconds. */
export const secretSource = z
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
            "The file that holds the value, relative to the configuration file's folder. One trailing newline is cut. Others must not be able to read it, except below /run/secrets and /run/credentials.",
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
        'is neither text nor one of {env: NAME}, {file: PATH} and {command: [program, argument]}',
        'Write {env: NAME}, {file: PATH}, {command: [program, argument]}, or text (in quotes if it looks like a number)',
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

/** `host:port`, `[v6]:port`, `unix:/path` or `{path, mode}`; becomes a {@link ListenAddress}. */
export const listenAddress = z
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

/** A decimal string; an unquoted number while nothing of it is lost. */
export const companyId = z
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
        error: says((input) => `${shown(input)} is not a company id`, 'Write 1 to 20 digits, such as "7656"'),
      }),
  )
  .meta({
    title: 'company id',
    type: ['string', 'integer'],
    minimum: 0,
    maximum: Number.MAX_SAFE_INTEGER,
    description: "Procore's id of the company: up to 20 digits. Quote it; beyond 2^53 it must be quoted.",
  })

/** An origin of Procore's side; becomes its serialised form. */
export const origin = (description: string) =>
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

/** Where the proxy is reached from outside; becomes an origin, perhaps with a path, without a slash at its end. */
export const publicUrl = (description: string) =>
  z
    .string({ error: says('must be a URL', 'Write one, such as https://procore.example.com') })
    .transform((value, context) => {
      const result = parsePublicUrl(value)
      if (typeof result === 'string') return result
      context.issues.push({ code: 'custom', message: text(result), input: value })
      return z.NEVER
    })
    .meta({ title: 'URL', description })

/** A host name or IP address; becomes lower case without a trailing dot. */
export const hostName = (description: string) =>
  z
    .string({ error: says('must be a host name', 'Write a host name, such as proxy.example.com') })
    .transform((value, context) => {
      const result = parseHostName(value)
      if (typeof result === 'string') return result
      context.issues.push({ code: 'custom', message: text(result), input: value })
      return z.NEVER
    })
    .meta({ title: 'host name', description })

/** A host that is reached without the outbound proxy; becomes a NoProxyEntry. */
export const noProxyEntry = z
  .string({ error: says('must be a host name', 'Write a host name, such as example.com') })
  .transform((value, context) => {
    const result = parseNoProxy(value)
    if ('host' in result) return result
    context.issues.push({ code: 'custom', message: text(result), input: value })
    return z.NEVER
  })
  .meta({ title: 'host name' })

/** A list of values of one kind. */
export const listOf = <T extends z.ZodType>(item: T, mend: string) =>
  z.array(item, { error: says('must be a list', mend) })

/** An origin as browsers send it. */
export const webOrigin = z
  .string({ error: says('must be an origin', 'Write one, such as https://app.example.com') })
  .check((context) => {
    const mistake = checkSerializedOrigin(context.value)
    if (mistake) context.issues.push({ code: 'custom', message: text(mistake), input: context.value })
  })
  .meta({ title: 'origin' })

const pathPattern = z
  .string({
    error: says('must be a path pattern', 'Write one, such as /rest/v1.0/projects/*/users or /rest/**'),
  })
  .check((context) => {
    const mistake = checkPattern(context.value)
    if (mistake) context.issues.push({ code: 'custom', message: text(mistake), input: context.value })
  })
  .meta({ title: 'path pattern' })

const PATTERNS_MEND = 'Write a pattern or a list of them, such as /rest/v1.0/projects/*/users or /rest/**'

const pathPatterns = (description: string) =>
  z
    .union([pathPattern, z.array(pathPattern).min(1, { error: says('is an empty list', PATTERNS_MEND) })], {
      error: says('must be a path pattern or a list of them', PATTERNS_MEND),
    })
    .meta({ description })

const METHODS_MEND = `Write a list of ${METHOD_WORDS.join(', ')}, or leave it out for all`

const methods = listOf(
  z.enum(METHOD_WORDS, {
    error: says((input) => `${shown(input)} is not a method that is forwarded`, METHODS_MEND),
  }),
  METHODS_MEND,
)
  .min(1, { error: says('is an empty list', METHODS_MEND) })
  .optional()
  .meta({
    description:
      'The methods that it is for; without it, all. `reads` is GET, HEAD and OPTIONS, `writes` the others; GET covers HEAD.',
  })

/** A rule: `{allow, methods}` or `{deny, methods}`. */
export const accessRule = z
  .union(
    [
      z.strictObject({ allow: pathPatterns('The paths that it lets through.'), methods }),
      z.strictObject({ deny: pathPatterns('The paths that it refuses.'), methods }),
    ],
    {
      error: says(
        'must have either allow or deny',
        'Write {deny: /rest/v1.0/companies/**} or {allow: /rest/v1.0/projects/**, methods: [GET]}',
      ),
    },
  )
  .meta({ id: 'accessRule', title: 'access rule' })
