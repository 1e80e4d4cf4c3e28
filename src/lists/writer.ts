// Writes rows as text: as CSV (RFC 4180) for spreadsheets, as NDJSON, or as one JSON array.
import papaparse from 'papaparse'
import type { ListSettings } from '../config/config.ts'
import { ProxyError } from '../errors.ts'
import { asRow, isRow, type Row } from './rows.ts'
import type { ListTarget } from './target.ts'

/** Turns the rows of a list into text. */
export interface ListWriter {
  readonly contentType: string
  /** Called before the first rows, with the first page that has any; `hasMore` says whether other pages follow. */
  begin(page: Iterable<unknown>, hasMore: boolean): string
  rows(rows: readonly unknown[]): string
  /** Called for a skipped project, and with the reason if the list breaks off. */
  missing(what: object): string
  /** Called when the list is complete. */
  end(): string
}

/** The writer of the form that the caller asks for. */
export function writerFor(
  target: ListTarget,
  { csvFormulas }: Pick<ListSettings, 'csvFormulas'>,
): ListWriter {
  if (target.form === 'csv') return csvWriter(target, csvFormulas === 'escape')
  return target.form === 'ndjson' ? NDJSON_WRITER : jsonWriter()
}

const SILENT = { begin: () => '', missing: () => '', end: () => '' }

/** One JSON value on each line (https://github.com/ndjson/ndjson-spec). */
const NDJSON_WRITER: ListWriter = {
  ...SILENT,
  contentType: 'application/x-ndjson',
  rows: (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
  missing: (what) => `${JSON.stringify({ _error: what })}\n`,
}

/** One JSON array, with one row on each line. */
function jsonWriter(): ListWriter {
  let separator = '['
  const element = (row: unknown) => {
    const text = `${separator}\n${JSON.stringify(row)}`
    separator = ','
    return text
  }
  return {
    ...SILENT,
    contentType: 'application/json; charset=utf-8',
    rows: (rows) => rows.map(element).join(''),
    end: () => (separator === '[' ? '[]\n' : '\n]\n'),
  }
}

/** The last column, for fields that the first page did not have. */
const MORE = '_more'
/** Text that a spreadsheet would run as a formula (https://owasp.org/www-community/attacks/CSV_Injection). */
export const FORMULA = /^[=+\-@\t\r]/

/** Each column costs a look into each row. */
const MOST_COLUMNS = 4096

/** No name of Procore's has as many dots. Each costs a look into each row. */
const MOST_DOTS = 10

interface Column {
  readonly name: string
  /** The ways to read the name as a member of a nested object: `company.id` as the `id` of `company`. */
  readonly nested: readonly (readonly [outer: string, inner: string])[]
}

/** Columns by the first page, unless they were chosen; nested objects one level deep. */
function csvWriter({ columns: chosen, bom }: ListTarget, escapesFormulas: boolean): ListWriter {
  let columns: Column[] = []
  let known = new Set<string>()
  const lines = (rows: readonly (readonly unknown[])[]): string => {
    if (columns.length === 0) return ''
    const texts = rows.map((cells) => cells.map((value) => cellText(value, escapesFormulas)))
    // A row with nothing but an empty cell would be an empty line, which pandas leaves out.
    const quotes = columns.length === 1 ? (value: unknown) => value === '' : false
    return `${papaparse.unparse(texts, { newline: '\r\n', quotes })}\r\n`
  }
  return {
    ...SILENT,
    contentType: 'text/csv; charset=utf-8',
    begin(page, hasMore) {
      const found = chosen ?? namesOf(page)
      if (found.length > MOST_COLUMNS) throw tooWide()
      const names = chosen === undefined && hasMore ? [...found.filter((name) => name !== MORE), MORE] : found
      columns = names.map(columnOf)
      known = new Set(names)
      // A row's own member of this name goes into that column as JSON, like any other without a column.
      if (hasMore || chosen !== undefined) known.delete(MORE)
      return (bom ? '\uFEFF' : '') + lines([names])
    },
    rows: (rows) => lines(rows.map((row) => columns.map((column) => cellOf(asRow(row), column, known)))),
  }
}

/** All members of these rows in order of first sight; an object's own instead of itself, as `company.id`. */
function namesOf(rows: Iterable<unknown>): string[] {
  const members = new Map<string, { isPlain: boolean; nested: Set<string> }>()
  let count = 0
  for (const row of rows) {
    for (const [name, value] of Object.entries(asRow(row))) {
      const member = members.get(name) ?? { isPlain: false, nested: new Set() }
      members.set(name, member)
      const before = member.nested.size
      if (isRow(value)) for (const key of Object.keys(value)) member.nested.add(key)
      // An empty object in one row does not undo the nesting that another one shows.
      else if (value !== null) member.isPlain = true
      // Each column was counted twice at most.
      count += member.nested.size - before
      if (members.size + count > 2 * MOST_COLUMNS) throw tooWide()
    }
  }
  return [...members].flatMap(([name, { isPlain, nested }]) => [
    ...(isPlain || nested.size === 0 ? [name] : []),
    ...[...nested].map((key) => `${name}.${key}`),
  ])
}

function tooWide(): ProxyError {
  const detail = `A CSV file of this list would have more than ${MOST_COLUMNS} columns.`
  return new ProxyError('list_too_long', detail, {
    help: 'Choose columns with _columns, or ask for /_proxy/ndjson/ or /_proxy/json/.',
  })
}

function columnOf(name: string): Column {
  const dots = [...name.matchAll(/\./g).take(MOST_DOTS)]
  return { name, nested: dots.map(({ index }) => [name.slice(0, index), name.slice(index + 1)]) }
}

function cellOf(row: Row, { name, nested }: Column, known: ReadonlySet<string>): unknown {
  if (name === MORE && !known.has(MORE)) return moreOf(row, known)
  if (Object.hasOwn(row, name)) return row[name]
  for (const [outer, inner] of nested) {
    const value = Object.hasOwn(row, outer) ? row[outer] : undefined
    if (isRow(value) && Object.hasOwn(value, inner)) return value[inner]
  }
  return undefined
}

/** What has no column of its own; undefined if that is nothing. */
function moreOf(row: Row, known: ReadonlySet<string>): Row | undefined {
  const more: [string, unknown][] = []
  for (const [name, value] of Object.entries(row)) {
    if (known.has(name)) continue
    const nested = isRow(value) ? Object.entries(value) : []
    const members = nested.length > 0 ? nested : [[undefined, value] as const]
    for (const [key, inner] of members) {
      const full = key === undefined ? name : `${name}.${key}`
      if (inner !== null && !known.has(full)) more.push([full, inner])
    }
  }
  return more.length === 0 ? undefined : Object.fromEntries(more)
}

function cellText(value: unknown, escapesFormulas: boolean): string {
  if (typeof value === 'string') return escapesFormulas && FORMULA.test(value) ? `'${value}` : value
  if (value === undefined || value === null) return ''
  // A number is not text, so its minus sign does not make it a formula. Unlike String(value), this does not make V8 keep
  // a number's text until its next full garbage collection.
  return JSON.stringify(value)
}
