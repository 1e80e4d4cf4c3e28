// Chooses the id of a request: the caller's X-Request-Id if it is a simple one, else a new id.
import { randomUUID } from 'node:crypto'

const PLAIN = /^[\w.-]{1,128}$/

/** A new request id. */
export function newRequestId(): string {
  return randomUUID()
}

/** The caller's id if it is safe to print and repeat, else a new one. */
export function requestIdOf(header: string | string[] | undefined): string {
  return typeof header === 'string' && PLAIN.test(header) ? header : newRequestId()
}
