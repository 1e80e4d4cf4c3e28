// Reads files that belong to the program: next to it, or inside the single executable.
import { readFileSync } from 'node:fs'
import { getAsset, isSea } from 'node:sea'

/** The text of a file of the package, such as `package.json`, or of a file below `page/`. */
export function ownFile(name: string): string {
  if (isSea()) return getAsset(name, 'utf8')
  // The package is two folders up, both from the sources and from dist; the page is one.
  const path = name.startsWith('page/') ? `../${name}` : `../../${name}`
  return readFileSync(new URL(path, import.meta.url), 'utf8')
}

export const VERSION: string = (JSON.parse(ownFile('package.json')) as { version: string }).version
