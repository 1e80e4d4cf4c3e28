// Reads and checks every secret of the settings: client ids and secrets, keys, URLs with passwords.
import { type ExecFileException, execFile } from 'node:child_process'
import { resolve, sep } from 'node:path'
import { promisify } from 'node:util'
import ms from 'ms'
import { isLoopbackHost } from './addresses.ts'
import type { Config } from './config.ts'
import { chmod, isOnReadOnlyMount, isOpenToOthers, readTextFile } from './files.ts'
import { decoded, holdsCredentials, NO_PROXY_AT_ALL, parseProxyUrl } from './outbound.ts'
import { type Finding, isMistake, keyOf, type Mistake, type Path, repeated } from './problems.ts'
import { placedAccounts, placedKeys, type SecretSource, type Settings } from './schema.ts'

interface PlacedSecret {
  readonly path: Path
  readonly kind: keyof typeof JUDGES
  readonly source: SecretSource
}

function placedSecrets(settings: Settings): PlacedSecret[] {
  const { network, shared } = settings
  const accounts = placedAccounts(settings).flatMap(({ path, account }): PlacedSecret[] => [
    { path: [...path, 'clientId'], kind: 'clientId', source: account.clientId },
    { path: [...path, 'clientSecret'], kind: 'clientSecret', source: account.clientSecret },
  ])
  const keys = placedKeys(settings).map(({ path, source }): PlacedSecret => ({ path, kind: 'key', source }))
  const all = [...accounts, ...keys]
  if (network.proxy) all.push({ path: ['network', 'proxy'], kind: 'proxyUrl', source: network.proxy })
  if (shared) all.push({ path: ['shared', 'url'], kind: 'sharedUrl', source: shared.url })
  return all
}

/**
 * Reads everything at the same time, except for values in `wrong`, which have been judged already.
 * @returns `values` by key path, without those that are wrong; `files`: the absolute paths of what was read.
 */
export async function readCredentials(
  settings: Settings,
  wrong: ReadonlySet<string>,
  context: SecretContext,
) {
  const values = new Map<string, string>()
  const findings: Finding[] = []
  const warnings: { readonly path: Path; readonly text: string }[] = []
  const placed = placedSecrets(settings).filter(({ path }) => !isWrong(path, wrong))
  await Promise.all(
    placed.map(async ({ path, kind, source }) => {
      const value = await readSecret(source, context)
      const mistake = isMistake(value) ? value : JUDGES[kind](value)
      if (mistake !== undefined) findings.push({ path, ...mistake })
      else values.set(keyOf(path), value as string)
    }),
  )
  for (const { path, kind } of placed) {
    const value = values.get(keyOf(path)) ?? ''
    const flaw = kind.endsWith('Url')
      ? undefined
      : secretFlaw(value, kind === 'clientId' ? 'client id' : 'secret')
    if (flaw !== undefined) warnings.push({ path, text: flaw })
    if (kind === 'sharedUrl' && sendsPasswordInClear(value))
      warnings.push({ path, text: 'redis:// sends the password unencrypted. Use rediss:// if you can.' })
  }
  findings.push(...sharedKeys(settings, values))
  const files = placed.flatMap(({ source }) => secretFile(source, context.folder) ?? [])
  return { values, findings, warnings, files: [...new Set(files)] }
}

const KEY_FIX = 'Use a random one: procore-proxy key NAME makes one'
const MIN_KEY_LENGTH = 16

/** Whether a secret, or a part of how it is written, has been judged to be wrong already. */
function isWrong(path: Path, wrong: ReadonlySet<string>): boolean {
  const place = keyOf(path)
  return wrong.values().some((key) => key === place || key.startsWith(`${place}.`))
}

/** What is wrong with a value of each kind. */
const JUDGES = {
  clientId: (value: string): Mistake | undefined =>
    /^[\x21-\x7e]+$/.test(value) ? undefined : flawed('client id', value, NO_CLIENT_ID),
  clientSecret: (): undefined => undefined,
  key: (value: string): Mistake | undefined => {
    // A value that fits in an HTTP header: printable ASCII, no space at either end (RFC 9110, section 5.5).
    if (!/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value)) return flawed('key', value, NO_KEY)
    if (value.length < MIN_KEY_LENGTH)
      return { message: `the key has fewer than ${MIN_KEY_LENGTH} characters`, fix: KEY_FIX }
    if (new Set(value).size === 1) return { message: 'the key is one character repeated', fix: KEY_FIX }
    return undefined
  },
  proxyUrl: (value: string): Mistake | undefined => {
    const url = value === NO_PROXY_AT_ALL ? undefined : parseProxyUrl(value)
    return isMistake(url) ? url : undefined
  },
  sharedUrl: checkSharedUrl,
}

