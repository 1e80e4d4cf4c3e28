// Defines the kinds of values in the configuration, and the messages for values that do not fit.
import ms from 'ms'
import * as z from 'zod/mini'
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

export const MISSING = 'is missing'

/**
 * The error of a value that does not fit; a value that is absent is always reported as missing. A zod issue holds one
 * text only, so message and fix are two lines of it, which issues.ts separates again.
 */
export function says(message: string | ((input: unknown) => string), fix: string) {
  return ({ input }: { readonly input?: unknown }): string => {
    if (input === undefined) return `${MISSING}\n${fix}`
    return `${typeof message === 'string' ? message : message(input)}\n${fix}`
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

/** Text that `parse` turns into something else, or reports as a mistake. The JSON Schema has the title. */
function parsed<T>(what: string, fix: string, parse: (value: string) => T | Mistake, title?: string) {
  const parsing = z.transform((value: string, context): T => {
    const result = parse(value)
    if (!isMistake(result)) return result
    context.issues.push({ code: 'custom', message: `${result.message}\n${result.fix}`, input: value })
    return z.NEVER
  })
  const type = z.pipe(z.string({ error: says(`must be ${what}`, fix) }), parsing)
  return title === undefined ? type : type.register(z.globalRegistry, { title })
}

/** For values that are kept as they are: `judge` only checks them. */
const unlessMistake = (judge: (value: string) => Mistake | undefined) => (value: string) =>
  judge(value) ?? value

/** Some values are text for the proxy but look like numbers to YAML. */
const numberAsText = (input: unknown) => (typeof input === 'number' ? String(input) : input)

export const flag = (fallback = false) =>
  z.prefault(z.boolean({ error: isNot('true or false', 'Write true or false, without quotes') }), fallback)

/** One of a few words. */
export const word = <const T extends string>(values: readonly [T, ...T[]]) =>
  z.enum(values, { error: isNot(`one of ${values.join(', ')}`, `Write ${values.join(' or ')}`) })

interface Quantity {
  readonly title: string
  readonly pattern: RegExp
  readonly examples: string
  readonly range: readonly [minimum: number, maximum: number]
  readonly show: (value: number) => string
  readonly read: (value: string) => number
}

/** A number with a unit; becomes a whole number of the smallest unit. */
function quantity({ title, pattern, examples, range: [minimum, maximum], show, read }: Quantity) {
  const fix = `Write a ${title} from ${show(minimum)} to ${show(maximum)}`
  const error = says((input) => `${shown(input)} is out of range`, fix)
  const inRange = z.refine<string>((value) => read(value) >= minimum && read(value) <= maximum, { error })
  const text = matching(pattern, `a ${title}`, `Write a number with a unit, such as ${examples}`).check(
    inRange,
  )
  const whole = z.transform((value: string) => Math.round(read(value)))
  return z.pipe(text, whole).register(z.globalRegistry, { title })
}

/** Node's timers count up to 2^31-1 ms, which is almost 25 days. With more, they fire immediately. */
const MAX_DURATION_MS = 24 * 24 * 60 * 60_000

/** Text such as `10s`; becomes milliseconds. */
export const duration = (minimumMs = 0) =>
  quantity({
    title: 'duration',
    pattern: /^\d{1,10}(\.\d{1,3})?(ms|s|m|h|d)$/,
    examples: '500ms, 10s, 2m or 1h',
    range: [minimumMs, MAX_DURATION_MS],
    show: (value) => ms(value),
    read: (value) => ms(value as ms.StringValue),
  })

const BYTES = new Map(Object.entries({ KB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }))

/** Text such as `64MB` (1000 based) or `64MiB` (1024 based), 1MB to 16GB; becomes bytes. */
export const size = quantity({
  title: 'size',
  pattern: /^\d{1,6}(KB|MB|GB|KiB|MiB|GiB)$/,
  examples: '64MB or 1GiB',
  range: [1e6, 16e9],
  show: (value) => (value < 1e9 ? `${value / 1e6}MB` : `${value / 1e9}GB`),
  read: (value) => Number.parseInt(value, 10) * Number(BYTES.get(value.replace(/^\d+/, ''))),
})

const PERCENTAGE_FIX = 'Write a whole one from 1% to 100%, such as 25%'
const percents = matching(/^(100|[1-9]\d?)%$/, 'a percentage', PERCENTAGE_FIX)
const asPart = z.transform((value: string) => Number.parseInt(value, 10) / 100)

/** Text such as `25%`; becomes a part, 0.01 to 1. */
export const percentage = z.pipe(percents, asPart).register(z.globalRegistry, { title: 'percentage' })

/** A whole number in a range. */
export const count = (minimum: number, maximum: number) => {
  const range = `a whole number from ${minimum} to ${maximum}`
  const error = isNot(range, `Write ${range}, without quotes`)
  return z.int({ error }).check(z.minimum(minimum, { error }), z.maximum(maximum, { error }))
}

/** Text that is not empty. */
export const plainText = (what: string) => {
  const error = says(`must be ${what}`, `Write ${what} (in quotes if it looks like a number)`)
  return z.string({ error }).check(z.minLength(1, { error: says('is empty', `Write ${what}`) }))
}

export function matching(pattern: RegExp, what: string, fix: string) {
  const error = isNot(what, fix)
  return z.string({ error }).check(z.regex(pattern, { error, abort: true }))
}

/** A map with these keys and no others. Its error lists these, and issues.ts puts it into words. */
export const map = <T extends z.core.$ZodLooseShape>(shape: T) =>
  z.strictObject(shape, { error: Object.keys(shape).join(' ') })

export const list = <T extends z.ZodMiniType>(item: T, fix: string) =>
  z.array(item, { error: says('must be a list', fix) })

/** A list that is empty if it is left out. */
export const listOf = <T extends z.ZodMiniType>(item: T, fix: string) => z.prefault(list(item, fix), [])

/** A list that has to have a value in it. */
export const fullListOf = <T extends z.ZodMiniType>(item: T, fix: string) =>
  list(item, fix).check(z.minLength(1, { error: says('is an empty list', fix) }))

/** A value of one of several kinds. */
export const oneOf = <const T extends readonly z.ZodMiniType[]>(
  kinds: T,
  message: string | ((input: unknown) => string),
  fix: string,
) => z.union(kinds, { error: says(message, fix) })

const ENV_FIX = 'Write the name alone, without $ or braces, such as ACME_SECRET'

/** Where a secret is kept; a timeout becomes milliseconds. */
export const secretSource = oneOf(
  [
    plainText('the value itself'),
    map({ env: matching(/^[A-Za-z_][A-Za-z0-9_]*$/, 'the name of a variable', ENV_FIX) }),
    map({ file: plainText('the path of a file') }),
    map({
      command: fullListOf(plainText('text'), 'Write [program, argument, …]'),
      timeout: z.prefault(duration(1), '10s'),
    }),
  ],
  (input) =>
    input === null
      ? 'is empty'
      : 'is neither text nor one of {env: NAME}, {file: PATH} and {command: [program, argument]}',
  'Write {env: NAME}, {file: PATH}, {command: [program, argument]}, or text (in quotes if it looks like a number)',
).register(z.globalRegistry, { id: 'secret', title: 'secret' })

const MODE_FIX = 'Write it in octal and in quotes, such as "660"'
const octal = z.pipe(
  z.transform((input) => (input instanceof OddNumber ? input.source : numberAsText(input))),
  matching(/^(0|0o)?[67][0-7]{2}$/, 'a file mode that lets the owner read and write', MODE_FIX),
)
const fromOctal = z.transform((digits: string) => Number.parseInt(digits.replace(/^0o/, ''), 8))

/** Octal digits, with or without quotes and a leading `0` or `0o`. */
const fileMode = z
  .prefault(z.pipe(octal, fromOctal), '600')
  .register(z.globalRegistry, { title: 'file mode', type: ['string', 'integer'] })

/** The message for something that is no listen address; `otherwise` unless it is a port alone. */
export const noAddress = (otherwise: string) => (input: unknown) =>
  typeof input === 'number' ? `${input} is a port without a host` : otherwise

const LISTEN_FIX =
  'Write host:port, "[IPv6]:port", unix:/path or {path: /path, mode: "660"}, such as 127.0.0.1:8377'
const SOCKET_FIX = 'Write the path of the socket, such as /run/procore-proxy.sock'
const socketPath = parsed('a path', SOCKET_FIX, unlessMistake(checkSocketPath))
const socket = z.pipe(
  map({ path: socketPath, mode: fileMode }),
  z.transform((socket): ListenAddress => ({ kind: 'unix', ...socket })),
)

/** `host:port`, `[v6]:port`, `unix:/path` or `{path, mode}`; becomes a {@link ListenAddress}. */
export const listenAddress = oneOf(
  [parsed('a listen address', LISTEN_FIX, parseListen), socket],
  noAddress('is not a listen address'),
  LISTEN_FIX,
).register(z.globalRegistry, { id: 'listenAddress', title: 'listen address' })

/** A decimal string. An unquoted number is accepted as long as no digit is lost. */
function decimalId(title: string, fix: string) {
  const error = isNot(`a ${title}`, fix)
  const text = z.string({
    error: (issue) => {
      const source = issue.input instanceof OddNumber ? issue.input.source : ''
      if (!/^\d+$/.test(source)) return error(issue)
      return `${source} is a number that would not be kept as it is written\nQuote it: "${source}"`
    },
  })
  const digits = text.check(z.regex(/^\d{1,20}$/, { error }))
  const range = { minimum: 0, maximum: Number.MAX_SAFE_INTEGER }
  return z
    .pipe(z.transform(numberAsText), digits)
    .register(z.globalRegistry, { title, type: ['string', 'integer'], ...range })
}

export const companyId = decimalId('company id', 'Write its 1 to 20 digits, such as "7656"')
export const projectId = decimalId('project id', 'Write its 1 to 20 digits, such as "316469"')

const nameError = says('must be the name of a company', 'Write a name from companies, such as acme')

/** The name of a company in this file; an unquoted number is read as text. */
export const companyName = z
  .pipe(z.transform(numberAsText), z.string({ error: nameError }))
  .register(z.globalRegistry, { type: ['string', 'integer'] })

const URL_FIX = 'Write one, such as https://procore.example.com'
const UPSTREAM_FIX = 'Write a scheme and a host, such as https://api.example.com'
const HOST_FIX = 'Write a host name, such as proxy.example.com'
const FILE_HOST_FIX = 'Write a host name, such as storage.example.com, or "*.example.com"'
const FILE_HOST_TITLE = 'host name or `*.` and a host name'
const ORIGIN_FIX = 'Write one, such as https://app.example.com'
const PATTERN_FIX = 'Write a path pattern, such as /rest/v1.0/projects/*/users or /rest/**'

/** An origin of Procore's; becomes its serialized form. */
export const origin = parsed('an origin', UPSTREAM_FIX, parseUpstreamOrigin, 'origin')

/** The URL at which the proxy is reached from outside; becomes an origin and perhaps a path, without a slash at its end. */
export const publicUrl = parsed('a URL', URL_FIX, parsePublicUrl, 'URL')

/** A host name or IP address; becomes lower case without a trailing dot. */
export const hostName = parsed('a host name', HOST_FIX, parseHostName, 'host name')

/** A host name, or `*.` and a host name; becomes lower case. */
export const fileHost = parsed('a host name', FILE_HOST_FIX, parseFileHost, FILE_HOST_TITLE)

/** A host that is reached without the outbound proxy; becomes a NoProxyEntry. */
export const noProxyEntry = parsed('a host name', HOST_FIX, parseNoProxy, 'host name')

/** An origin as browsers send it. */
export const webOrigin = parsed('an origin', ORIGIN_FIX, unlessMistake(checkSerializedOrigin), 'origin')

/** A path pattern of a rule. */
export const pathPattern = parsed('a path pattern', PATTERN_FIX, unlessMistake(checkPattern), 'path pattern')
const patternLists = [pathPattern, fullListOf(pathPattern, PATTERN_FIX)] as const
const pathPatterns = oneOf(patternLists, 'must be a path pattern or a list of them', PATTERN_FIX)

const METHODS_FIX = `Write a list of ${METHOD_WORDS.join(', ')}, or leave it out for all`
const method = z.enum(METHOD_WORDS, { error: isNot('a method that is forwarded', METHODS_FIX) })
const methods = z.optional(fullListOf(method, METHODS_FIX))

/** A rule: `{allow, methods}` or `{deny, methods}`. */
export const accessRule = oneOf(
  [map({ allow: pathPatterns, methods }), map({ deny: pathPatterns, methods })],
  'must have either allow or deny',
  'Write {deny: /rest/v1.0/companies/**} or {allow: /rest/v1.0/projects/**, methods: [GET]}',
).register(z.globalRegistry, { id: 'accessRule', title: 'access rule' })
