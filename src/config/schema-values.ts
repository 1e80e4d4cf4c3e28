// Defines the kinds of values in the configuration, and the messages for values that do not fit.
import ms from 'ms'
import * as z from 'zod'
import { checkPattern, METHOD_WORDS } from './access-rules.ts'
import {
  checkSerializedOrigin,
  checkSocketPath,
  parseFileHost,
  parseHostName,
  parseListen,
  parsePublicUrl,
  parseUpstreamOrigin,
} from './addresses.ts'
import type { ListenAddress } from './config.ts'
import { OddNumber } from './document.ts'
import { parseNoProxy } from './outbound.ts'
import { isMistake, type Mistake, quoted } from './problems.ts'

/** The message for a value that is not there. */
export const MISSING = 'is missing'

/**
 * Joins a message and its fix into one text, because that is all a zod issue can hold. issues.ts separates them
 * again.
 */
function text({ message, fix }: Mistake): string {
  return `${message}\n${fix}`
}

/** The error of a value that does not fit; a value that is absent is always reported as missing. */
export function says(message: string | ((input: unknown) => string), fix: string) {
  return ({ input }: { readonly input?: unknown }): string => {
    if (input === undefined) return text({ message: MISSING, fix })
    return text({ message: typeof message === 'string' ? message : message(input), fix })
  }
}

/** A value as messages show it. */
export function shown(input: unknown): string {
  if (input instanceof OddNumber) return input.source
  if (typeof input === 'string') return quoted(input)
  // The content is never shown: after an indentation mistake it may be a secret.
  if (typeof input === 'object' && input !== null) return Array.isArray(input) ? 'a list' : 'a map'
  return String(input)
}

const isNot = (what: string, fix: string) => says((input) => `${shown(input)} is not ${what}`, fix)

/** Text that `parse` turns into something else, or reports as a mistake. */
function parsed<T>(what: string, fix: string, parse: (value: string) => T | Mistake) {
  return z.string({ error: says(`must be ${what}`, fix) }).transform((value, context): T => {
    const result = parse(value)
    if (!isMistake(result)) return result
    context.issues.push({ code: 'custom', message: text(result), input: value })
    return z.NEVER
  })
}

/** For values that are kept as they are: `parse` only checks them. */
const unlessMistake = (judge: (value: string) => Mistake | undefined) => (value: string) =>
  judge(value) ?? value

/** `true` or `false`. */
export const flag = (fallback = false) =>
  z.boolean({ error: isNot('true or false', 'Write true or false') }).prefault(fallback)

/** One of a few words. */
export const word = <const T extends string>(values: readonly [T, ...T[]]) =>
  z.enum(values, { error: isNot(`one of ${values.join(', ')}`, `Write ${values.join(' or ')}`) })

/** Node's timers count up to 2^31-1 ms. With more, they fire immediately. */
const MAX_DURATION_MS = 2 ** 31 - 1
const DURATION_FIX = 'Write a number with a unit, such as 500ms, 10s, 2m or 1h'

/** Text such as `10s`; becomes milliseconds. */
export const duration = (minimumMs = 0) => {
  const wrong = isNot('a duration', DURATION_FIX)
  const range = `Write a duration from ${ms(minimumMs)} to ${ms(MAX_DURATION_MS)}`
  return z
    .string({ error: wrong })
    .regex(/^\d{1,10}(\.\d{1,3})?(ms|s|m|h|d)$/, { error: wrong, abort: true })
    .refine((value) => isBetween(minimumMs, ms(value as ms.StringValue), MAX_DURATION_MS), {
      error: says((input) => `${shown(input)} is out of range`, range),
    })
    .transform((value) => Math.round(ms(value as ms.StringValue)))
    .meta({ title: 'duration' })
}

const BYTES: Readonly<Record<string, number>> = {
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
}

function bytesOf(size: string): number {
  return Number.parseInt(size, 10) * Number(BYTES[size.replace(/^\d+/, '')])
}

function isBetween(minimum: number, value: number, maximum: number): boolean {
  return value >= minimum && value <= maximum
}

