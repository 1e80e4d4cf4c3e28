// Describes the fake's responses, and writes them completely or only half.
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Exchange } from './listener.ts'

/** Header fields by name. A list sends the field several times; an empty list removes it. */
export type HeaderFields = Record<string, string | string[]>

/** A response of any of the fake's servers. */
export interface Answer {
  readonly status: number
  readonly headers?: HeaderFields | undefined
  readonly body?: string | Buffer | undefined
  /** Instead of `body`: streams this many bytes of filler; `Infinity` never ends. */
  readonly fillBytes?: number | undefined
}

/** How a response ends: normally, hanging after half of it, or with a reset after half of it. */
export type Ending = 'whole' | 'hang' | 'reset'

const FILLER = Buffer.alloc(64 * 1024, 'procore-')

/** An answer in JSON. */
export function json(status: number, value: unknown, headers?: HeaderFields): Answer {
  const type = { 'Content-Type': 'application/json; charset=utf-8' }
  return { status, headers: mergeFields(type, headers), body: JSON.stringify(value) }
}

const V2_CODES: Readonly<Record<number, string>> = {
  400: 'BAD_REQUEST',
  401: 'INVALID_TOKEN',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  422: 'UNPROCESSABLE_ENTITY',
  429: 'TOO_MANY_REQUESTS',
  503: 'SERVICE_UNAVAILABLE',
}

/** An API error in the shape of the path's version: `{errors:[…]}`, or the `{error:{code,message}}` of v2. */
export function apiError(path: string, status: number, message: string): Answer {
  if (!path.startsWith('/rest/v2')) return json(status, { errors: [message] })
  return json(status, { error: { code: V2_CODES[status] ?? 'ERROR', message, details: [] } })
}

/** Merges headers. Later fields replace earlier ones; names are case-insensitive. */
export function mergeFields(...parts: readonly (HeaderFields | undefined)[]): HeaderFields {
  const fields = parts.flatMap((part) => Object.entries(part ?? {}))
  return Object.fromEntries(new Map(fields.map((field) => [field[0].toLowerCase(), field])).values())
}

/** Sends a response with the correct framing for HEAD, 204 and 304, and with back-pressure. */
export async function send(exchange: Exchange, answer: Answer, ending: Ending = 'whole'): Promise<void> {
  const { response, entry } = exchange
  const { status, headers = {}, fillBytes = 0 } = answer
  const body = answer.body === undefined ? undefined : Buffer.from(answer.body)
  const bytes = body?.length ?? fillBytes
  const isEmpty = status === 204 || status === 304
  // HTTP does not allow a length for a chunked response.
  const isChunked = Object.keys(headers).some((name) => name.toLowerCase() === 'transfer-encoding')
  const length = isEmpty || isChunked || !Number.isFinite(bytes) ? {} : { 'Content-Length': String(bytes) }
  response.writeHead(status, mergeFields(length, headers))
  entry.status = status
  if (isEmpty || entry.method === 'HEAD') response.end()
  else if (ending === 'whole' && body !== undefined) response.end(body)
  else if (ending === 'whole') await pipeline(Readable.from(filler(bytes)), response)
  else {
    const half = Math.floor(bytes / 2)
    response.flushHeaders()
    const chunks = body === undefined ? filler(half) : [body.subarray(0, half)]
    await pipeline(Readable.from(chunks), response, { end: false })
    if (ending === 'hang') return
    // A reset may overtake bytes that have not arrived yet, so wait first.
    await sleep(20)
    exchange.reset()
  }
}

function* filler(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= FILLER.length) yield FILLER.subarray(0, left)
}
