// Defines how a list is written, and the two forms of JSON.
import type { Skipped } from './projects.ts'

/** Turns the rows of a list into text. */
export interface ListWriter {
  readonly contentType: string
  /** Called with the first page that has rows, before any is written; `hasMore` says whether other pages follow. */
  begin(page: Iterable<unknown>, hasMore: boolean): string
  rows(rows: readonly unknown[]): string
  /** Called for a skipped project. */
  skipped(skipped: Skipped): string
  /** Called when the list is complete. */
  end(): string
  /** Called when the list breaks off. */
  failed(error: object): string
}

/** One JSON value on each line (https://github.com/ndjson/ndjson-spec). */
export function ndjsonWriter(): ListWriter {
  return {
    contentType: 'application/x-ndjson',
    begin: () => '',
    rows: (rows) => rows.map(line).join(''),
    skipped: (skipped) => line({ _error: skipped }),
    end: () => '',
    failed: (error) => line({ _error: error }),
  }
}

/** One JSON array, with one row on each line. */
export function jsonWriter(): ListWriter {
  let separator = '['
  return {
    contentType: 'application/json; charset=utf-8',
    begin: () => '',
    rows: (rows) => rows.map(element).join(''),
    skipped: () => '',
    end: () => (separator === '[' ? '[]\n' : '\n]\n'),
    failed: () => '',
  }
  function element(row: unknown): string {
    const text = `${separator}\n${JSON.stringify(row)}`
    separator = ','
    return text
  }
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`
}