/** Text such as `64MB` (1000 based) or `64MiB` (1024 based); becomes bytes. */
export const size = (minimum: number, maximum: number) => {
  const wrong = isNot('a size', 'Write a number with a unit, such as 64MB or 1GiB')
  const range = `Write a size from ${minimum / 1e6}MB to ${maximum / 1e9}GB`
  return z
    .string({ error: wrong })
    .regex(/^\d{1,6}(KB|MB|GB|KiB|MiB|GiB)$/, { error: wrong, abort: true })
    .refine((value) => isBetween(minimum, bytesOf(value), maximum), {
      error: says((input) => `${shown(input)} is out of range`, range),
    })
    .transform(bytesOf)
    .meta({ title: 'size' })
}

/** Text such as `25%`; becomes a part, 0.01 to 1. */
export const percentage = z
  .string({ error: isNot('a percentage', 'Write one from 1% to 100%, such as 25%') })
  .regex(/^(100|[1-9]\d?)%$/, {
    error: isNot('a percentage', 'Write a whole one from 1% to 100%, such as 25%'),
  })
  .transform((value) => Number.parseInt(value, 10) / 100)
  .meta({ title: 'percentage' })

/** A whole number in a range. */
export const count = (minimum: number, maximum: number) => {
  const range = `a whole number from ${minimum} to ${maximum}`
  const error = isNot(range, `Write ${range}, without quotes`)
  return z.int({ error }).min(minimum, { error }).max(maximum, { error })
}

/** Text that is not empty. */
export const plainText = (what: string) => {
  const error = says(`must be ${what}`, `Write ${what} (in quotes if it looks like a number)`)
  return z.string({ error }).min(1, { error })
}

/** Text that matches a pattern. */
export const matching = (pattern: RegExp, what: string, fix: string) =>
  z.string({ error: isNot(what, fix) }).regex(pattern, { error: isNot(what, fix) })

/** A list of values of one kind. */
export const listOf = <T extends z.ZodType>(item: T, fix: string) =>
  z.array(item, { error: says('must be a list', fix) })

/** A list that has to have a value in it. */
export const fullListOf = <T extends z.ZodType>(item: T, fix: string) =>
  listOf(item, fix).min(1, { error: says('is an empty list', fix) })

