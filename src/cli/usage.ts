// The command `usage`: streams an audit file in bounded memory, and prints its requests by caller, route, status and day.
import { createReadStream } from 'node:fs'
import papaparse from 'papaparse'
import { wordsFor } from '../config/files.ts'
import { FORMULA } from '../lists/writer.ts'
import { printable } from '../observe/mask.ts'
import type { Options } from './commands.ts'
import { CommandError, usageError } from './exit.ts'
import { renderTable } from './table.ts'

/** What requests can be counted by. */
const USAGE_COLUMNS = ['caller', 'route', 'status', 'day'] as const
type UsageColumn = (typeof USAGE_COLUMNS)[number]

/** Further groups are counted as one, so that made-up paths cannot fill the memory. */
const MOST_GROUPS = 10_000
const OTHERS = '(others)'
const READ_BYTES = 256 * 1024
/** A longer line is damaged. */
const LONGEST_LINE = 256 * 1024

export async function usage(file: string, { by = '', csv }: Options): Promise<void> {
  const sums = await addUpUsage(file, usageColumns(by)).catch((error: Error) => {
    const { message, fix } = wordsFor(file, error)
    throw new CommandError(`${message}. ${fix}.`)
  })
  process.stdout.write(formatUsage(sums, csv ? 'csv' : 'table'))
  const { skippedLines } = sums
  if (skippedLines === 0) return
  const lines =
    skippedLines === 1 ? '1 line is damaged and was' : `${skippedLines} lines are damaged and were`
  process.stderr.write(`procore-proxy: ${lines} left out\n`)
}

/** Reads a list such as `caller,route`. Throws CommandError that names the available columns. */
export function usageColumns(text: string): readonly UsageColumn[] {
  const names = text.split(',').map((name) => name.trim())
  const unknown = names.find((name) => !USAGE_COLUMNS.some((column) => column === name))
  if (unknown === undefined) return [...new Set(names as UsageColumn[])]
  throw usageError(`--by ${text}: ${JSON.stringify(unknown)} is not one of ${USAGE_COLUMNS.join(', ')}.`)
}

/**
 * Adds up an audit file: a row for each combination of values of the columns, the most requests first, with the mean
 * duration. Skipped lines are damaged, or incomplete after a power cut. Throws the error of the file system if the file
 * can't be read.
 */
export async function addUpUsage(file: string, by: readonly UsageColumn[] = ['caller', 'route', 'status']) {
  const groups = new Map<string, { requests: number; totalMs: number }>()
  let skippedLines = 0
  for await (const lines of linesOf(file)) {
    for (const line of lines) {
      if (line === '') continue
      const entry = entryOf(line)
      if (entry === undefined) {
        skippedLines++
        continue
      }
      let key = by.map((column) => entry[column].replaceAll('\t', ' ')).join('\t')
      if (!groups.has(key) && groups.size >= MOST_GROUPS) key = by.map(() => OTHERS).join('\t')
      const group = groups.get(key) ?? { requests: 0, totalMs: 0 }
      group.requests++
      group.totalMs += entry.durationMs
      groups.set(key, group)
    }
  }
  const rows = [...groups]
    .sort(([a, one], [b, other]) => other.requests - one.requests || (a < b ? -1 : 1))
    .map(([key, { requests, totalMs }]) => {
      return { values: key.split('\t'), requests, meanMs: Math.round(totalMs / requests) }
    })
  return { by, rows, skippedLines }
}

/** The result as CSV (RFC 4180) or as columns for a terminal, with a header row. */
export function formatUsage(
  { by, rows }: Awaited<ReturnType<typeof addUpUsage>>,
  format: 'table' | 'csv',
): string {
  const shown = (text: string) => (format === 'table' ? printable(text) : text)
  const head = [...by, 'requests', 'meanMs']
  const body = rows.map(({ values, requests, meanMs }) => {
    return [...values.map(shown), String(requests), String(meanMs)]
  })
  if (format === 'table') return renderTable(head, body)
  return `${papaparse.unparse([head, ...body], { newline: '\r\n', escapeFormulae: FORMULA })}\r\n`
}

/** A path with the ids in it as `{id}` and without its query: numbers, UUIDs, and long names with digits, as ULIDs are. */
export function routeTemplate(path: string): string {
  const [bare = ''] = path.split('?', 1)
  return bare.replace(
    /(?<=\/)(?:[0-9]+|[0-9a-f]{8}-[0-9a-f-]{27}|(?=[a-z]*[0-9])[0-9a-z]{16,})(?=[/.;]|$)/gi,
    '{id}',
  )
}

/** The columns of a line, and its duration; undefined if it is damaged. */
function entryOf(line: string) {
  try {
    const { time, caller, method, path, status, durationMs } = JSON.parse(line) as Record<string, unknown>
    if (typeof time !== 'string' || typeof method !== 'string' || typeof path !== 'string') return undefined
    return {
      caller: String(caller ?? ''),
      route: `${method} ${routeTemplate(path)}`,
      status: String(status ?? ''),
      day: time.slice(0, 10),
      durationMs: typeof durationMs === 'number' ? durationMs : 0,
    }
  } catch {
    return undefined
  }
}

/** The lines of a file, without line ends, in groups of one chunk each. Of a line that is too long, a part is missing. */
async function* linesOf(file: string): AsyncGenerator<readonly string[]> {
  let rest = ''
  for await (const chunk of createReadStream(file, { encoding: 'utf8', highWaterMark: READ_BYTES })) {
    const lines = (rest + String(chunk)).split('\n')
    rest = (lines.pop() ?? '').slice(0, LONGEST_LINE)
    yield lines
  }
  yield [rest]
}