/** What it looks like, what is wrong with it, and how to fix it. */
type Flaw = readonly [pattern: RegExp, wrong: string, fix: string]

const FLAWS: readonly Flaw[] = [
  [/[\0\ufffd]/, 'looks like UTF-16 text', 'Save it as UTF-8'],
  [/^\ufeff|\ufeff$/, 'starts with a byte-order mark', 'Save it as UTF-8 without one'],
  [/^[\r\n]|[\r\n]$/, 'starts or ends with a line break', 'Remove empty lines before and after it'],
  [/^\s|\s$/, 'has leading or trailing spaces', 'Remove them'],
  [
    /^(?:".*"|'.*'|`.*`|\u201c.*\u201d|\u2018.*\u2019)$/s,
    'is in quotes, which count as part of it',
    'Remove them',
  ],
  [/[\r\n]/, 'contains a line break', 'Write it on one line'],
]
const COPY_FIX = 'Copy it again from the Procore Developer Portal'
const NO_CLIENT_ID: Flaw = [/^/, 'contains spaces or characters that are not valid in a client id', COPY_FIX]
const NO_KEY: Flaw = [/^/, "can't be sent in a header", `Use printable ASCII. ${KEY_FIX}`]

const flawOf = (value: string) => FLAWS.find(([pattern]) => pattern.test(value))

function flawed(what: string, value: string, otherwise: Flaw): Mistake {
  const [, wrong, fix] = flawOf(value) ?? otherwise
  return { message: `the ${what} ${wrong}`, fix }
}

/** A sentence about what is probably wrong with a secret or client id, without any part of it; undefined if nothing is wrong. */
export function secretFlaw(value: string, what = 'secret'): string | undefined {
  const flaw = flawOf(value)
  return flaw && `The ${what} ${flaw[1]}. ${flaw[2]}.`
}

const REDIS_FIX =
  'Write rediss://USER:PASSWORD@HOST:PORT (or redis://), with characters such as @ : / # ? % of the password as %40 %3A %2F %23 %3F %25'

/** Checks the text of `shared.url`. No message contains any part of it, because it may contain a password. */
export function checkSharedUrl(text: string): Mistake | undefined {
  const url = URL.parse(text)
  if (url === null || !/^rediss?:$/.test(url.protocol) || url.hostname === '')
    return { message: 'it is not a redis:// or rediss:// URL', fix: REDIS_FIX }
  if (!/^\/?\d*$/.test(url.pathname) || url.search !== '' || url.hash !== '')
    return { message: 'it has more than a host, a port and the number of a database', fix: REDIS_FIX }
  if (decoded(url.username) === undefined || decoded(url.password) === undefined)
    return { message: 'its user name or password has a % that encodes nothing', fix: REDIS_FIX }
  return undefined
}

/** Whether a password would be sent unencrypted over a network. */
export function sendsPasswordInClear(text: string): boolean {
  const url = URL.parse(text)
  return url?.protocol === 'redis:' && url.password !== '' && !isLoopbackHost(url.hostname)
}

/** A key identifies its caller, so no two callers may have the same one. */
function sharedKeys(settings: Settings, values: ReadonlyMap<string, string>): Finding[] {
  const read = placedKeys(settings).filter(({ path }) => values.has(keyOf(path)))
  return repeated(read, ({ path }) => String(values.get(keyOf(path)))).flatMap(([{ path, owner }, first]) => {
    if (keyOf(first.owner) === keyOf(owner)) return []
    const message = `${keyOf(first.owner)} has the same key`
    return [{ path, message, fix: 'Give each caller a key of its own' }]
  })
}

/** The configuration file that contains secrets as plain text; some values came from a flag or variable instead. */
interface PlainSecretContext extends Pick<Config, 'file'> {
  readonly mode: number
  isOverridden(path: Path): boolean
}

/** Refuses plain secrets, and URLs with passwords, in a file that others can read; for plain keys it only warns. */
export function checkPlainSecrets(
  settings: Settings,
  wrong: ReadonlySet<string>,
  { file, mode, isOverridden }: PlainSecretContext,
) {
  if (file === undefined || !isOpenToOthers(mode)) return { findings: [], warnings: [] }
  const others = `is written here, and other users can read this file (mode ${mode.toString(8)})`
  const plain = placedSecrets(settings).filter(
    ({ path, source }) => typeof source === 'string' && !isWrong(path, wrong) && !isOverridden(path),
  )
  const isSecret = ({ kind, source }: PlacedSecret) =>
    kind === 'clientSecret' || (kind.endsWith('Url') && holdsCredentials(source as string))
  const message = `a secret ${others}`
  return {
    findings: plain.filter(isSecret).map(({ path }) => ({ path, message, fix: chmod(file) })),
    warnings: plain
      .filter(({ kind }) => kind === 'key')
      .map(({ path }) => `${file} ${keyOf(path)}: a key ${others}. ${chmod(file)}`),
  }
}