/** Where a secret is kept; a timeout becomes milliseconds. */
export const secretSource = z
  .union(
    [
      plainText('the value itself'),
      z.strictObject({
        env: matching(
          /^[A-Za-z_][A-Za-z0-9_]*$/,
          'the name of a variable',
          'Write the name alone, without $ or braces, such as ACME_SECRET',
        ),
      }),
      z.strictObject({
        file: plainText('the path of a file'),
      }),
      z.strictObject({
        command: fullListOf(plainText('text'), 'Write [program, argument, …]'),
        timeout: duration(1).prefault('10s'),
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

const FILE_MODE = isNot(
  'a file mode that lets the owner read and write',
  'Write it in octal and in quotes, such as "660"',
)

/** Octal digits, with or without quotes and a leading `0` or `0o`. */
const fileMode = z
  .preprocess(
    (input) => (input instanceof OddNumber || typeof input === 'number' ? shown(input) : input),
    z
      .string({ error: FILE_MODE })
      .regex(/^(0|0o)?[67][0-7]{2}$/, { error: FILE_MODE })
      .transform((digits) => Number.parseInt(digits.replace(/^0o/, ''), 8)),
  )
  .prefault('600')
  .meta({
    title: 'file mode',
    type: ['string', 'integer'],
  })

const LISTEN_FIX =
  'Write host:port, "[IPv6]:port", unix:/path or {path: /path, mode: "660"}, such as 127.0.0.1:8377'

/** `host:port`, `[v6]:port`, `unix:/path` or `{path, mode}`; becomes a {@link ListenAddress}. */
export const listenAddress = z
  .union(
    [
      parsed('a listen address', LISTEN_FIX, parseListen),
      z
        .strictObject({
          path: parsed(
            'a path',
            'Write the path of the socket, such as /run/procore-proxy.sock',
            unlessMistake(checkSocketPath),
          ),
          mode: fileMode,
        })
        .transform(({ path, mode }): ListenAddress => ({ kind: 'unix', path, mode })),
    ],
    {
      error: says(
        (input) =>
          typeof input === 'number' ? `${input} is a port without a host` : 'is not a listen address',
        LISTEN_FIX,
      ),
    },
  )
  .meta({ id: 'listenAddress', title: 'listen address' })

/** A decimal string. An unquoted number is accepted as long as no digit is lost. */
const decimalId = (what: string, fix: string) =>
  z
    .preprocess(
      (input) => (typeof input === 'number' ? String(input) : input),
      z
        .string({
          error: (issue) => {
            if (!(issue.input instanceof OddNumber)) return says(`is not ${what}`, fix)(issue)
            const { source } = issue.input
            return text({
              message: `${source} is a number that would not be kept as it is written`,
              fix: `Quote it: "${source}"`,
            })
          },
        })
        .regex(/^\d{1,20}$/, { error: isNot(what, fix) }),
    )
    .meta({
      title: what.replace(/^an? /, ''),
      type: ['string', 'integer'],
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
    })

/** Procore's id of a company. */
export const companyId = decimalId('a company id', 'Write its 1 to 20 digits, such as "7656"')

/** Procore's id of a project. */
export const projectId = decimalId('a project id', 'Write its 1 to 20 digits, such as "316469"')

/** The name of something in this file; an unquoted number is read as text. */
export const reference = (what: string, fix: string) =>
  z
    .preprocess(
      (input) => (typeof input === 'number' ? String(input) : input),
      z.string({ error: says(`must be ${what}`, fix) }),
    )
    .meta({ type: ['string', 'integer'] })

/** An origin of Procore's; becomes its serialized form. */
export const origin = parsed(
  'an origin',
  'Write a scheme and a host, such as https://api.example.com',
  parseUpstreamOrigin,
).meta({ title: 'origin' })

/**
 * The URL at which the proxy is reached from outside; becomes an origin, perhaps with a path, without a trailing
 * slash.
 */
export const publicUrl = parsed(
  'a URL',
  'Write one, such as https://procore.example.com',
  parsePublicUrl,
).meta({
  title: 'URL',
})

const HOST_FIX = 'Write a host name, such as proxy.example.com'

/** A host name or IP address; becomes lower case without a trailing dot. */
export const hostName = parsed('a host name', HOST_FIX, parseHostName).meta({ title: 'host name' })

/** A host name, or `*.` and a host name; becomes lower case. */
export const fileHost = parsed(
  'a host name',
  'Write a host name, such as storage.example.com, or "*.example.com"',
  parseFileHost,
).meta({ title: 'host name or `*.` and a host name' })

/** A host that is reached without the outbound proxy; becomes a NoProxyEntry. */
export const noProxyEntry = parsed('a host name', HOST_FIX, parseNoProxy).meta({ title: 'host name' })

/** An origin as browsers send it. */
export const webOrigin = parsed(
  'an origin',
  'Write one, such as https://app.example.com',
  unlessMistake(checkSerializedOrigin),
).meta({ title: 'origin' })

const PATTERN_FIX = 'Write a path pattern, such as /rest/v1.0/projects/*/users or /rest/**'

/** A path pattern of a rule. */
export const pathPattern = parsed('a path pattern', PATTERN_FIX, unlessMistake(checkPattern)).meta({
  title: 'path pattern',
})

const pathPatterns = z.union([pathPattern, fullListOf(pathPattern, PATTERN_FIX)], {
  error: says('must be a path pattern or a list of them', PATTERN_FIX),
})

const METHODS_FIX = `Write a list of ${METHOD_WORDS.join(', ')}, or leave it out for all`

const methods = fullListOf(
  z.enum(METHOD_WORDS, { error: isNot('a method that is forwarded', METHODS_FIX) }),
  METHODS_FIX,
).optional()

/** A rule: `{allow, methods}` or `{deny, methods}`. */
export const accessRule = z
  .union(
    [z.strictObject({ allow: pathPatterns, methods }), z.strictObject({ deny: pathPatterns, methods })],
    {
      error: says(
        'must have either allow or deny',
        'Write {deny: /rest/v1.0/companies/**} or {allow: /rest/v1.0/projects/**, methods: [GET]}',
      ),
    },
  )
  .meta({ id: 'accessRule', title: 'access rule' })
