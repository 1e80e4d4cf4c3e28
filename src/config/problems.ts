// What is wrong with a configuration: where it stands, what it is, how to mend it; and the error that carries all of it.

/** The way to a value: keys and list positions from the top of the file. */
export type Path = readonly (string | number)[]

/** What is wrong and what to do about it. Neither ever holds a secret. */
export interface Mistake {
  readonly message: string
  readonly mend: string
}

/** A mistake at a key, before it is known whether a file, a variable or a flag put the value there. */
export interface Finding extends Mistake {
  readonly path: Path
}

/** A mistake and the place it comes from. */
export interface Problem extends Mistake {
  /** Absolute; absent where a flag or a variable is at fault. */
  readonly file?: string
  /** From 1. */
  readonly line?: number
  /** From 1. */
  readonly column?: number
  /** The path of a key (`companies.acme.id`), a variable's name or a flag; empty where YAML itself is broken. */
  readonly key: string
}

/** Text in quotes, shortened, and without the password of a URL. */
export function quoted(text: string): string {
  const safe = text.replace(/\/\/[^/]*@/, '//…@')
  return JSON.stringify(safe.length > 80 ? `${safe.slice(0, 79)}…` : safe)
}

/** A path as it is written in messages: `companies."*".id`, `listen[1]`. */
export function keyOf(path: Path): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else text += (text === '' ? '' : '.') + (/^[\w-]+$/.test(part) ? part : JSON.stringify(part))
  }
  return text
}

/** One problem on one line: `FILE:LINE:COL KEY: message. mend`. */
export function renderProblem(problem: Problem): string {
  const { file, line, column, key } = problem
  const place = line === undefined ? file : `${file}:${line}:${column}`
  const where = [place, key].filter((part) => part !== undefined && part !== '').join(' ')
  // Text from a file may hold line ends or escape sequences; a problem stays one line, whatever it quotes.
  const text = `${where === '' ? '' : `${where}: `}${problem.message}. ${problem.mend}`
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '\uFFFD')
}

/** Every problem of a configuration, in the order of the file; its message has one line for each. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    const position = (problem: Problem) => [problem.line ?? Number.POSITIVE_INFINITY, problem.column ?? 0]
    const sorted = problems.toSorted((a, b) => {
      const [lineA = 0, columnA = 0] = position(a)
      const [lineB = 0, columnB = 0] = position(b)
      return lineA === lineB ? columnA - columnB : lineA - lineB
    })
    const seen = new Map(sorted.map((problem) => [renderProblem(problem), problem]))
    super([...seen.keys()].join('\n'))
    this.problems = Object.freeze([...seen.values()])
  }
}
