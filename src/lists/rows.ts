// Reads the rows of a page, keeps all digits of numbers, and leaves out rows that have appeared before.
import { ProxyError } from '../errors.ts'
import { endOfString } from '../forward/response-body.ts'
import { isVersion2 } from './target.ts'

declare global {
  /** ECMAScript's "JSON.parse source text access", which Node has and TypeScript's library does not know yet. */
  interface JSON {
    rawJSON(text: string): { readonly rawJSON: string }
    isRawJSON(value: unknown): value is { readonly rawJSON: string }
  }
}

/** A row that is an object, as all of Procore's are. */
export type Row = Readonly<Record<string, unknown>>

/** Text that may contain a number that JavaScript would write differently. A false match only costs time. */
const INEXACT = /[\d.]{16}|\.\d*0(?!\d)|\d[eE][+-]?\d|(?:^|[:,[\s])-0(?:$|[,}\]\s])|0\.000000/

/** JavaScript writes a number of this form with at most 15 characters as it came. */
const PLAIN = /^(?!-0$|-?0\.000000)-?(?:0|[1-9]\d*)(?:\.\d*[1-9])?$/

/** The rows of a page; each is parsed when it is asked for, and again when it is asked for again. */
export interface Rows extends Iterable<unknown> {
  readonly length: number
}

/**
 * The rows of a page of the list at `path`: those of an array, or of the `data` array of version 2. A number that would
 * not keep its digits is a raw JSON object, which `JSON.stringify` writes as it came. Throws `list_not_a_list`.
 */
export function readRows(path: string, body: Buffer): Rows {
  const data = isVersion2(path) ? findMember(body, 'data') : undefined
  const places = splitArray(body, data)
  const isWhole = skipSpace(body, endOfValue(body, skipSpace(body, 0))) === body.length
  if (places === undefined || !isWhole) throw notAList()
  return {
    length: places.length / 2,
    *[Symbol.iterator]() {
      for (let at = 0; at < places.length; at += 2)
        yield parse(body.toString('utf8', places[at], places[at + 1]))
    },
  }
}

/** True for an object that is no array and no raw number. */
export function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !JSON.isRawJSON(value)
}

/** The row as an object. */
export function asRow(row: unknown): Row {
  return isRow(row) ? row : { value: row }
}

/** The row with its project's id first, unless it has one of its own. */
export function withProject(projectId: unknown, row: unknown): Row {
  return { project_id: projectId, ...asRow(row) }
}

/** Remembers ids, because pages shift while they are read, and a row may then appear twice. */
export class SeenIds {
  /**
   * Positive numbers, in 10 to 20 bytes each: the long-lived objects of a `Set` would let V8's memory grow. Open
   * addressing; 0 is a free place.
   */
  #numbers = new Float64Array(1024)
  #size = 0
  readonly #texts = new Set<string>()

  /** False if a row with this `id` has appeared before. A row without an id is always new. */
  isNew(row: unknown): boolean {
    const id = isRow(row) ? row['id'] : undefined
    if (typeof id === 'number' && id > 0) return this.#add(id)
    const text = idText(id)
    if (text === undefined) return true
    if (/^[1-9]\d{0,14}$/.test(text)) return this.#add(Number(text))
    const before = this.#texts.size
    return this.#texts.add(text).size > before
  }

  #add(number: number): boolean {
    const place = placeOf(this.#numbers, number)
    if (this.#numbers[place] === number) return false
    this.#numbers[place] = number
    this.#size++
    if (this.#size * 5 <= this.#numbers.length * 4) return true
    const larger = new Float64Array(this.#numbers.length * 2)
    for (const each of this.#numbers) if (each !== 0) larger[placeOf(larger, each)] = each
    this.#numbers = larger
    return true
  }
}

/** Where the number is, or the free place where it belongs. The length of `places` is a power of two. */
function placeOf(places: Float64Array, number: number): number {
  const last = places.length - 1
  const mixed = Math.imul(number % 2 ** 32, 0x9e3779b1) ^ Math.imul(number / 2 ** 32, 0x85ebca6b)
  let place = (mixed ^ (mixed >>> 15)) & last
  while (places[place] !== 0 && places[place] !== number) place = (place + 1) & last
  return place
}

/** The id as text, so that `7` and `"7"` are the same row. */
export function idText(id: unknown): string | undefined {
  if (typeof id === 'string' || typeof id === 'number') return String(id)
  return JSON.isRawJSON(id) ? id.rawJSON : undefined
}

function parse(text: string): unknown {
  try {
    return INEXACT.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text)
  } catch {
    throw notAList()
  }
}

function keepDigits(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source
  if (typeof value !== 'number' || source === undefined) return value
  // Not compared with String(value), because V8 keeps a number's text until its next full garbage collection.
  return source.length <= 15 && PLAIN.test(source) ? value : JSON.rawJSON(source)
}

function notAList(): ProxyError {
  return new ProxyError('list_not_a_list', 'The response at this path is not a JSON array.')
}

// --- finding the elements of an array without parsing them, so that a page is never in memory as objects ---------------

const [SPACE, QUOTE, COMMA, COLON] = [0x20, 0x22, 0x2c, 0x3a]
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d]

/**
 * The positions of the elements of the array that starts at `start`: begin, end, begin, end, … Undefined if there is
 * no complete array. The content of the elements is not checked.
 */
export function splitArray(json: Buffer, start = 0): readonly number[] | undefined {
  const places: number[] = []
  let at = skipSpace(json, start)
  if (json[at] !== OPEN_ARRAY) return undefined
  at = skipSpace(json, at + 1)
  if (json[at] === CLOSE_ARRAY) return places
  for (;;) {
    const end = endOfValue(json, at)
    if (end <= at) return undefined
    places.push(at, end)
    at = skipSpace(json, end)
    if (json[at] === CLOSE_ARRAY) return places
    if (json[at] !== COMMA) return undefined
    at = skipSpace(json, at + 1)
  }
}

/** Where the value of a member of the object begins; undefined if the JSON is no object or has no such member. */
export function findMember(json: Buffer, name: string): number | undefined {
  let at = skipSpace(json, 0)
  for (let next = OPEN_OBJECT; json[at] === next; next = COMMA) {
    at = skipSpace(json, at + 1)
    const end = json[at] === QUOTE ? endOfString(json, at) : -1
    if (end === -1) return undefined
    const isFound = json.toString('utf8', at + 1, end) === name
    at = skipSpace(json, end + 1)
    if (json[at] !== COLON) return undefined
    at = skipSpace(json, at + 1)
    if (isFound) return at
    at = skipSpace(json, Math.max(at, endOfValue(json, at)))
  }
  return undefined
}

/** `JSON.parse` with a reviver and `JSON.stringify` fail at some thousands. */
const MOST_DEPTH = 1000

/** The place after the value that begins at `start`; -1 if it has no end, or is nested too deep to be read. */
function endOfValue(json: Buffer, start: number): number {
  let depth = 0
  for (let at = start; at < json.length; at += 1) {
    const byte = json[at] as number
    if (byte === QUOTE) {
      at = endOfString(json, at)
      if (at === -1) return -1
      if (depth === 0) return at + 1
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      depth += 1
      if (depth > MOST_DEPTH) return -1
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      // A number or a word ends where the array around it does.
      if (depth === 0) return at
      depth -= 1
      if (depth === 0) return at + 1
    } else if (depth === 0 && (byte === COMMA || byte <= SPACE)) {
      return at
    }
  }
  return -1
}

function skipSpace(json: Buffer, start: number): number {
  let at = start
  while ((json[at] as number) <= SPACE) at += 1
  return at
}
