// The ways in which a server may read a path: escapes decoded, slashes collapsed, formats and parameters cut off.

/** More layers of escapes than this have no honest reason. */
const MOST_LAYERS = 3
/** Far beyond any path of Procore's; queries are not part of it. */
const LONGEST = 4096

const ESCAPE = /%[0-9a-f]{2}/i
/** A path that can be read in one way only; nearly all are such. Dots mean something in the last segment alone. */
const PLAIN = /^(?:\/[a-z0-9._-]+)*\/[a-z0-9_-]+$/
/** What URL parsers drop, or trim. */
const DROPPED = /[\0-\x20\x7f]/g

/**
 * Every reading of a raw path, in small letters, without repetition; the first is the path itself. Undefined where it is
 * too long, or escaped too often, to be judged.
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

/** Byte by byte: what is no UTF-8 hides nothing beside it. */
function decodeBytes(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
}

function normalForm(path: string): string {
  const dropped = path.replace(DROPPED, '')
  const end = dropped.search(/[?#]/)
  const bare = end === -1 ? dropped : dropped.slice(0, end)
  return withoutEndSlash(bare.replace(/;[^/]*/g, '').replace(/\/{2,}/g, '/'))
}

/** Rails takes `.json` for a format; what follows the first dot, where a constraint lets a segment hold some. */
function withoutFormat(path: string): readonly string[] {
  const segment = path.lastIndexOf('/') + 1
  const first = path.indexOf('.', segment)
  if (first === -1) return []
  return [path.slice(0, path.lastIndexOf('.')), path.slice(0, first)].map(withoutEndSlash)
}

function withoutEndSlash(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path
}
