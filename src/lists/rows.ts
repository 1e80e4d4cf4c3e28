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
  readonly #seen = new Set<unknown>()

  /** False if a row with this `id` has appeared before. A row without an id is always new. */
  isNew(row: unknown): boolean {
    const id = isRow(row) ? compact(row['id']) : undefined
    if (id === undefined) return true
    const before = this.#seen.size
    return this.#seen.add(id).size > before
  }
}

/** The id as text, so that `7` and `"7"` are the same row. */
export function idText(id: unknown): string | undefined {
  if (typeof id === 'string' || typeof id === 'number') return String(id)
  return JSON.isRawJSON(id) ? id.rawJSON : undefined
}

/** Small numbers take less memory than their text. */
function compact(id: unknown): string | number | undefined {
  const text = idText(id)
  return text !== undefined && /^[1-9]\d{0,14}$/.test(text) ? Number(text) : text
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
  return typeof value !== 'number' || source === undefined || String(value) === source
    ? value
    : JSON.rawJSON(source)
}

function notAList(): ProxyError {
  return new ProxyError('list_not_a_list', 'The response at this path is not a JSON array.')
}
