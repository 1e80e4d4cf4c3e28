// Flags, variables and file → one frozen Config, or every mistake at once.
import { dirname } from 'node:path'
import { assembleConfig } from './assemble.ts'
import { checkSettings } from './checks.ts'
import type { Config } from './config.ts'
import { checkPlainSecrets, readCredentials } from './credentials.ts'
import {
  DEPRECATIONS,
  type Deprecation,
  type Move,
  newerFormat,
  renewKeys,
  writtenAt,
} from './deprecations.ts'
import { type ConfigDocument, readDocument } from './document.ts'
import { readTextFile } from './files.ts'
import { isRawMap, readSettings } from './issues.ts'
import { readCaFile } from './outbound.ts'
import { applyOverrides, type Flags } from './overrides.ts'
import { ConfigError, type Finding, keyOf, type Path, type Problem, renderProblem } from './problems.ts'
import { type FoundFile, findConfigFile } from './search.ts'

/** Everything a configuration is made from. */
export interface LoadInput {
  readonly flags: Flags
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  readonly homedir?: string
  readonly platform?: NodeJS.Platform
  /**
   * `false` reads no secret and asks for no company: for commands that only want to know where a proxy listens.
   * Client ids, secrets and keys are then empty, and a company that variables give only in part is left out.
   */
  readonly resolveSecrets?: boolean
}

/** Far beyond any configuration. */
const MAX_FILE_BYTES = 1024 * 1024

/**
 * Reads the configuration.
 * @param deprecations the old keys that are still read
 * @throws {ConfigError} with every mistake, in the order of the file.
 */
export async function loadConfig(
  input: LoadInput,
  deprecations: readonly Deprecation[] = DEPRECATIONS,
): Promise<Config> {
  const { flags, env, cwd, resolveSecrets = true, platform = process.platform } = input
  const found = findConfigFile({ ...input, flag: flags.config, platform })
  const { document, mode } = await readConfigFile(found)

  const renewal = renewKeys(document.value, deprecations)
  const layered = applyOverrides(document.value, { flags, env, cwd })
  const { settings, findings } = readSettings(layered.value)
  const wrong = new Set([...findings.map(({ path }) => keyOf(path)), ...layered.reported])
  const checked = checkSettings({ settings, raw: layered.value, wrong, sources: layered.sources })
  const sourceOf = (path: Path) =>
    path.map((_, index) => layered.sources.get(keyOf(path.slice(0, path.length - index)))).find(Boolean)
  const place = placer(found?.path, document, sourceOf, renewal.moves)
  const old = (finding: Finding) => placed(found?.path, { ...finding, ...document.locate(finding.path) })
  const oldKeys = renewal.warnings.map((finding) => renderProblem(old(finding)))
  const problems = [
    ...renewal.findings.map(old),
    ...document.problems.map((problem) => placed(found?.path, problem)),
    ...[...findings, ...checked.findings].filter(({ path }) => !layered.reported.has(keyOf(path))).map(place),
  ]

  if (!resolveSecrets) {
    if (problems.length > 0) throw new ConfigError(problems)
    // A stand-in for a piece that no variable gives is not a company.
    const known = layered.reported.size > 0 ? { ...settings, companies: {} } : settings
    const watchedFiles = found ? [found.path] : []
    const warnings = [...oldKeys, ...layered.warnings, ...checked.warnings]
    return assembleConfig({ settings: known, values: new Map(), file: found?.path, warnings, watchedFiles })
  }

  const folder = found ? dirname(found.path) : cwd
  const credentials = await readCredentials(settings, wrong, { env, folder, platform })
  const ca = await readCaFile(settings, wrong, folder)
  const isOverridden = (path: Path) => sourceOf(path) !== undefined
  const plain = checkPlainSecrets(settings, wrong, { file: found?.path, mode, platform, isOverridden })
  problems.push(
    ...layered.problems,
    ...[...noCompany(layered.value, found), ...credentials.findings, ...ca.findings, ...plain.findings].map(
      place,
    ),
  )
  if (problems.length > 0) throw new ConfigError(problems)
  return assembleConfig({
    settings,
    values: credentials.values,
    certificates: ca.certificates,
    file: found?.path,
    warnings: [
      ...oldKeys,
      ...layered.warnings,
      ...checked.warnings,
      ...plain.warnings,
      ...openToWriters(found, mode, platform),
    ],
    watchedFiles: [...(found ? [found.path] : []), ...credentials.files, ...ca.files],
  })
}

/** Whoever can change the file can have the secrets sent to a login server of their own. */
function openToWriters(found: FoundFile | undefined, mode: number, platform: NodeJS.Platform): string[] {
  if (found === undefined || platform === 'win32' || (mode & 0o022) === 0) return []
  return [
    `${found.path} can be changed by others, who could send your secrets elsewhere: chmod go-w ${found.path}`,
  ]
}

async function readConfigFile(
  found: FoundFile | undefined,
): Promise<{ readonly document: ConfigDocument; readonly mode: number }> {
  if (found === undefined) return { document: readDocument(''), mode: 0 }
  const file = await readTextFile(found.path, MAX_FILE_BYTES)
  if ('message' in file) throw new ConfigError([{ key: found.namedBy ?? '', ...file }])
  const document = readDocument(file.text)
  // What stands in a text that is no YAML can only be guessed at.
  if (!document.readable)
    throw new ConfigError(document.problems.map((problem) => placed(found.path, problem)))
  const newer = newerFormat(document.value)
  if (newer) throw new ConfigError([placed(found.path, { ...newer, ...document.locate(newer.path) })])
  return { document, mode: file.mode }
}

type Position = { readonly line: number; readonly column: number }

function placed(
  file: string | undefined,
  { path, message, mend, line, column }: Finding & Position,
): Problem {
  return { ...(file === undefined ? {} : { file, line, column }), key: keyOf(path), message, mend }
}

/** Gives findings their place: the flag or variable that set the value, else the file's line. */
function placer(
  file: string | undefined,
  document: ConfigDocument,
  sourceOf: (path: Path) => string | undefined,
  moves: readonly Move[],
): (finding: Finding) => Problem {
  return ({ path, message, mend }) => {
    const source = sourceOf(path)
    if (source !== undefined) return { key: source, message, mend }
    const written = writtenAt(path, moves)
    return placed(file, { path: written, message, mend, ...document.locate(written) })
  }
}

function noCompany(raw: unknown, found: FoundFile | undefined): Finding[] {
  if (!isRawMap(raw)) return []
  const companies = raw['companies']
  const isEmpty = companies === undefined || (isRawMap(companies) && Object.keys(companies).length === 0)
  if (!isEmpty) return []
  const variables = 'PROCORE_COMPANY_ID, PROCORE_CLIENT_ID and PROCORE_CLIENT_SECRET'
  if (found) {
    return [
      { path: ['companies'], message: 'no company is configured', mend: `Add one, or set ${variables}` },
    ]
  }
  return [
    {
      path: [],
      message: `there is no configuration: no file was found, and ${variables} are not set`,
      mend: 'Run procore-proxy init to write a file, or procore-proxy demo to try it without a Procore account',
    },
  ]
}
