// Reads one parameter from a raw query as leniently as any server might, so that no value can be smuggled past the
// checks.
import { ProxyError } from '../errors.ts'
import { decodeBytes, decodeFully } from './percent.ts'

const NONE: readonly string[] = []

/** A query parameter to look for. */
export interface Parameter {
  /** For error messages. */
  readonly name: string
  /** A quick test: a query without escapes that does not match cannot contain the parameter. */
  readonly hint: RegExp
  /** Matches a decoded key that a server may read as the parameter. */
  readonly key: RegExp
}

/** `company_id`, `company_id[]` and the like; Rack skips brackets and blanks before a key's first word. */
export const COMPANY_ID: Parameter = {
  name: 'company_id',
  hint: /company_id/i,
  key: /^[\s\0[\]]*company_id(?:$|[\s\0[\]])/i,
}

/** The parameter of Rack's method override. */
export const METHOD_OVERRIDE: Parameter = {
  name: '_method',
  hint: /_method/i,
  key: /^[\s\0[\]]*_method(?:$|[\s\0[\]])/i,
}

/**
 * Every non-empty value of the parameter, decoded; pairs end at `&` or `;`. `query` is raw, with its `?`. Throws
 * `request_invalid` if such a key or its value can't be decoded.
 */
export function queryValues(query: string, { name, hint, key }: Parameter): readonly string[] {
  if (query === '' || !(hint.test(query) || query.includes('%'))) return NONE
  const values: string[] = []
  for (const pair of query.slice(1).split(/[&;]/)) {
    const equals = pair.indexOf('=')
    if (equals === -1 ? !isKey(pair, key, name) : !isKey(pair.slice(0, equals), key, name)) continue
    const value = equals === -1 ? '' : formDecode(pair.slice(equals + 1))
    if (value === undefined) throw undecodable(name)
    if (value !== '') values.push(value)
  }
  return values
}

/** Whether a key is the parameter after its escapes are decoded once, or completely. */
function isKey(rawKey: string, key: RegExp, name: string): boolean {
  const spaced = rawKey.replaceAll('+', ' ')
  if (!/[%\0\x80-\uffff]/.test(spaced)) return key.test(spaced)
  const layers = [decodeBytes(spaced), decodeFully(spaced)]
  if (layers.some((layer) => key.test(layer))) return true
  // A server that drops what it cannot decode might find the parameter.
  const rests = layers.flatMap((layer) => [
    layer.replace(/%.{0,2}|[^ -~]/gs, ''),
    layer.replace(/%|[^ -~]/g, ''),
  ])
  if (rests.some((rest) => key.test(rest))) throw undecodable(name)
  return false
}

/** Decodes application/x-www-form-urlencoded text; undefined if an escape is broken or is not UTF-8. */
function formDecode(text: string): string | undefined {
  const spaced = text.replaceAll('+', ' ')
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
