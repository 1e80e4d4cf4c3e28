// Names a request: the caller's own X-Request-Id where it is a plain one, else a new one.
import { randomUUID } from 'node:crypto'

const PLAIN = /^[\w.-]{1,128}$/

/** A new request id. */
export function newRequestId(): string {
  return randomUUID()
}

/** The caller's id, if it can be printed and repeated without harm. */
export function requestIdOf(header: string | string[] | undefined): string {
  return typeof header === 'string' && PLAIN.test(header) ? header : newRequestId()
}
