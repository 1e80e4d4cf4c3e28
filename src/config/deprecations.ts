// What became of the format: a file of a newer one is told from mistakes, and keys of old names are moved to their new places.
import { OddNumber } from './document.ts'
import { isRawMap, type RawMap } from './issues.ts'
import { type Finding, keyOf, type Path } from './problems.ts'

/** A key that has another name, or stands elsewhere, since a version of the program. */
export interface Deprecation {
  /** Parts are names; `*` is any name (`"*"` among the companies too) or any item of a list: `companies.*.oldName`. */
  readonly old: string
  /** With as many `*`, which stand for the same names: `companies.*.newName`. */
  readonly now: string
  /** The first version that knows the new key: `0.2.0`. */
  readonly since: string
}

/**
 * Every key that was ever renamed; a value means the same in both places. `now` is a key of today's schema, so it changes where
 * that is renamed again; a section stands before the keys in it, which are then written below its new name. No entry is ever
 * removed: files are for years. Changes that no move can make need another `version` of the format.
 */
export const DEPRECATIONS: readonly Deprecation[] = []

/** A value that was moved. */
export interface Move {
  /** As it is written in the file. */
  readonly from: Path
  readonly to: Path
}

/** What was done to a file's values. */
export interface Renewal {
  readonly moves: readonly Move[]
  readonly warnings: readonly Finding[]
  readonly findings: readonly Finding[]
}

/** Moves what stands under old keys to the new ones, in `raw` itself. What stands under both is a mistake, and is told. */
export function renewKeys(raw: unknown, table: readonly Deprecation[]): Renewal {
  const moves: Move[] = []
  const warnings: Finding[] = []
  const findings: Finding[] = []
  const renewal = { moves, warnings, findings }
  if (!isRawMap(raw)) return renewal
  for (const { old, now, since } of table) {
    for (const path of pathsOf(raw, old.split('.'))) {
      const from = writtenAt(path, moves)
      const to = sameNames(now.split('.'), old.split('.'), path)
      const value = takeOut(raw, path, old.split('.'))
      const other = moves.find((move) => keyOf(move.to) === keyOf(to))?.from ?? to
      if (!isNothing(value, path) && !isNothing(valueAt(raw, to), to)) {
        const message = `is the old name of ${keyOf(to)}, and ${keyOf(other)} is there too`
        findings.push({ path: from, message, mend: `Keep one of the two, as ${keyOf(to)}` })
        continue
      }
      const mend = `Write ${keyOf(to)}; the old key still works`
      warnings.push({ path: from, message: `has been named ${keyOf(to)} since version ${since}`, mend })
      if (isNothing(value, path)) continue
      put(raw, to, value)
      moves.push({ from, to })
    }
  }
  return renewal
}

/** Where a value was written that is at `path` now. */
export function writtenAt(path: Path, moves: readonly Move[]): Path {
  // A key may have been moved within a section that was moved itself: the last move knows both.
  const move = moves.findLast(({ to }) => to.every((part, index) => part === path[index]))
  return move === undefined ? path : [...move.from, ...path.slice(move.to.length)]
}

/** Of a file that was made for a newer program, nothing else can be judged. */
export function newerFormat(raw: unknown): Finding | undefined {
  const version = isRawMap(raw) ? raw['version'] : undefined
  const number = version instanceof OddNumber ? Number(version.source) : version
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 2) return undefined
  return {
    path: ['version'],
    message: `this file is made for a newer procore-proxy: its format is version ${number}, and this one reads 1`,
    mend: 'Upgrade procore-proxy, or go back to the file that you had for this one',
  }
}

/** Every path that a pattern stands for and that is there. */
function pathsOf(value: unknown, pattern: readonly string[], before: Path = []): Path[] {
  const [part, ...rest] = pattern
  if (part === undefined) return [before]
  if (Array.isArray(value)) {
    return part === '*' ? value.flatMap((item, index) => pathsOf(item, rest, [...before, index])) : []
  }
  if (!isRawMap(value)) return []
  const names = part === '*' ? Object.keys(value) : [part].filter((name) => name in value)
  return names.flatMap((name) => pathsOf(value[name], rest, [...before, name]))
}

/** The new path, with the names that stand in the old one where the pattern has `*`. */
function sameNames(now: readonly string[], old: readonly string[], from: Path): Path {
  const names = from.filter((_, index) => old[index] === '*')
  return now.map((part) => (part === '*' ? (names.shift() as string | number) : part))
}

function valueAt(root: RawMap, path: Path): unknown {
  return path.reduce<unknown>((value, part) => (value as RawMap | null | undefined)?.[part], root)
}

/** A key at the top with nothing below it counts as left out. */
function isNothing(value: unknown, path: Path): boolean {
  return value === undefined || (value === null && path.length === 1)
}

/** Takes a value out; a section that held nothing else goes too, lest it be an unknown key itself. */
function takeOut(root: RawMap, path: Path, pattern: readonly string[]): unknown {
  const parent = valueAt(root, path.slice(0, -1)) as RawMap
  const key = path.at(-1) as string
  const value = parent[key]
  delete parent[key]
  const isSection = pattern.length > 1 && pattern.at(-2) !== '*'
  if (isSection && Object.keys(parent).length === 0) takeOut(root, path.slice(0, -1), pattern.slice(0, -1))
  return value
}

/** Puts a value where it belongs; where something that is no map stands in the way, the schema will say so. */
function put(root: RawMap, path: Path, value: unknown): void {
  let map: RawMap = root
  for (const part of path.slice(0, -1)) {
    map[part] ??= Object.create(null)
    const next = map[part]
    if (Array.isArray(next) || isRawMap(next)) map = next as RawMap
    else return
  }
  map[path.at(-1) as string] = value
}
