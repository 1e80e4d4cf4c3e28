// The version of this package, and its name.
import { readFileSync } from 'node:fs'

/** From package.json, which stands two folders up both in the sources and in the package. */
export const VERSION: string = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version
