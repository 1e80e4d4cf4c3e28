// Describes what is wrong with a configuration: where, what, and how to fix it; and the error that contains all of it.

/** The path of a value: keys and list positions from the top of the file. */
export type Path = readonly (string | number)[]

/** What is wrong, and how to fix it. Neither ever contains a secret. */
export interface Mistake {
  readonly message: string
  readonly fix: string
}

/** A mistake at a key, before it is known whether a file, a variable or a flag set the value. */
export interface Finding extends Mistake {
  readonly path: Path
}

/** A mistake and the place that it comes from. */
export interface Problem extends Mistake {
  /** Absolute; absent if a flag or a variable is at fault. */
  readonly file?: string
  /** Starts at 1, like the column. */
  readonly line?: number
  readonly column?: number
  /** The path of a key (`companies.acme.id`), the name of a variable, or a flag; empty if the YAML itself is broken. */
  readonly key: string
}

/** Distinguishes a mistake from the result of a parser. */
export function isMistake(value: unknown): value is Mistake {
  return typeof value === 'object' && value !== null && 'message' in value && 'fix' in value
}

/** The items whose text an earlier item has too, each with that item. */
export function repeated<T>(items: readonly T[], textOf: (item: T) => string): [item: T, earlier: T][] {
  const first = new Map<string, T>()
  return items.flatMap((item): [T, T][] => {
    const earlier = first.get(textOf(item))
    if (earlier === undefined) first.set(textOf(item), item)
    return earlier === undefined ? [] : [[item, earlier]]
  })
}

/** Text in quotes, shortened, and without the password of a URL. */
export function quoted(text: string): string {
  const safe = text.replace(/\/\/.*@/s, '//…@')
  return JSON.stringify(safe.length > 80 ? `${safe.slice(0, 79)}…` : safe)
}

/** A path as messages show it: `companies."*".id`, `listen[1]`. */
export function keyOf(path: Path): string {
  const parts = path.map((part) => {
    if (typeof part === 'number') return `[${part}]`
    return `.${/^[\w-]+$/.test(part) ? part : JSON.stringify(part)}`
  })
  return parts.join('').replace(/^\./, '')
}

/** "Did you mean …? " if one of the known words is close to the one that was written; empty otherwise. */
export function didYouMean(word: string, known: readonly string[]): string {
  const plain = (text: string) => text.toLowerCase().replace(/[-_ ]/g, '')
  const most = word.length < 5 ? 1 : 2
  const [best] = known
    .map((name) => ({ name, distance: editDistance(plain(word), plain(name)) }))
    .sort((a, b) => a.distance - b.distance)
  return best !== undefined && best.distance <= most ? `Did you mean ${best.name}? ` : ''
}

/** The number of letters to insert, remove, replace or swap (optimal string alignment). Words are short. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return Number.POSITIVE_INFINITY
  const rows = [Array.from({ length: b.length + 1 }, (_, column) => column)]
  const at = (row: number, column: number) => rows[row]?.[column] as number
  for (let i = 1; i <= a.length; i += 1) {
    rows[i] = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = isSwapped ? at(i - 2, j - 2) + 1 : replaced
      rows[i]?.push(Math.min(replaced, swapped, at(i - 1, j) + 1, at(i, j - 1) + 1))
    }
  }
  return at(a.length, b.length)
}

/** One problem on one line: `FILE:LINE:COL KEY: message. fix`. */
export function renderProblem({ file, line, column, key, message, fix }: Problem): string {
  const place = line === undefined ? file : `${file}:${line}:${column}`
  const where = [place, key].filter((part) => part !== undefined && part !== '').join(' ')
  // Text from a file may contain line ends or escape sequences, but a problem has to stay on one line.
  const text = `${where === '' ? '' : `${where}: `}${message}. ${fix}`
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '\uFFFD')
}

/** Every problem of a configuration, in the order of the file; its message has one line for each. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly Problem[]
  /** The files that were read or are missing: a change of one may put it right. Empty if none was looked for. */
  readonly watchedFiles: readonly string[]

  constructor(problems: readonly Problem[], watchedFiles: readonly string[] = []) {
    const lineOf = ({ line = Number.MAX_SAFE_INTEGER }: Problem) => line
    const sorted = problems.toSorted((a, b) => lineOf(a) - lineOf(b) || (a.column ?? 0) - (b.column ?? 0))
    const unique = new Map(sorted.map((problem) => [renderProblem(problem), problem]))
    super([...unique.keys()].join('\n'))
    this.problems = Object.freeze([...unique.values()])
    this.watchedFiles = watchedFiles
  }
}
