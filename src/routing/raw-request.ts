// Reads a raw request as leniently as any server might: target, path, query and headers. Nothing that is judged is normalized.
import { isUtf8 } from 'node:buffer'
import { ProxyError } from '../errors.ts'

const LONGEST_QUOTED = 80

/** Control, bidirectional and invisible characters, and line separators. */
const TRICKY = /[\u0000-\u001f"\u007f-\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

/** The value between double quotes, cut to 80 characters. Only for host, origin and company values, never for secrets. */
export function quote(value: string): string {
  const text = value.slice(0, LONGEST_QUOTED).toWellFormed().replace(TRICKY, '')
  return value.length > LONGEST_QUOTED ? `"${text}…"` : `"${text}"`
}

/** `[name, value, name, value, …]`, as in `IncomingMessage.rawHeaders`. */
export type RawHeaders = readonly string[]

const NONE: readonly string[] = []

/** Every value of the header `name` (lower case), including empty ones, because the guards look for duplicates. */
export function headerValues(rawHeaders: RawHeaders, name: string): readonly string[] {
  let values: string[] | undefined
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const field = rawHeaders[at]!
    if (field.length !== name.length || field.toLowerCase() !== name) continue
    values ??= []
    values.push(rawHeaders[at + 1]!)
  }
  return values ?? NONE
}

/** Decodes one layer of escapes to bytes (Latin-1 text). Broken escapes stay as they are. */
export function decodeBytes(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
}

/**
 * Decodes until no escape is left, in one pass, so that the time for `%252525…` is linear. Escapes do not overlap, so
 * the order of decoding does not matter.
 */
export function decodeFully(text: string): string {
  if (!text.includes('%')) return text
  const out: string[] = []
  for (const char of text) {
    out.push(char)
    for (let byte = byteAtEnd(out); byte !== undefined; byte = byteAtEnd(out)) {
      out.length -= 3
      out.push(String.fromCharCode(byte))
    }
  }
  return out.join('')
}

function byteAtEnd(out: readonly string[]): number | undefined {
  if (out.at(-3) !== '%') return undefined
  const digits = out.at(-2)! + out.at(-1)!
  return /^[0-9a-f]{2}$/i.test(digits) ? Number.parseInt(digits, 16) : undefined
}

/** A query parameter to look for. */
export interface Parameter {
  /** For error messages. */
  readonly name: 'company_id' | '_method' | 'project_id'
  /** Matches a decoded key that a server may read as the parameter; every such key contains one of {@link WORDS}. */
  readonly key: RegExp
}

/** `name`, `name[]` and the like; Rack skips brackets and blanks before a key's first word. */
export function parameterNamed(name: Parameter['name']): Parameter {
  return { name, key: new RegExp(`^[\\s\\0[\\]]*${name}(?:$|[\\s\\0[\\]])`, 'i') }
}

export const COMPANY_ID = parameterNamed('company_id')
/** The parameter of Rack's method override. */
export const METHOD_OVERRIDE = parameterNamed('_method')

/** What the keys of all parameters contain. */
const WORDS = /company_id|_method|project/i

/** A pair whose key may be one of the parameters. */
interface Pair {
  /** The key after its escapes are decoded once, and completely. */
  readonly layers: readonly string[]
  /** What a server that drops what it cannot decode might find in its place. */
  readonly rests: readonly string[]
  /** Raw. */
  readonly value: string
}

/**
 * What was read last, because one request is searched for several parameters, one after the other. A path without escapes
 * hides no query, and counts as empty.
 */
let latest: Target & { readonly pairs: readonly Pair[] } = { path: '', query: '', pairs: [] }

/**
 * Every value of the parameter, decoded, including empty ones, because a server may read only the last of equal
 * keys; pairs end at `&` or `;`. Also looks into what a server that decodes the path before it splits would read as the
 * query. Throws `request_invalid` if such a key or its value can't be decoded.
 */
export function queryValues({ path, query }: Target, { name, key }: Parameter): readonly string[] {
  // A quick test: most requests have neither escapes nor such a parameter.
  const isPlain = !(query.includes('%') || WORDS.test(query))
  const escaped = path.includes('%') ? path : ''
  if (isPlain && escaped === '') return NONE
  if (latest.path !== escaped || latest.query !== query) {
    latest = { path: escaped, query, pairs: queriesOf(escaped, query).flatMap(pairsIn) }
  }
  const values: string[] = []
  for (const { layers, rests, value } of latest.pairs) {
    if (layers.some((layer) => key.test(layer))) {
      const decoded = formDecode(value)
      if (decoded === undefined) throw undecodable(name)
      values.push(decoded)
    } else if (rests.some((rest) => key.test(rest))) throw undecodable(name)
  }
  return values
}

/** The query itself, and what a server that decodes before it splits would read as the query. Each includes its `?`. */
function queriesOf(path: string, query: string): readonly string[] {
  const readings = readingsOf(path) ?? []
  const hidden = readings.flatMap((reading) =>
    reading.includes('?') ? reading.slice(reading.indexOf('?')) : [],
  )
  return [query, ...hidden]
}

