// How a list is written: what every form does, and the two forms of JSON.
import type { Skipped } from './projects.ts'

/** Turns rows into text. `begin` comes first and once, `end` last; each gives the text to send. */
export interface ListWriter {
  readonly contentType: string
  /** `rows` are the first ones; `hasMore` tells whether others are to come. */
  begin(rows: readonly unknown[], hasMore: boolean): string
  rows(rows: readonly unknown[]): string
  /** A project was passed over. */
  skipped(skipped: Skipped): string
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
  let separator = '\n'
  return {
    contentType: 'application/json; charset=utf-8',
    begin: () => '[',
    rows(rows) {
      if (rows.length === 0) return ''
      const text = separator + rows.map((row) => JSON.stringify(row)).join(',\n')
      separator = ',\n'
      return text
    },
    skipped: () => '',
    end: () => '\n]\n',
    failed: () => '',
  }
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`
}
