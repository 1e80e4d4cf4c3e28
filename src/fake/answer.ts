// What the fake's servers receive and answer.
import { STATUS_CODES } from 'node:http'

/** Header fields by name. */
export type HeaderFields = Record<string, string>

/** The head of a request. */
export interface FakeRequest {
  readonly method: string
  /** The target up to its `?`, not decoded. */
  readonly path: string
  readonly query: URLSearchParams
  /** By lower-case name. */
  readonly headers: NodeJS.Dict<string | string[]>
  /** The server's own, such as `http://127.0.0.1:9002`. */
  readonly origin: string
}

/** A response of any of the fake's servers. */
export interface FakeAnswer {
  readonly status: number
  readonly headers?: HeaderFields
  readonly body?: string
}

/** Answers a request: `headers` are in every response to it, and `answer` makes the rest once its body is there. */
export type Responder = (request: FakeRequest) => {
  readonly headers: HeaderFields
  readonly answer: (body: string) => FakeAnswer
}

/** An answer in JSON. */
export function json(status: number, value: unknown, headers?: HeaderFields): FakeAnswer {
  const type = { 'Content-Type': 'application/json; charset=utf-8' }
  return { status, headers: { ...type, ...headers }, body: JSON.stringify(value) }
}

/** An API error in the shape of the path's version: `{errors:[…]}`, or the `{error:{code,message}}` of v2. */
export function apiError(path: string, status: number, message: string): FakeAnswer {
  if (!path.startsWith('/rest/v2')) return json(status, { errors: [message] })
  const name = status === 401 ? 'Invalid Token' : (STATUS_CODES[status] ?? 'Error')
  const code = name.toUpperCase().replaceAll(/\W+/g, '_')
  return json(status, { error: { code, message, details: [] } })
}
