// Lays rows out in columns for a terminal.
import { stripVTControlCharacters } from 'node:util'

/** Formats columns two spaces apart, as wide as their widest cell. Ends with a line feed. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows]
  const widths = head.map((_, column) =>
    all.reduce((widest, row) => Math.max(widest, lengthOf(row[column] ?? '')), 0),
  )
  return all
    .map((row) => {
      const cells = widths.map((width, column) => padded(row[column] ?? '', width))
      return `${cells.join('  ').trimEnd()}\n`
    })
    .join('')
}

function padded(text: string, width: number): string {
  return text + ' '.repeat(width - lengthOf(text))
}

function lengthOf(text: string): number {
  return stripVTControlCharacters(text).length
}
