// Writes rows as CSV (RFC 4180) for spreadsheets: columns by the first page, nested objects one level deep.
import { type Options, stringify } from 'csv-stringify/sync'
import { isRow, type Row } from './rows.ts'
import type { ListTarget } from './target.ts'
import type { ListWriter } from './writer.ts'

/** The last column, which holds what other pages have and the first had not. */
const MORE = '_more'

/** A writer of CSV; `formulas: 'keep'` leaves texts that a spreadsheet would run as they are. */
export function csvWriter({ columns: chosen, bom }: ListTarget, formulas: 'escape' | 'keep'): ListWriter {
  let columns = chosen
  const options: Options = {
    record_delimiter: '\r\n',
    // Quotes a lone CR or LF too, at which readers end a row.
    quote_record_delimiter: true,
    escape_formulas: formulas === 'escape',
    cast: {
      boolean: String,
      // Raw numbers are no text: a minus sign makes no formula of them.
      object: (value: unknown) =>
        JSON.isRawJSON(value) ? { value: value.rawJSON, escape_formulas: false } : JSON.stringify(value),
    },
  }
  let isBegun = false
  let known: ReadonlySet<string> = new Set(columns)
  const header = (): string => {
    isBegun = true
    return (bom ? '\uFEFF' : '') + (columns === undefined ? '' : stringify([columns], options))
  }
  return {
    contentType: 'text/csv; charset=utf-8',
    begin(page, hasMore) {
      columns ??= [...columnsOf(page), ...(hasMore ? [MORE] : [])]
      known = new Set(columns)
      return header()
    },
    rows(rows) {
      const names = columns ?? []
      return stringify(
        rows.map((row) => cellsOf(asRow(row), names, known)),
        options,
      )
    },
    skipped: () => '',
    end: () => (isBegun ? '' : header()),
    failed: () => '',
  }
}

/** All members of these rows in order of first sight; an object's own instead of itself, as `company.id`. */
function columnsOf(rows: Iterable<unknown>): string[] {
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

/** The row's values in the order of the columns; those of no column go into `_more`, where there is one. */
function cellsOf(row: Row, columns: readonly string[], known: ReadonlySet<string>): unknown[] {
  const values = flatten(row, known)
  const cells = columns.map((name) => {
    const value = values.get(name)
    values.delete(name)
    return value
  })
  const at = columns.indexOf(MORE)
  const more = [...values].filter(([, value]) => value !== null)
  if (at !== -1 && more.length > 0) cells[at] = Object.fromEntries(more)
  return cells
}

function flatten(row: Row, known: ReadonlySet<string>): Map<string, unknown> {
  const values = new Map<string, unknown>()
  for (const [name, value] of Object.entries(row)) {
    if (known.has(name) || !isNested(value)) values.set(name, value)
    else for (const [key, inner] of Object.entries(value)) values.set(`${name}.${key}`, inner)
  }
  return values
}

function isNested(value: unknown): value is Row {
  return isRow(value) && Object.keys(value).length > 0
}

function asRow(row: unknown): Row {
  return isRow(row) ? row : { value: row }
}
