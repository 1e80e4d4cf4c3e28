// Reads flags, variables and the file into one frozen Config, or reports every mistake at once.
import { dirname } from 'node:path'
import { assembleConfig } from './assemble.ts'
import { checkSettings } from './checks.ts'
import type { Config } from './config.ts'
import { checkPlainSecrets, readCredentials } from './credentials.ts'
import { type ConfigDocument, type Position, readDocument } from './document.ts'
import { checkAuditFile, readTextFile } from './files.ts'
import { isRawMap, readSettings } from './issues.ts'
import { readCaFile } from './outbound.ts'
import { applyOverrides, type Flags } from './overrides.ts'
import { ConfigError, type Finding, isMistake, keyOf, type Path, type Problem } from './problems.ts'
import { type FoundFile, findConfigFile, type SearchContext } from './search.ts'

/** Everything that a configuration is made from. */
export interface LoadInput extends Omit<SearchContext, 'flag'> {
  readonly flags: Flags
  /**
   * `false` reads no secret and requires no company, for commands that only need to know where a proxy listens.
   * Client ids, secrets and keys are then empty, and a company that variables define only in part is left out.
   */
  readonly resolveSecrets?: boolean
}

/** Far larger than any configuration. */
const MAX_FILE_BYTES = 1024 * 1024

/**
 * Reads the configuration.
 * @throws {ConfigError} with every mistake, in the order of the file.
 */
export async function loadConfig(input: LoadInput): Promise<Config> {
  const { flags, env, cwd, resolveSecrets = true, platform = process.platform } = input
  const found = findConfigFile({ ...input, flag: flags.config, platform })
  const file = found?.path
  const folder = found ? dirname(found.path) : cwd
  const { document, mode } = await readConfigFile(found)
  const layered = applyOverrides(document.value, { flags, env, cwd })
  const { settings, findings } = readSettings(layered.value)
  const wrong = new Set([...findings.map(({ path }) => keyOf(path)), ...layered.reported])
  const checked = checkSettings({ settings, raw: layered.value, wrong, sources: layered.sources })
  const sourceOf = (path: Path) =>
    path.map((_, index) => layered.sources.get(keyOf(path.slice(0, path.length - index)))).find(Boolean)
  const place = ({ path, message, fix }: Finding): Problem => {
    const source = sourceOf(path)
    return source === undefined
      ? placed(file, { path, message, fix, ...document.locate(path) })
      : { key: source, message, fix }
  }
  const problems = [
    ...document.problems.map((problem) => placed(file, problem)),
    ...[...findings, ...checked.findings].filter(({ path }) => !layered.reported.has(keyOf(path))).map(place),
  ]
  const warnings = [...layered.warnings, ...checked.warnings]

  if (!resolveSecrets) {
    if (problems.length > 0) throw new ConfigError(problems)
    // A company that variables define only in part has placeholders for the rest.
    const known = layered.reported.size > 0 ? { ...settings, companies: {}, callers: {} } : settings
    const watchedFiles = found ? [found.path] : []
    return assembleConfig({ settings: known, values: new Map(), file, folder, warnings, watchedFiles })
  }

  const credentials = await readCredentials(settings, wrong, { env, folder, platform })
  const ca = await readCaFile(settings, wrong, folder)
  const isOverridden = (path: Path) => sourceOf(path) !== undefined
  const plain = checkPlainSecrets(settings, wrong, { file, mode, platform, isOverridden })
  const others = [
    ...noCompany(layered.value, found),
    ...credentials.findings,
    ...ca.findings,
    ...(await checkAuditFile(settings.audit, folder)),
    ...plain.findings,
  ]
  problems.push(...layered.problems, ...others.map(place))
  if (problems.length > 0) throw new ConfigError(problems)
  warnings.push(...credentials.warnings, ...plain.warnings)
  return assembleConfig({
    settings,
    values: credentials.values,
    certificates: ca.certificates,
    file,
    folder,
    warnings: [...warnings, ...openToWriters(found, mode, platform)],
    watchedFiles: [...(found ? [found.path] : []), ...credentials.files, ...ca.files],
  })
}

/** A user who can write the file could direct the secrets to another login server. */
function openToWriters(found: FoundFile | undefined, mode: number, platform: NodeJS.Platform): string[] {
  if (found === undefined || platform === 'win32' || (mode & 0o022) === 0) return []
  return [
    `Other users can change ${found.path}, and could have your secrets sent elsewhere: chmod go-w ${found.path}`,
  ]
}

async function readConfigFile(
  found: FoundFile | undefined,
): Promise<{ readonly document: ConfigDocument; readonly mode: number }> {
  if (found === undefined) return { document: readDocument(''), mode: 0 }
  const file = await readTextFile(found.path, MAX_FILE_BYTES)
  if (isMistake(file)) throw new ConfigError([{ key: found.namedBy ?? '', ...file }])
  const document = readDocument(file.text)
  // Nothing else can be said about text that is not YAML.
  if (!document.readable)
    throw new ConfigError(document.problems.map((problem) => placed(found.path, problem)))
  return { document, mode: file.mode }
}

function placed(file: string | undefined, { path, ...rest }: Finding & Position): Problem {
  const { line, column, message, fix } = rest
  return { ...(file === undefined ? {} : { file, line, column }), key: keyOf(path), message, fix }
}

function noCompany(raw: unknown, found: FoundFile | undefined): Finding[] {
  if (!isRawMap(raw)) return []
  const companies = raw['companies']
  const isEmpty = companies === undefined || (isRawMap(companies) && Object.keys(companies).length === 0)
  if (!isEmpty) return []
  const variables = 'PROCORE_COMPANY_ID, PROCORE_CLIENT_ID and PROCORE_CLIENT_SECRET'
  if (found)
    return [{ path: ['companies'], message: 'no company is configured', fix: `Add one, or set ${variables}` }]
  return [
    {
      path: [],
      message: `there is no configuration: no file was found, and ${variables} are not set`,
      fix: 'Run procore-proxy init to write a file, or procore-proxy demo to try it without a Procore account',
    },
  ]
}
