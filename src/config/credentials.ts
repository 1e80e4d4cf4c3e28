// Reads and checks every secret of the settings: client ids and secrets, keys, URLs with passwords.
import { chmod, isOpenToOthers } from './files.ts'
import { holdsCredentials, NO_PROXY_AT_ALL, parseProxyUrl } from './outbound.ts'
import { placedAccounts, placedKeys } from './placed.ts'
import { type Finding, isMistake, keyOf, type Mistake, type Path } from './problems.ts'
import type { SecretSource, Settings } from './schema.ts'
import { secretFlaw } from './secret-flaw.ts'
import { readSecret, type SecretContext, secretFile } from './secrets.ts'
import { checkSharedUrl, sendsPasswordInClear } from './shared-url.ts'

/** What was read. */
export interface Credentials {
  /** By key path; a value that is wrong is missing here. */
  readonly values: ReadonlyMap<string, string>
  readonly findings: readonly Finding[]
  readonly warnings: readonly string[]
  /** Absolute paths of the files that secrets were read from. */
  readonly files: readonly string[]
}

type Kind = 'clientId' | 'clientSecret' | 'key' | 'proxyUrl' | 'sharedUrl'

interface PlacedSecret {
  readonly path: Path
  readonly kind: Kind
  readonly source: SecretSource
}

function placedSecrets(settings: Settings): PlacedSecret[] {
  const accounts = placedAccounts(settings).flatMap(({ path, account }): PlacedSecret[] => [
    { path: [...path, 'clientId'], kind: 'clientId', source: account.clientId },
    { path: [...path, 'clientSecret'], kind: 'clientSecret', source: account.clientSecret },
  ])
  const keys = placedKeys(settings).map(({ path, source }) => ({ path, kind: 'key' as const, source }))
  const urls = [
    { path: ['network', 'proxy'], kind: 'proxyUrl' as const, source: settings.network.proxy },
    { path: ['shared', 'url'], kind: 'sharedUrl' as const, source: settings.shared?.url },
  ].filter((placed): placed is typeof placed & { source: SecretSource } => placed.source !== undefined)
  return [...accounts, ...keys, ...urls]
}

/** Reads everything at the same time, except for values in `wrong`, which have been judged already. */
export async function readCredentials(
  settings: Settings,
  wrong: ReadonlySet<string>,
  context: SecretContext,
): Promise<Credentials> {
  const values = new Map<string, string>()
  const findings: Finding[] = []
  const warnings: string[] = []
  const placed = placedSecrets(settings).filter(({ path }) => !wrong.has(keyOf(path)))
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
    const flaw = kind === 'clientSecret' || kind === 'key' ? secretFlaw(value) : undefined
    if (flaw !== undefined) warnings.push(`${keyOf(path)}: ${flaw}`)
    if (kind === 'sharedUrl' && sendsPasswordInClear(value))
      warnings.push(`${keyOf(path)}: redis:// sends the password unencrypted. Use rediss:// if you can.`)
  }
  findings.push(...sharedKeys(settings, values))
  const files = placed.flatMap(({ source }) => secretFile(source, context.folder) ?? [])
  return { values, findings, warnings, files: [...new Set(files)] }
}

const KEY_FIX = 'Use a random one: procore-proxy key NAME makes one'
const MIN_KEY_LENGTH = 16

const JUDGES: Readonly<Record<Kind, (value: string) => Mistake | undefined>> = {
  clientId: (value) => {
    if (/^[\x21-\x7e]+$/.test(value)) return undefined
    const message = 'the client id contains blanks or characters that no client id has'
    return { message, fix: 'Copy it again from the Procore Developer Portal' }
  },
  clientSecret: () => undefined,
  key: (value) => {
    // A value that fits in an HTTP header: printable ASCII, no space at either end (RFC 9110, section 5.5).
    if (!/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value)) {
      const fix = `Use printable ASCII without blanks at the start or end. ${KEY_FIX}`
      return { message: "the key can't be sent in a header", fix }
    }
    if (value.length < MIN_KEY_LENGTH)
      return { message: `the key has fewer than ${MIN_KEY_LENGTH} characters`, fix: KEY_FIX }
    if (new Set(value).size === 1) return { message: 'the key is one character repeated', fix: KEY_FIX }
    return undefined
  },
  proxyUrl: (value) => {
    const url = value === NO_PROXY_AT_ALL ? undefined : parseProxyUrl(value)
    return isMistake(url) ? url : undefined
  },
  sharedUrl: checkSharedUrl,
}

/** A key identifies its caller, so no two callers may have the same one. */
function sharedKeys(settings: Settings, values: ReadonlyMap<string, string>): Finding[] {
  const owners = new Map<string, Path>()
  return placedKeys(settings).flatMap(({ path, owner }) => {
    const value = values.get(keyOf(path))
    if (value === undefined) return []
    const first = owners.get(value)
    if (first === undefined) owners.set(value, owner)
    if (first === undefined || keyOf(first) === keyOf(owner)) return []
    return [{ path, message: `${keyOf(first)} has the same key`, fix: 'Give each caller a key of its own' }]
  })
}

/** The configuration file that contains secrets as plain text. */
export interface PlainSecretContext {
  /** Absolute; undefined if there is no file. */
  readonly file: string | undefined
  readonly mode: number
  readonly platform: NodeJS.Platform
  /** Whether the value at a path came from a flag or variable. */
  isOverridden(path: Path): boolean
}

/** Refuses plain secrets, and URLs with passwords, in a file that others can read; for plain keys it only warns. */
export function checkPlainSecrets(
  settings: Settings,
  wrong: ReadonlySet<string>,
  { file, mode, platform, isOverridden }: PlainSecretContext,
): { readonly findings: readonly Finding[]; readonly warnings: readonly string[] } {
  if (file === undefined || platform === 'win32' || !isOpenToOthers(mode))
    return { findings: [], warnings: [] }
  const others = `is written here, and other users can read this file (mode ${mode.toString(8)})`
  const plain = placedSecrets(settings).filter(
    ({ path, source }) => typeof source === 'string' && !wrong.has(keyOf(path)) && !isOverridden(path),
  )
  const isSecret = ({ kind, source }: PlacedSecret) =>
    kind === 'clientSecret' || (kind.endsWith('Url') && holdsCredentials(source as string))
  return {
    findings: plain
      .filter(isSecret)
      .map(({ path }) => ({ path, message: `a secret ${others}`, fix: chmod(file) })),
    warnings: plain
      .filter(({ kind }) => kind === 'key')
      .map(({ path }) => `${file} ${keyOf(path)}: a key ${others}. ${chmod(file)}`),
  }
}
