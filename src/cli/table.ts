// Lays rows out in columns for a terminal.
import { stripVTControlCharacters } from 'node:util'

const GAP = '  '
/** Columns are never made narrower than this. */
const NARROWEST = 12

/**
 * Formats columns two spaces apart, as wide as their widest cell. If a row is wider than `width` (by default the
 * terminal's width), the widest columns are narrowed and their cells wrapped. Ends with a line feed.
 */
export function renderTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  width: number = process.stdout.columns || Number.POSITIVE_INFINITY,
): string {
  const all = [head, ...rows]
  const longest = head.map((_, column) => Math.max(...all.map((row) => lengthOf(row[column] ?? ''))))
  const widths = narrowed(longest, width - GAP.length * (head.length - 1))
  return all.map((row) => renderRow(row, widths)).join('')
}

function narrowed(widths: readonly number[], total: number): number[] {
  const fitted = [...widths]
  for (let excess = fitted.reduce((sum, each) => sum + each, 0) - total; excess > 0; excess--) {
    const widest = Math.max(...fitted)
    if (widest <= NARROWEST) break
    fitted[fitted.lastIndexOf(widest)] = widest - 1
  }
  return fitted
}

function renderRow(row: readonly string[], widths: readonly number[]): string {
  const cells = widths.map((width, column) => wrapped(row[column] ?? '', width))
  const lines = Array.from({ length: Math.max(...cells.map((cell) => cell.length)) }, (_, line) =>
    cells.map((cell, column) => padded(cell[line] ?? '', widths[column] ?? 0)).join(GAP),
  )
  return lines.map((line) => `${line.trimEnd()}\n`).join('')
}

/** Wraps text at `width`, at spaces if possible. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  let rest = text
  while (lengthOf(rest) > width) {
    const blank = rest.lastIndexOf(' ', width)
    const end = blank > 0 ? blank : width
    lines.push(rest.slice(0, end))
    rest = rest.slice(end).trimStart()
  }
  return [...lines, rest]
}

function padded(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - lengthOf(text)))
}

function lengthOf(text: string): number {
  return stripVTControlCharacters(text).length
}
