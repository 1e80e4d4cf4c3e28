// How a list is written: what every form does, and the two forms of JSON.
import type { Skipped } from './projects.ts'

/** Turns the rows of a list into text, page after page. */
export interface ListWriter {
  readonly contentType: string
  /** `hasMore` tells whether others are to come. */
  rows(rows: readonly unknown[], hasMore: boolean): string
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
    rows: (rows) => rows.map(line).join(''),
    skipped: (skipped) => line({ _error: skipped }),
    end: () => '',
    failed: (error) => line({ _error: error }),
  }
}

/** One JSON array, a row a line. */
export function jsonWriter(): ListWriter {
  let before = '[\n'
  return {
    contentType: 'application/json; charset=utf-8',
    rows(rows) {
      if (rows.length === 0) return ''
      const text = before + rows.map((row) => JSON.stringify(row)).join(',\n')
      before = ',\n'
      return text
    },
    skipped: () => '',
    end: () => (before === '[\n' ? '[]\n' : '\n]\n'),
    failed: () => '',
  }
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`
}