/** Far longer than any secret. Stops a wrong path or program from filling the memory. */
const MAX_SECRET_BYTES = 64 * 1024

/**
 * Folders that container engines fill with secrets, which everyone in the container can read; and systemd's credentials,
 * whose mode (0440) reflects an access list with the service's user only.
 */
const SECRET_MOUNTS = ['/run/secrets', '/var/run/secrets', '/run/credentials']

/** Where secrets are looked for. */
export interface SecretContext {
  readonly env: NodeJS.ProcessEnv
  /** Relative paths start here, and programs run here. */
  readonly folder: string
}

/** The absolute path of a `{file}` secret; undefined for all other kinds. */
export const secretFile = (source: SecretSource, folder: string) =>
  typeof source === 'object' && 'file' in source ? resolve(folder, source.file) : undefined

/** The value of a secret, never empty; or a description of what is wrong that contains no part of it. */
export async function readSecret(source: SecretSource, context: SecretContext): Promise<string | Mistake> {
  if (typeof source === 'string') return notEmpty(source, 'the value', 'Write the value')
  if ('env' in source) {
    const { env: name } = source
    const value = context.env[name]
    if (value) return notEmpty(value, `the variable ${name}`, `Set ${name} to the value`)
    return { message: `the variable ${name} is not set`, fix: `Set ${name} in the environment of the proxy` }
  }
  if ('file' in source) return readFromFile(resolve(context.folder, source.file))
  return readFromProgram(source.command, source.timeout, context)
}

const notEmpty = (value: string, what: string, fix: string): string | Mistake =>
  value.trim() === '' ? { message: `${what} is empty`, fix } : value
const withoutNewline = (text: string) => text.replace(/\r?\n$/, '')

async function readFromFile(path: string): Promise<string | Mistake> {
  const file = await readTextFile(path, MAX_SECRET_BYTES)
  if ('message' in file) return file
  const isMounted = SECRET_MOUNTS.some((mount) => path.startsWith(mount + sep))
  // On a read-only volume, such as a secret in Kubernetes, chmod is not possible.
  if (!isMounted && isOpenToOthers(file.mode) && !(await isOnReadOnlyMount(path)))
    return { message: `other users can read ${path} (mode ${file.mode.toString(8)})`, fix: chmod(path) }
  return notEmpty(withoutNewline(file.text), path, 'Write the secret into it')
}

const PRINT_FIX = 'Make it print the secret and nothing else'

async function readFromProgram(
  [program = '', ...args]: readonly string[],
  timeout: number,
  { env, folder: cwd }: SecretContext,
): Promise<string | Mistake> {
  const limits = { timeout, killSignal: 'SIGKILL', maxBuffer: MAX_SECRET_BYTES } as const
  try {
    const running = promisify(execFile)(program, args, { cwd, env, windowsHide: true, ...limits })
    // A program that asks for input reads the end of file instead of waiting until the timeout.
    running.child.stdin?.on('error', () => {}).end()
    return notEmpty(withoutNewline((await running).stdout), `the output of ${program}`, PRINT_FIX)
  } catch (error) {
    return failureOf(program, error as ExecFileException, timeout)
  }
}

/** What a failure means. The error's own message is not used, as it contains what the program wrote. */
function failureOf(program: string, { code, signal, killed }: ExecFileException, timeoutMs: number): Mistake {
  const unfit = `${JSON.stringify(program)} can't be started`
  if (String(code).startsWith('ERR_INVALID'))
    return { message: unfit, fix: 'Correct the program and its arguments' }
  if (code === 'ENOENT')
    return { message: `the program ${program} was not found`, fix: 'Install it, or write its full path' }
  if (code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER')
    return { message: `${program} printed more than 64 KiB`, fix: PRINT_FIX }
  const late = `${program} did not finish within ${ms(timeoutMs)}`
  if (killed) return { message: late, fix: 'Make it faster, or increase its timeout' }
  const end = typeof code === 'number' ? `exit status ${code}` : (signal ?? code)
  const fix = 'Run it by hand to see why, as its output is not shown here'
  return { message: `${program} failed (${end})`, fix }
}
