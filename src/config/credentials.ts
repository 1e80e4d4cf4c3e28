// Every client id, client secret and client key of the settings, and the proxy's URL: read all at once, and judged.
import { placedAccounts } from './checks.ts'
import { chmod, isOpenToOthers } from './files.ts'
import { holdsCredentials, NO_PROXY_AT_ALL, parseProxyUrl } from './outbound.ts'
import { type Finding, keyOf, type Path } from './problems.ts'
import type { SecretSource, Settings } from './schema.ts'
import { readSecret, type SecretContext, secretFile } from './secrets.ts'

/** What was read. */
export interface Credentials {
  /** By key path; a value that is wrong is missing here. */
  readonly values: ReadonlyMap<string, string>
  readonly findings: readonly Finding[]
  /** Absolute paths of the files that secrets were read from. */
  readonly files: readonly string[]
}

type Kind = 'clientId' | 'clientSecret' | 'clientKey' | 'proxyUrl'

interface PlacedSecret {
  readonly path: Path
  readonly kind: Kind
  readonly source: SecretSource
}

function placedSecrets(settings: Settings): PlacedSecret[] {
  const ofAccounts = placedAccounts(settings).flatMap(({ path, account }): PlacedSecret[] => [
    { path: [...path, 'clientId'], kind: 'clientId', source: account.clientId },
    { path: [...path, 'clientSecret'], kind: 'clientSecret', source: account.clientSecret },
  ])
  const keys = settings.guard.clientKeys.map((source, index): PlacedSecret => {
    return { path: ['guard', 'clientKeys', index], kind: 'clientKey', source }
  })
  const { proxy } = settings.network
  const proxies: PlacedSecret[] =
    proxy === undefined ? [] : [{ path: ['network', 'proxy'], kind: 'proxyUrl', source: proxy }]
  return [...ofAccounts, ...keys, ...proxies]
}

/** Reads everything at the same time; what stands in `wrong` was judged already and is left alone. */
export async function readCredentials(
  settings: Settings,
  wrong: ReadonlySet<string>,
  context: SecretContext,
): Promise<Credentials> {
  const values = new Map<string, string>()
  const findings: Finding[] = []
  const placed = placedSecrets(settings).filter(({ path }) => !wrong.has(keyOf(path)))
  await Promise.all(
    placed.map(async ({ path, kind, source }) => {
      const value = await readSecret(source, context)
      const mistake = typeof value === 'string' ? unfit(kind, value) : value
      if (mistake !== undefined) findings.push({ path, ...mistake })
      else values.set(keyOf(path), value as string)
    }),
  )
  const files = placed.flatMap(({ source }) => secretFile(source, context.folder) ?? [])
  return { values, findings, files: [...new Set(files)] }
}

function unfit(kind: Kind, value: string): { message: string; mend: string } | undefined {
  if (kind === 'clientId' && !/^[\x21-\x7e]+$/.test(value)) {
    return {
      message: 'the client id holds blanks or characters that no client id has',
      mend: 'Copy it again from the Procore Developer Portal',
    }
  }
  // A field value of HTTP: printable ASCII, no blank at either end (RFC 9110 section 5.5).
  if (kind === 'clientKey' && !/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value)) {
    return {
      message: "the key can't be sent in a header",
      mend: 'Use printable ASCII without blanks at its ends, for instance what openssl rand -hex 32 prints',
    }
  }
  if (kind === 'proxyUrl' && value !== NO_PROXY_AT_ALL) {
    const url = parseProxyUrl(value)
    if ('message' in url) return url
  }
  return undefined
}

/** The configuration file that plain secrets stand in. */
export interface PlainSecretContext {
  /** Absolute; undefined where there is no file. */
  readonly file: string | undefined
  readonly mode: number
  readonly platform: NodeJS.Platform
  /** Whether the value at a path came from a flag or variable. */
  isOverridden(path: Path): boolean
}

/** Refuses plain secrets (and passwords in the proxy's URL) in a file that others can read; of plain client keys it only warns. */
export function checkPlainSecrets(
  settings: Settings,
  wrong: ReadonlySet<string>,
  { file, mode, platform, isOverridden }: PlainSecretContext,
): { readonly findings: readonly Finding[]; readonly warnings: readonly string[] } {
  if (file === undefined || platform === 'win32' || !isOpenToOthers(mode))
    return { findings: [], warnings: [] }
  const others = `others can read this file (mode ${mode.toString(8)})`
  const plain = placedSecrets(settings).filter(
    ({ path, source }) => typeof source === 'string' && !wrong.has(keyOf(path)) && !isOverridden(path),
  )
  const findings = plain
    .filter(
      ({ kind, source }) =>
        kind === 'clientSecret' || (kind === 'proxyUrl' && holdsCredentials(source as string)),
    )
    .map(({ path }) => ({ path, message: `a secret stands here, and ${others}`, mend: chmod(file) }))
  const warnings = plain
    .filter(({ kind }) => kind === 'clientKey')
    .map(({ path }) => `${file} ${keyOf(path)}: a key stands here, and ${others}. ${chmod(file)}`)
  return { findings, warnings }
}
