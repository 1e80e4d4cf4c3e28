// Writes rows as text: as CSV (RFC 4180) for spreadsheets, as NDJSON, or as one JSON array.
import papaparse from 'papaparse'
import type { ListSettings } from '../config/config.ts'
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
const FORMULA = /^[=+\-@\t\r]/

/** Columns by the first page, unless they were chosen; nested objects one level deep. */
function csvWriter({ columns: chosen, bom }: ListTarget, escapesFormulas: boolean): ListWriter {
  let columns: readonly string[] = []
  let known: ReadonlySet<string> = new Set()
  const lines = (rows: readonly (readonly unknown[])[]): string => {
    const texts = rows.map((cells) => cells.map((value) => cellText(value, escapesFormulas)))
    return `${papaparse.unparse(texts, { newline: '\r\n' })}\r\n`
  }
  return {
    ...SILENT,
    contentType: 'text/csv; charset=utf-8',
    begin(page, hasMore) {
      columns = chosen ?? [...namesOf(page), ...(hasMore ? [MORE] : [])]
      known = new Set(columns)
      return (bom ? '\uFEFF' : '') + (columns.length === 0 ? '' : lines([columns]))
    },
    rows: (rows) => lines(rows.map((row) => cellsOf(asRow(row), columns, known))),
  }
}

/** All members of these rows in order of first sight; an object's own instead of itself, as `company.id`. */
function namesOf(rows: Iterable<unknown>): string[] {
  const members = new Map<string, { isPlain: boolean; nested: Set<string> }>()
  for (const row of rows) {
    for (const [name, value] of Object.entries(asRow(row))) {
      const member = members.get(name) ?? { isPlain: false, nested: new Set() }
      members.set(name, member)
      if (isNested(value)) for (const key of Object.keys(value)) member.nested.add(key)
      // An empty object in one row does not undo the nesting that another one shows.
      else if (value !== null && !isRow(value)) member.isPlain = true
    }
  }
  return [...members].flatMap(([name, { isPlain, nested }]) => [
    ...(isPlain || nested.size === 0 ? [name] : []),
    ...[...nested].map((key) => `${name}.${key}`),
  ])
}

function cellsOf(row: Row, columns: readonly string[], known: ReadonlySet<string>): unknown[] {
  const cells = new Map<string, unknown>()
  for (const [name, value] of Object.entries(row)) {
    // An object that has no column of its own is spread over those of its members.
    if (known.has(name) || !isNested(value)) cells.set(name, value)
    else {
      for (const [key, inner] of Object.entries(value)) {
        const full = `${name}.${key}`
        if (!cells.has(full)) cells.set(full, inner)
      }
    }
  }
  if (known.has(MORE) && !cells.has(MORE)) {
    const more = [...cells].filter(([name, value]) => value !== null && !known.has(name))
    if (more.length > 0) cells.set(MORE, Object.fromEntries(more))
  }
  return columns.map((name) => cells.get(name))
}

function cellText(value: unknown, escapesFormulas: boolean): unknown {
  if (typeof value === 'string') return escapesFormulas && FORMULA.test(value) ? `'${value}` : value
  // Unlike String(value), this does not make V8 keep the number's text until its next full garbage collection.
  if (typeof value === 'number') return JSON.stringify(value)
  if (typeof value !== 'object' || value === null) return value
  // A raw number is not text, so its minus sign does not make it a formula.
  return JSON.isRawJSON(value) ? value.rawJSON : JSON.stringify(value)
}

function isNested(value: unknown): value is Row {
  return isRow(value) && Object.keys(value).length > 0
}
