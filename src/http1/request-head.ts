// Writes the head of a request (RFC 9112 sections 2 to 5), and decides how its body is delimited.
import { ConnectionError } from '../network/connection-error.ts'
import type { OutgoingRequest } from './handler.ts'
import { isToken } from './per-name.ts'

/** A head that is ready to be written, in Latin-1. */
export interface RequestHead {
  readonly text: string
  /** Bytes of the body; undefined: chunks. */
  readonly length: number | undefined
}

/** What would end a value, or a line, too early. */
const NOT_IN_VALUE = /[^\t\x20-\x7e\x80-\xff]/
const PATH = /^\/[\x21-\x7e\x80-\xff]*$/
/** A body is expected of them: that there is none has to be said (RFC 9110 section 8.6). */
const WANT_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])

/** Invariant: how the body is delimited, and what becomes of the connection, is said once, and here. */
function isOurs(name: string): boolean {
  if (name.length === 10) return name.toLowerCase() === 'connection'
  if (name.length === 17) return name.toLowerCase() === 'transfer-encoding'
  return name.length === 7 && name.toLowerCase() === 'upgrade'
}

/**
 * The head of a request; throws a `UND_ERR_INVALID_ARG` where a part of it could be read as something else. After HEAD
 * the connection is closed: there are servers that send a body nevertheless.
 */
export function requestHead({ method, path, headers, body }: OutgoingRequest): RequestHead {
  // CONNECT and a switch of protocols change what follows the head; nobody here could read that.
  if (!isToken(method) || method === 'CONNECT' || !PATH.test(path)) throw invalid()
  let text = `${method} ${path} HTTP/1.1\r\n`
  let length: number | undefined
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] as string
    const value = headers[at + 1] as string
    if (!isToken(name) || NOT_IN_VALUE.test(value)) throw invalid()
    if (name.length === 14 && name.toLowerCase() === 'content-length') {
      // Invariant: one length, and the very one that the body is held to.
      if (length !== undefined || !/^[0-9]{1,15}$/.test(value)) throw invalid()
      length = Number(value)
    } else if (isOurs(name)) throw invalid()
    else text += `${name}: ${value}\r\n`
  }
  text += method === 'HEAD' ? 'Connection: close\r\n' : 'Connection: keep-alive\r\n'
  if (body === null) {
    if (length !== undefined && length > 0) throw invalid()
    return { text: WANT_BODY.has(method) ? `${text}Content-Length: 0\r\n\r\n` : `${text}\r\n`, length: 0 }
  }
  if (Buffer.isBuffer(body)) {
    if (length !== undefined && length !== body.length) throw invalid()
    length = body.length
  }
  if (length === undefined) return { text: `${text}Transfer-Encoding: chunked\r\n\r\n`, length }
  return { text: `${text}Content-Length: ${length}\r\n\r\n`, length }
}

function invalid(): ConnectionError {
  return new ConnectionError('UND_ERR_INVALID_ARG', 'the request holds what no HTTP/1.1 client can send')
}
