// Lays rows out in columns for a terminal.
import { stripVTControlCharacters } from 'node:util'

const GAP = '  '
/** Columns are never made narrower than this. */
const NARROWEST = 12

/** How wide a line may be; elsewhere than on a terminal, values stay whole. */
export const terminalWidth = () => process.stdout.columns || Number.POSITIVE_INFINITY

/**
 * Formats columns two spaces apart, as wide as their widest cell. If a row is wider than `width` (by default the
 * terminal's width), the widest columns are narrowed and their cells wrapped. Ends with a line feed.
 */
export function renderTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  width = terminalWidth(),
): string {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => lengthOf(row[column] ?? ''))))
  const total = widths.reduce((sum, each) => sum + each + GAP.length, -GAP.length)
  for (let excess = total - width; excess > 0; excess--) {
    const widest = Math.max(...widths)
    if (widest <= NARROWEST) break
    widths[widths.lastIndexOf(widest)] = widest - 1
  }
  const lines = all.flatMap((row) => {
    const cells = widths.map((width, column) => wrapped(row[column] ?? '', width))
    return Array.from({ length: Math.max(...cells.map((cell) => cell.length)) }, (_, line) =>
      cells.map((cell, column) => padded(cell[line] ?? '', widths[column]!)).join(GAP),
    )
  })
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
