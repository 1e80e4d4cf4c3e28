// The fake's responses, and how they are sent.
import { STATUS_CODES } from 'node:http'
import type { Exchange } from './listener.ts'

/** Header fields by name. A list sends the field several times; an empty list removes it. */
export type HeaderFields = Record<string, string | string[]>

/** A response of any of the fake's servers. */
export interface Answer {
  readonly status: number
  readonly headers?: HeaderFields | undefined
  readonly body?: string | Buffer | undefined
}

/** Procore's text for both windows (rate_limiting.md, 2025). */
export const RATE_LIMIT_TEXT =
  'You have surpassed the max number of requests for an hour. Please wait until your limit resets.'

/** Answers a request. `base` headers are added to every response; `ordinary` makes the normal response. */
export type Play = (exchange: Exchange, base: HeaderFields, ordinary: () => Promise<Answer>) => Promise<void>

/** Answers normally. The tests have another one, which can do it wrongly. */
export const playOrdinary: Play = async (exchange, base, ordinary) => {
  await exchange.received()
  const answer = await ordinary()
  send(exchange, { ...answer, headers: mergeFields(base, answer.headers) })
}

/** Sends a response with the correct framing. Node leaves out the body for HEAD. */
export function send({ response, entry }: Exchange, { status, headers, body = '' }: Answer): void {
  const length = status === 204 ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }
  entry.status = status
  response.writeHead(status, mergeFields(length, headers)).end(body)
}

/** An answer in JSON. */
export function json(status: number, value: unknown, headers?: HeaderFields): Answer {
  const type = { 'Content-Type': 'application/json; charset=utf-8' }
  return { status, headers: mergeFields(type, headers), body: JSON.stringify(value) }
}

/** An API error in the shape of the path's version: `{errors:[…]}`, or the `{error:{code,message}}` of v2. */
export function apiError(path: string, status: number, message: string): Answer {
  if (!path.startsWith('/rest/v2')) return json(status, { errors: [message] })
  const name = status === 401 ? 'Invalid Token' : (STATUS_CODES[status] ?? 'Error')
  const code = name.toUpperCase().replaceAll(/\W+/g, '_')
  return json(status, { error: { code, message, details: [] } })
}

/** Merges headers. Later fields replace earlier ones; names are case-insensitive. */
export function mergeFields(...parts: readonly (HeaderFields | undefined)[]): HeaderFields {
  const fields = parts.flatMap((part) => Object.entries(part ?? {}))
  return Object.fromEntries(new Map(fields.map((field) => [field[0].toLowerCase(), field])).values())
}
