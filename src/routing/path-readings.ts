// Lists the ways in which a server may read a path: with escapes decoded, slashes collapsed, formats and parameters
// removed.
import { decodeBytes } from './percent.ts'

/** No legitimate path has more layers of escapes. */
const MOST_LAYERS = 3
/** In characters, without the query; far longer than any path of Procore's API. */
const LONGEST = 4096

const ESCAPE = /%[0-9a-f]{2}/i
/** A path with a single reading, as nearly all paths are. A dot matters in the last segment only. */
const PLAIN = /^(?:\/[a-z0-9._-]+)*\/[a-z0-9_-]+$/
/** Characters that URL parsers drop or trim. */
const DROPPED = /[\0-\x20\x7f]/g

/**
 * All distinct readings of a raw path, in lower case; the first is the path itself. Undefined if the path is longer
 * than 4096 characters or has more than three layers of escapes, because such a path cannot be judged.
 */
export function readingsOf(path: string): readonly string[] | undefined {
  if (path.length > LONGEST) return undefined
  if (PLAIN.test(path)) return [path]
  const readings = new Set<string>()
  let layer = path
  for (let layers = 0; ; layers++) {
    readings.add(layer.toLowerCase())
    const plain = normalForm(layer).toLowerCase()
    readings.add(plain)
    for (const cut of withoutFormat(plain)) readings.add(cut)
    if (!ESCAPE.test(layer)) return [...readings]
    if (layers === MOST_LAYERS) return undefined
    layer = decodeBytes(layer)
  }
}

/** The distinct, non-empty segments that follow a `name` segment in any of the readings, in order. */
export function segmentsAfter(readings: readonly string[], name: string): readonly string[] {
  const found = new Set<string>()
  const mark = `/${name}/`
  for (const reading of readings) {
    for (let at = reading.indexOf(mark); at !== -1; at = reading.indexOf(mark, at + name.length + 1)) {
      // Consecutive slashes count as one, as in Rails.
      const [, segment = ''] = /^\/*([^/]*)/.exec(reading.slice(at + mark.length)) ?? []
      if (segment !== '') found.add(segment)
    }
  }
  return [...found]
}

/** The query itself, and what a server that decodes before it splits would read as the query. Each includes its `?`. */
export function queriesOf(path: string, query: string): readonly string[] {
  const readings = path.includes('%') ? (readingsOf(path) ?? []) : []
  const hidden = readings.flatMap((reading) =>
    reading.includes('?') ? reading.slice(reading.indexOf('?')) : [],
  )
  return [query, ...hidden]
}

function normalForm(path: string): string {
  const dropped = path.replace(DROPPED, '')
  const end = dropped.search(/[?#]/)
  const bare = end === -1 ? dropped : dropped.slice(0, end)
  return withoutEndSlash(bare.replace(/;[^/]*/g, '').replace(/\/{2,}/g, '/'))
}

/** Rails reads `.json` as a format. If a constraint allows dots in a segment, it is everything after the first dot. */
function withoutFormat(path: string): readonly string[] {
  const segment = path.lastIndexOf('/') + 1
  const first = path.indexOf('.', segment)
  if (first === -1) return []
  return [path.slice(0, path.lastIndexOf('.')), path.slice(0, first)].map(withoutEndSlash)
}

function withoutEndSlash(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path
}