function pairsIn(query: string): readonly Pair[] {
  const pairs: Pair[] = []
  for (const pair of query.slice(1).split(/[&;]/)) {
    const equals = pair.indexOf('=')
    const key = (equals === -1 ? pair : pair.slice(0, equals)).replaceAll('+', ' ')
    const once = decodeBytes(key)
    const layers = once.includes('%') ? [once, decodeFully(once)] : [once]
    const rests = layers.flatMap(readableRests)
    const mayBeLookedFor = (text: string) => WORDS.test(text)
    if (!layers.some(mayBeLookedFor) && !rests.some(mayBeLookedFor)) continue
    pairs.push({ layers, rests, value: equals === -1 ? '' : pair.slice(equals + 1) })
  }
  return pairs
}

/** The text without what cannot be decoded; without broken escapes, or without their signs only. */
function readableRests(text: string): readonly string[] {
  if (!/[^ -$&-~]/.test(text)) return []
  return [text.replace(/%.{0,2}|[^ -~]/gs, ''), text.replace(/%|[^ -~]/g, '')]
}

/** Decodes application/x-www-form-urlencoded text; undefined if an escape is broken or is not UTF-8. */
function formDecode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

function undecodable(name: Parameter['name']): ProxyError {
  return new ProxyError('request_invalid', `The query's ${name} can't be decoded.`)
}

/** No legitimate path has more layers of escapes. */
const MOST_LAYERS = 3
/** In characters, without the query; far longer than any path of Procore's API. */
const LONGEST_PATH = 4096

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
  if (path.length > LONGEST_PATH) return undefined
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

/** What a caller asks for, as the exact bytes sent. Decisions and forwarding use the same bytes. */
export interface Target {
  readonly path: string
  /** Including its `?`; empty if there is no query. */
  readonly query: string
}

/** Anything but visible ASCII, and `#`, which no target may contain. */
const NOT_IN_A_TARGET = /[^!"$-~]/

/** Control characters and spaces, which URL parsers drop or trim: some servers read `.%0a.` and `..%20` as `..`. */
const DROPPED_BY_PARSERS = /[\x01-\x20\x7f]/g

const DOT_SEGMENT = /\/\.\.?(?:$|[/;?#])/

/**
 * Splits a request target. `authority` is the request's own, in lower case, as `readHost` gives it; an absolute-form
 * target must name the same one (a default port may be left out). Throws `request_invalid`.
 */
export function readTarget(rawTarget: string, authority: string): Target {
  const target = rawTarget.startsWith('/') ? rawTarget : afterOwnAuthority(rawTarget, authority)
  if (NOT_IN_A_TARGET.test(target)) {
    throw invalid('The request target contains a control character, a space, "#" or a byte beyond ASCII.')
  }
  const mark = target.indexOf('?')
  const path = mark === -1 ? target : target.slice(0, mark)
  refuseAmbiguous(path)
  return { path, query: mark === -1 ? '' : target.slice(mark) }
}

/** The part after `http://AUTHORITY` in an absolute-form target. */
function afterOwnAuthority(rawTarget: string, authority: string): string {
  const [start, scheme = ''] = /^(https?):\/\//i.exec(rawTarget) ?? []
  if (start === undefined) throw invalid('The request target must be a path that starts with "/".')
  const slash = rawTarget.indexOf('/', start.length)
  const port = scheme.toLowerCase() === 'http' ? /:(?:80)?$/ : /:(?:443)?$/
  const bare = (text: string) => text.toLowerCase().replace(port, '')
  if (slash === -1 || bare(rawTarget.slice(start.length, slash)) !== bare(authority)) {
    throw invalid('The request target names another authority than the Host header.')
  }
  return rawTarget.slice(slash)
}

// Invariant: the bytes that were judged are the bytes that are sent. All of these survive decoding, so checking the
// fully decoded path is enough.
function refuseAmbiguous(path: string): void {
  const decoded = path.includes('%') ? decodedUtf8(path) : path
  const bare = decoded.replace(DROPPED_BY_PARSERS, '')
  if (bare.startsWith('//')) throw invalid('The path starts with a doubled slash.')
  if (bare.includes('\\')) throw invalid('The path contains a backslash.')
  if (bare.includes('\0')) throw invalid('The path contains a NUL.')
  if (DOT_SEGMENT.test(bare)) throw invalid('The path contains a dot segment.')
}

/** The path with all escapes decoded. It must be valid UTF-8 at the first layer and at the last (no overlong bytes). */
function decodedUtf8(path: string): string {
  const fully = decodeFully(path)
  try {
    decodeURIComponent(path)
  } catch {
    throw invalid('The path contains a percent escape that is broken or not UTF-8.')
  }
  if (!isUtf8(Buffer.from(fully, 'latin1'))) {
    throw invalid('The path contains a percent escape that is not UTF-8.')
  }
  return fully
}

function invalid(detail: string): ProxyError {
  return new ProxyError('request_invalid', detail)
}
