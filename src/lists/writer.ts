// How a list is written: what every form does, and the two forms of JSON.
import type { Skipped } from './projects.ts'

/** Turns the rows of a list into text. */
export interface ListWriter {
  readonly contentType: string
  /** The first page that has rows, before any of them is written; `hasMore` tells whether others are to come. */
  begin(page: Iterable<unknown>, hasMore: boolean): string
  rows(rows: readonly unknown[]): string
  /** A project was passed over. */
  skipped(skipped: Skipped): string
  /** The list is complete. */
  end(): string
  /** The list breaks off here. */
  failed(error: object): string
}

/** One JSON value a line (https://github.com/ndjson/ndjson-spec). */
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

/** One JSON array, a row a line. */
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
