// Results as tables of markdown, for the terminal and for the docs; pure.
import type { Judged } from './goals.ts'
import type { Compared, Measured } from './result.ts'
import { difference, type Rounds, ratio, type Summary, summary } from './statistics.ts'

/** Rows of cells with a head; columns are padded so that the text can be read as it is. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(3, ...[head, ...rows].map((row) => (row[column] ?? title).length)),
  )
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`
  return [line(head), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(line)].join(
    '\n',
  )
}

/** Three digits are enough, and the spread of the rounds says how many of them count. */
export function figure(value: number): string {
  const digits = Math.abs(value) >= 99.95 ? 0 : Math.abs(value) >= 9.995 ? 1 : 2
  return value.toFixed(digits)
}

/** `median (least–most)`, or a dash where there is nothing. */
export function spread(of: Summary | undefined): string {
  if (of === undefined) return '–'
  const median = figure(of.median)
  const [least, most] = [figure(of.least), figure(of.most)]
  return least === most ? median : `${median} (${least}–${most})`
}

const BASE = 'nginx'

interface Column {
  readonly title: string
  /** The tuned nginx has next to nothing of it. */
  readonly noRatio?: true
  readonly rounds: (measured: Measured, result: Compared) => Rounds | undefined
}

const COLUMNS: readonly Column[] = [
  { title: 'requests/s, plain', rounds: ({ plain }) => plain?.requestsPerSecond },
  { title: 'requests/s, TLS', rounds: ({ tls }) => tls?.requestsPerSecond },
  { title: 'CPU µs/request, plain', rounds: ({ plain }) => plain?.cpuUs },
  { title: 'CPU µs/request, TLS', rounds: ({ tls }) => tls?.cpuUs },
  {
    title: 'added p50 µs, 1 conn.',
    rounds: ({ single }, { direct }) => difference(single?.p50Us, direct?.single?.p50Us),
  },
  {
    title: 'added p99 µs, 1 conn.',
    rounds: ({ single }, { direct }) => difference(single?.p99Us, direct?.single?.p99Us),
  },
  {
    title: 'added p50 µs, fixed rate',
    rounds: ({ fixed }, { direct }) => difference(fixed?.p50Us, direct?.fixed?.p50Us),
  },
  {
    title: 'added p99 µs, fixed rate',
    rounds: ({ fixed }, { direct }) => difference(fixed?.p99Us, direct?.fixed?.p99Us),
  },
  { title: 'download MB/s', rounds: ({ download }) => download?.mbPerSecond },
  { title: 'its peak MB', rounds: ({ download }) => download?.peakMb },
  { title: 'grown by MB', noRatio: true, rounds: ({ download }) => download?.grownMb },
  { title: 'its CPU ms/GB', rounds: ({ download }) => download?.cpuMsPerGb },
  { title: 'upload MB/s', rounds: ({ upload }) => upload?.mbPerSecond },
  { title: 'its peak MB', rounds: ({ upload }) => upload?.peakMb },
  { title: 'grown by MB', noRatio: true, rounds: ({ upload }) => upload?.grownMb },
  { title: 'its CPU ms/GB', rounds: ({ upload }) => upload?.cpuMsPerGb },
  { title: 'idle MB', rounds: ({ idleMb }) => idleMb },
  { title: 'start ms', rounds: ({ startMs }) => startMs },
]

/** Groups of columns that fit beside each other. */
const GROUPS: readonly (readonly [number, number])[] = [
  [0, 4],
  [4, 8],
  [8, 16],
  [16, 18],
]

function tables(
  result: Compared,
  wanted: (column: Column) => boolean,
  cell: (column: Column, measured: Measured) => string,
): string[] {
  const measured = Object.values(result.contenders)
  return GROUPS.flatMap(([from, to]) => {
    const columns = COLUMNS.slice(from, to).filter(wanted)
    const rows = measured
      .map((each) => [each.title, ...columns.map((column) => cell(column, each))])
      .filter((row) => row.slice(1).some((text) => text !== '–'))
    return rows.length === 0 ? [] : [table(['', ...columns.map(({ title }) => title)], rows)]
  })
}

/** What was measured, in its units. */
export function figuresTables(result: Compared): string[] {
  return tables(
    result,
    () => true,
    ({ rounds }, measured) => spread(summary(rounds(measured, result))),
  )
}

/** The same as ratios to the tuned nginx, round by round. */
export function ratioTables(result: Compared): string[] {
  const base = result.contenders[BASE]
  if (base === undefined) return []
  return tables(
    result,
    ({ noRatio }) => !noRatio,
    ({ rounds }, measured) => spread(ratio(rounds(measured, result), rounds(base, result))),
  )
}

export function goalsTable(judged: readonly Judged[]): string {
  return table(
    ['goal', 'wanted', 'measured', 'met'],
    judged.map(({ goal, limit, atLeast, unit, measured, met }) => [
      goal,
      `${atLeast ? '≥' : '≤'} ${limit}${unit && ` ${unit}`}`,
      spread(measured) + (measured && unit ? ` ${unit}` : ''),
      met === undefined ? 'not measured' : met ? 'yes' : '**no**',
    ]),
  )
}
