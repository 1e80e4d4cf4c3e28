// Reads files that come with the program: beside it, or inside the single executable that it was made part of.
import { readFileSync } from 'node:fs'
import { getAsset, isSea } from 'node:sea'

/** Text of `package.json` or of a file below `page/`. */
export function ownFile(name: string): string {
  if (isSea()) return getAsset(name, 'utf8')
  // package.json stands two folders up, both in the sources and in the package; the page one.
  const path = name === 'package.json' ? `../../${name}` : `../${name}`
  return readFileSync(new URL(path, import.meta.url), 'utf8')
}
