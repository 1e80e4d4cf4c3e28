// Reads a request target (RFC 9112 section 3.2) and refuses paths that two readers could understand in two ways.
import { ProxyError } from '../errors.ts'

/** What a caller asks for. `path` and `query` are the bytes as sent: decisions and forwarding use the same ones. */
export interface Target {
  readonly path: string
  /** With its `?`, or empty. */
  readonly query: string
  /** The path, percent-decoded once, as UTF-8. */
  readonly decodedPath: string
}

/** Anything but visible ASCII, and `#`, which no target may hold. */
const NOT_IN_A_TARGET = /[^!"$-~]/

/** Tab, CR and LF: WHATWG URL parsers drop them, so `.%0a.` is `..` to a reader that decodes first. */
const DROPPED_BY_URL_PARSERS = /[\t\r\n]/g

/**
 * Splits a request target. `authority` is the request's own, in lower case, as {@link readHost} gives it; an
 * absolute-form target must name just that. Throws `request_invalid`.
 */
export function readTarget(rawTarget: string, authority: string): Target {
  const target = rawTarget.startsWith('/') ? rawTarget : afterOwnAuthority(rawTarget, authority)
  if (NOT_IN_A_TARGET.test(target)) {
    throw invalid('The request target holds a control character, a space, "#" or a byte beyond ASCII.')
  }
  const mark = target.indexOf('?')
  const path = mark === -1 ? target : target.slice(0, mark)
  const decodedPath = path.includes('%') ? decodeOnce(path) : path
  refuseAmbiguous(decodedPath.includes('%') ? decodeFully(decodedPath) : decodedPath)
  return { path, query: mark === -1 ? '' : target.slice(mark), decodedPath }
}

/** What follows `http://AUTHORITY` in an absolute-form target. */
function afterOwnAuthority(rawTarget: string, authority: string): string {
  const scheme = /^https?:\/\//i.exec(rawTarget)?.[0].length
  if (scheme === undefined) {
    throw invalid('The request target must be a path that starts with "/".')
  }
  const slash = rawTarget.indexOf('/', scheme)
  if (slash === -1 || rawTarget.slice(scheme, slash).toLowerCase() !== authority) {
    throw invalid('The request target names another authority than the Host header.')
  }
  return rawTarget.slice(slash)
}

function decodeOnce(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    throw invalid('The path holds a percent escape that is no UTF-8.')
  }
}

/**
 * Decodes until nothing is left to decode, byte by byte and in one pass, so that `%252525…` costs no more than it is
 * long. No two escapes overlap, hence the order of decoding does not matter.
 */
function decodeFully(text: string): string {
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

// Invariant: all of these survive further decoding, so the fully decoded path stands for every stage before it.
function refuseAmbiguous(decoded: string): void {
  const path = decoded.replace(DROPPED_BY_URL_PARSERS, '')
  if (path.startsWith('//')) throw invalid('The path starts with a doubled slash.')
  if (path.includes('\\')) throw invalid('The path holds a backslash.')
  if (path.includes('\0')) throw invalid('The path holds a NUL.')
  for (let at = path.indexOf('/.'); at !== -1; at = path.indexOf('/.', at + 1)) {
    const end = path[at + 2] === '.' ? at + 3 : at + 2
    const next = path[end]
    if (next === undefined || next === '/' || next === ';') throw invalid('The path holds a dot segment.')
  }
}

function invalid(detail: string): ProxyError {
  return new ProxyError('request_invalid', detail)
}
