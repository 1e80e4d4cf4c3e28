// Writes rows as CSV (RFC 4180) for spreadsheets: columns by the first page, nested objects one level deep.
import papaparse from 'papaparse'
import { isRow, type Row } from './rows.ts'
import type { ListTarget } from './target.ts'
import type { ListWriter } from './writer.ts'

/** The last column, for fields that the first page did not have. */
const MORE = '_more'
/** Text that a spreadsheet would run as a formula (https://owasp.org/www-community/attacks/CSV_Injection). */
const FORMULA = /^[=+\-@\t\r]/

interface Column {
  readonly name: string
  /** The ways to read the name as a member of a nested object: `company.id` as the `id` of `company`. */
  readonly nested: readonly (readonly [outer: string, inner: string])[]
}

/** A writer of CSV; `formulas: 'keep'` leaves texts that a spreadsheet would run as they are. */
export function csvWriter({ columns: chosen, bom }: ListTarget, formulas: 'escape' | 'keep'): ListWriter {
  let columns: readonly Column[] = (chosen ?? []).map(columnOf)
  let known: ReadonlySet<string> = new Set(chosen)
  let isBegun = false
  const lines = (rows: readonly (readonly unknown[])[]): string => {
    const texts = rows.map((cells) => cells.map((value) => cellText(value, formulas === 'escape')))
    return `${papaparse.unparse(texts, { newline: '\r\n' })}\r\n`
  }
  const header = (): string => {
    isBegun = true
    return (bom ? '\uFEFF' : '') + (columns.length === 0 ? '' : lines([columns.map(({ name }) => name)]))
  }
  return {
    contentType: 'text/csv; charset=utf-8',
    begin(page, hasMore) {
      if (chosen === undefined) columns = [...namesOf(page), ...(hasMore ? [MORE] : [])].map(columnOf)
      known = new Set(columns.map(({ name }) => name))
      return header()
    },
    rows: (rows) => lines(rows.map((row) => columns.map((column) => cellOf(asRow(row), column, known)))),
    skipped: () => '',
    end: () => (isBegun ? '' : header()),
    failed: () => '',
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

function columnOf(name: string): Column {
  const dots = [...name.matchAll(/\./g)].map(({ index }) => index)
  return { name, nested: dots.map((dot) => [name.slice(0, dot), name.slice(dot + 1)]) }
}

function cellOf(row: Row, { name, nested }: Column, known: ReadonlySet<string>): unknown {
  if (Object.hasOwn(row, name)) return row[name]
  if (name === MORE) return moreOf(row, known)
  for (const [outer, inner] of nested) {
    const value = known.has(outer) ? undefined : row[outer]
    if (isRow(value) && Object.hasOwn(value, inner)) return value[inner]
  }
  return undefined
}

/** What has no column of its own; undefined if that is nothing. */
function moreOf(row: Row, known: ReadonlySet<string>): Row | undefined {
  const more: [string, unknown][] = []
  for (const [name, value] of Object.entries(row)) {
    if (known.has(name) || value === null) continue
    const members = isNested(value) ? Object.entries(value) : [[undefined, value] as const]
    for (const [key, inner] of members) {
      const full = key === undefined ? name : `${name}.${key}`
      if (inner !== null && !known.has(full)) more.push([full, inner])
    }
  }
  return more.length === 0 ? undefined : Object.fromEntries(more)
}

function cellText(value: unknown, escapes: boolean): unknown {
  if (typeof value === 'string') return escapes && FORMULA.test(value) ? `'${value}` : value
  // Unlike String(value), this does not make V8 keep the number's text until its next full garbage collection.
  if (typeof value === 'number') return JSON.stringify(value)
  if (typeof value !== 'object' || value === null) return value
  // A raw number is not text, so its minus sign does not make it a formula.
  return JSON.isRawJSON(value) ? value.rawJSON : JSON.stringify(value)
}

function isNested(value: unknown): value is Row {
  return isRow(value) && Object.keys(value).length > 0
}

function asRow(row: unknown): Row {
  return isRow(row) ? row : { value: row }
}
