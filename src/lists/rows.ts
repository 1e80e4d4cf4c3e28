// Reads the rows of a page, keeps all digits of numbers, and leaves out rows that have appeared before.
import { ProxyError } from '../errors.ts'
import { isVersion2 } from './paging.ts'
import { findMember, splitArray } from './split.ts'

declare global {
  /** ECMAScript's "JSON.parse source text access", which Node has and TypeScript's library does not know yet. */
  interface JSON {
    rawJSON(text: string): { readonly rawJSON: string }
    isRawJSON(value: unknown): value is { readonly rawJSON: string }
  }
}

/** A row that is an object, as all of Procore's are. */
export type Row = Readonly<Record<string, unknown>>

/**
 * Text that may contain a number that JavaScript would write differently: long ones, `1.50`, `1e5`, `-0` and
 * `0.0000001`. A false match only costs time.
 */
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
  if (places === undefined) throw notAList()
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

/** The row with its project's id first, unless it has one of its own. */
export function withProject(projectId: unknown, row: unknown): Row {
  const members = isRow(row) ? row : { value: row }
  return { project_id: projectId, ...members }
}

/** Remembers ids, because pages shift while they are read, and a row may then appear twice. */
export class SeenIds {
  readonly #numbers = new NumberSet()
  readonly #texts = new Set<string>()

  /** False if a row with this `id` has appeared before. A row without an id is always new. */
  isNew(row: unknown): boolean {
    const id = isRow(row) ? row['id'] : undefined
    if (typeof id === 'number' && id > 0) return this.#numbers.add(id)
    const text = idText(id)
    if (text === undefined) return true
    if (/^[1-9]\d{0,14}$/.test(text)) return this.#numbers.add(Number(text))
    const before = this.#texts.size
    return this.#texts.add(text).size > before
  }
}

/** A set of positive numbers in 10 to 20 bytes each. The long-lived objects of a `Set` would let V8's memory grow. */
class NumberSet {
  /** Open addressing; 0 is a free place. */
  #places = new Float64Array(1024)
  #size = 0

  /** False if the number is there already. */
  add(number: number): boolean {
    const place = placeOf(this.#places, number)
    if (this.#places[place] === number) return false
    this.#places[place] = number
    this.#size += 1
    if (this.#size * 5 > this.#places.length * 4) this.#grow()
    return true
  }

  #grow(): void {
    const larger = new Float64Array(this.#places.length * 2)
    for (const number of this.#places) if (number !== 0) larger[placeOf(larger, number)] = number
    this.#places = larger
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
