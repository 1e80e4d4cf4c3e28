// Validates raw values with the schema: every mistake becomes a finding, and the rest becomes settings for further checks.
import type { z } from 'zod/mini'
import { didYouMean, type Finding, keyOf, type Path } from './problems.ts'
import { fileSchema } from './schema.ts'
import { MISSING } from './schema-values.ts'

/** A map of the file; it has no prototype, so every name is just a name. */
export type RawMap = Record<string, unknown>

/** Whether a raw value is a map. */
export function isRawMap(value: unknown): value is RawMap {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null
}

/** The value that replaces a wrong one below a key, so that its neighbors are still checked. */
const TEXTS = ['serviceAccount', 'clientId', 'clientSecret', 'key', 'clientKeys', 'companies']
const PLACEHOLDERS = new Map<unknown, unknown>([
  ...TEXTS.map((key): [string, string] => [key, 'placeholder']),
  ['id', '0'],
  ['apiUrl', 'https://placeholder.invalid'],
  ['loginUrl', 'https://placeholder.invalid'],
  ['listen', '127.0.0.1:0'],
  ['allowedHosts', 'placeholder.invalid'],
  ['rules', { deny: '/rest/placeholder' }],
  ['allow', { allow: '/rest/placeholder' }],
  ['keep', { paths: ['/rest/placeholder'], for: '1s' }],
  ['paths', ['/rest/placeholder']],
])

const UNKNOWN_KEY = 'is not a known key'

/** More rounds than any real file needs; each one removes at least one value. */
const MAX_ROUNDS = 200

/**
 * Reads settings from raw values. Never throws. Wrong values are replaced by defaults or placeholders, so the settings
 * can't be used if there are findings. `wrong`: the key paths of wrong values, and of those that were replaced.
 */
export function readSettings(raw: unknown) {
  const findings = new Map<string, Finding>()
  const wrong = new Set<string>()
  if (!isRawMap(raw)) {
    const fix = 'Start with keys such as companies: (see config/procore-proxy.sample.yaml)'
    const finding = { path: [], message: 'the file is not a map of keys and values', fix }
    return { settings: fileSchema.parse({}), findings: [finding], wrong }
  }
  const value = copy(raw) as RawMap
  const replaced = new Set<string>()
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const result = fileSchema.safeParse(value, { jitless: true })
    if (result.success) return { settings: result.data, findings: [...findings.values()], wrong }
    const wholes = new Map<string, Path>()
    for (const finding of result.error.issues.flatMap((issue) => judge(issue, []).findings)) {
      const { path } = finding
      const key = keyOf(path)
      // In later rounds, a value is also wrong because something in it was removed, or because of a placeholder.
      const placeholder = path.map((_, at) => path.slice(0, at + 1)).find((each) => replaced.has(keyOf(each)))
      const isConsequence = placeholder ?? findings.keys().some((told) => isBelow(told, key))
      if (!findings.has(key) && !isConsequence) findings.set(key, finding)
      const whole = placeholder ?? wholeOf(path)
      wholes.set(keyOf(whole), whole)
      wrong.add(key).add(keyOf(whole))
    }
    // If a value that is missing has no placeholder, the map that it is missing from is replaced or removed.
    for (let path of wholes.values())
      while (path.length > 0 && !replace(value, path, replaced)) path = path.slice(0, -1)
  }
  return { settings: fileSchema.parse({}), findings: [...findings.values()], wrong }
}

function copy(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copy)
  if (!isRawMap(value)) return value
  const result: RawMap = Object.create(null)
  for (const [key, inner] of Object.entries(value)) result[key] = copy(inner)
  return result
}

/** Whether the first key is one of those in the map or list at the second. */
function isBelow(key: string, whole: string): boolean {
  return key.startsWith(`${whole}.`) || key.startsWith(`${whole}[`)
}

