// Reads a request target (RFC 9112 section 3.2) and refuses paths that two servers could read differently.
import { isUtf8 } from 'node:buffer'
import { ProxyError } from '../errors.ts'
import { decodeFully } from './percent.ts'

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
    throw invalid('The request target holds a control character, a space, "#" or a byte beyond ASCII.')
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
  const decoded = path.includes('%') ? decoded8(path) : path
  const bare = decoded.replace(DROPPED_BY_PARSERS, '')
  if (bare.startsWith('//')) throw invalid('The path starts with a doubled slash.')
  if (bare.includes('\\')) throw invalid('The path holds a backslash.')
  if (bare.includes('\0')) throw invalid('The path holds a NUL.')
  if (DOT_SEGMENT.test(bare)) throw invalid('The path holds a dot segment.')
}

/** The path with all escapes decoded. It must be valid UTF-8 at the first layer and at the last (no overlong bytes). */
function decoded8(path: string): string {
  const fully = decodeFully(path)
  try {
    decodeURIComponent(path)
  } catch {
    throw invalid('The path holds a percent escape that is not UTF-8.')
  }
  if (!isUtf8(Buffer.from(fully, 'latin1'))) {
    throw invalid('The path holds a percent escape that is not UTF-8.')
  }
  return fully
}

function invalid(detail: string): ProxyError {
  return new ProxyError('request_invalid', detail)
}
