// Reads one parameter from a raw query, as Rack does or as a laxer reader might, so that none can be smuggled past.
import { ProxyError } from '../errors.ts'

const NONE: readonly string[] = []

/** What may stand before a key's first word for Rack to skip it, and what a lax reader would trim. */
const SKIPPED = /^[\s\0[\]]*$/

/**
 * Every non-empty value of `name`, of `name[]` and the like, decoded; pairs end at `&` or `;`. `query` is raw, with its
 * `?`. Throws `request_invalid` where such a key or its value can't be decoded.
 */
export function queryValues(query: string, name: string): readonly string[] {
  if (query === '' || !(query.includes(name) || query.includes('%'))) return NONE
  const values: string[] = []
  for (const pair of query.slice(1).split(/[&;]/)) {
    const equals = pair.indexOf('=')
    if (!isKey(equals === -1 ? pair : pair.slice(0, equals), name) || equals === -1) continue
    const value = formDecode(pair.slice(equals + 1))
    if (value === undefined) throw undecodable(name)
    if (value !== '') values.push(value)
  }
  return values
}

function isKey(rawKey: string, name: string): boolean {
  if (rawKey === name) return true
  const key = formDecode(rawKey)
  if (key === undefined) {
    if (couldBe(rawKey, name)) throw undecodable(name)
    return false
  }
  const at = key.indexOf(name)
  if (at === -1 || !SKIPPED.test(key.slice(0, at))) return false
  const next = key.charAt(at + name.length)
  return next === '' || SKIPPED.test(next)
}

/** True where a reader that keeps, or drops, what it can't decode might find `name` in this key. */
function couldBe(rawKey: string, name: string): boolean {
  const bytes = rawKey.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return bytes.includes(name) || bytes.replace(/%.{0,2}|[^ -~]/gs, '').includes(name)
}

/** Decodes application/x-www-form-urlencoded text; undefined where an escape is broken or no UTF-8. */
function formDecode(text: string): string | undefined {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text
  if (!spaced.includes('%')) return spaced
  try {
    return decodeURIComponent(spaced)
  } catch {
    return undefined
  }
}

function undecodable(name: string): ProxyError {
  return new ProxyError('request_invalid', `The query's ${name} can't be decoded.`)
}