/** Replaces a value by its placeholder, or removes it; false if there is nothing to do. `replaced`: where placeholders are. */
function replace(root: RawMap, path: Path, replaced: Set<string>): boolean {
  const key = path.at(-1) as string
  const parent = valueAt(root, path.slice(0, -1)) as RawMap | undefined
  // It was removed or replaced together with the list or map that contained it. A placeholder itself is never changed.
  if (typeof parent !== 'object' || PLACEHOLDERS.values().some((each) => each === parent)) return true
  const old = parent[key]
  // Whether the other rules deny anything depends on whether the wrong one does.
  const isAllow = isRawMap(old) && 'allow' in old && !('deny' in old)
  const name = isAllow ? 'allow' : path.findLast((part) => typeof part === 'string')
  // A placeholder that does not fit here, as under a company with such a name, is removed in the next round.
  const placeholder = replaced.has(keyOf(path)) ? undefined : PLACEHOLDERS.get(name)
  if (placeholder === undefined) return isRawMap(parent) && key in parent && delete parent[key]
  parent[key] = placeholder
  replaced.add(keyOf(path))
  return true
}

/** The path of the value that is replaced as a whole: an item of a list, or a key of an item of `cache.keep`. */
function wholeOf(path: Path): Path {
  if (path[0] === 'cache') return path.slice(0, 4)
  const end = path.findIndex((part) => typeof part === 'number')
  return end === -1 ? path : path.slice(0, end + 1)
}

/** The raw value at a path; undefined if there is none. */
export function valueAt(root: RawMap, path: Path): unknown {
  return path.reduce<unknown>((value, part) => (value as RawMap | undefined)?.[part], root)
}

/** `foreign`: the value's type is another one than the schema is for. */
type Judgement = Readonly<{ findings: readonly Finding[]; foreign: boolean }>

function judge(issue: z.core.$ZodIssue, prefix: Path): Judgement {
  const path = [...prefix, ...(issue.path as (string | number)[])]
  const here = issue.path.length === 0
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = issue.message.split(' ')
      return { findings: issue.keys.map((key) => unknownKey([...path, key], known)), foreign: false }
    }
    case 'invalid_union':
      return closestBranch(issue, path, here)
    default:
      return { findings: [{ path, ...split(issue.message) }], foreign: here && issue.code === 'invalid_type' }
  }
}

/** How far a branch is from what was written. Unknown keys count more than any number of wrong values. */
const misfit = (findings: readonly Finding[]) =>
  findings.length + 1000 * findings.filter(({ message }) => [MISSING, UNKNOWN_KEY].includes(message)).length

/** The findings of the branch of a union that was probably meant; the union's own if no branch stands out. */
function closestBranch(issue: z.core.$ZodIssueInvalidUnion, path: Path, here: boolean): Judgement {
  const branches = issue.errors
    .map((issues) => issues.map((inner) => judge(inner, path)))
    .filter((judgements) => !judgements.some((judgement) => judgement.foreign))
    .map((judgements) => judgements.flatMap((judgement) => judgement.findings))
    .sort((a, b) => misfit(a) - misfit(b))
  const [first, second] = branches
  if (first === undefined || (second !== undefined && misfit(second) === misfit(first))) {
    return { findings: [{ path, ...split(issue.message) }], foreign: here && first === undefined }
  }
  return { findings: first, foreign: false }
}

/** Takes a schema error's text into message and fix. Only maps have no wording of their own. */
function split(text: string): { message: string; fix: string } {
  const [message = '', fix] = text.split('\n')
  if (fix !== undefined) return { message, fix }
  return { message: 'must be a map of keys and values', fix: 'Write its keys below it, indented' }
}

function unknownKey(path: Path, known: readonly string[]): Finding {
  const keysAre = known.length > 1 ? 'keys here are' : 'only key here is'
  const fix = didYouMean(String(path.at(-1)), known).trim() || `The ${keysAre} ${known.join(', ')}`
  return { path, message: UNKNOWN_KEY, fix }
}
