// Describes the fake's responses, and writes them completely or only half.
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Exchange } from './listener.ts'

/** Header fields by name. A list sends the field several times; an empty list removes it. */
export type HeaderFields = Readonly<Record<string, string | readonly string[]>>

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

interface Sized {
  readonly body: Buffer | undefined
  readonly bytes: number
}

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
export function apiError(path: string, status: number, message: string, headers?: HeaderFields): Answer {
  if (!path.startsWith('/rest/v2')) return json(status, { errors: [message] }, headers)
  const code = V2_CODES[status] ?? 'ERROR'
  return json(status, { error: { code, message, details: [] } }, headers)
}

/** Merges headers. Later fields replace earlier ones; names are case-insensitive. */
export function mergeFields(...parts: readonly (HeaderFields | undefined)[]): HeaderFields {
  const fields = new Map<string, [string, string | readonly string[]]>()
  for (const part of parts) {
    for (const field of Object.entries(part ?? {})) fields.set(field[0].toLowerCase(), field)
  }
  return Object.fromEntries(fields.values())
}

/** Sends a response with the correct framing for HEAD, 204 and 304, and with back-pressure. */
export async function send(exchange: Exchange, answer: Answer, ending: Ending = 'whole'): Promise<void> {
  const { response, entry } = exchange
  const body = answer.body === undefined ? undefined : Buffer.from(answer.body)
  const bytes = body?.length ?? answer.fillBytes ?? 0
  const empty = answer.status === 204 || answer.status === 304
  const length = empty || !Number.isFinite(bytes) ? {} : { 'Content-Length': String(bytes) }
  const fields = mergeFields(length, answer.headers)
  response.writeHead(answer.status, rawFields(fields))
  entry.status = answer.status
  if (empty || entry.method === 'HEAD') {
    response.end()
  } else if (ending !== 'whole') {
    await sendHalf(exchange, { body, bytes }, ending)
  } else if (body !== undefined || bytes === 0) {
    response.end(body)
  } else {
    await pipeline(Readable.from(filler(bytes)), response)
  }
}

/** Node's flat header list. A chunked response has no Content-Length, because HTTP does not allow both. */
function rawFields(fields: HeaderFields): string[] {
  const names = Object.keys(fields).map((name) => name.toLowerCase())
  const chunked = names.includes('transfer-encoding')
  return Object.entries(fields).flatMap(([name, value]) => {
    if (chunked && name.toLowerCase() === 'content-length') return []
    return (typeof value === 'string' ? [value] : value).flatMap((one) => [name, one])
  })
}

async function sendHalf(exchange: Exchange, { body, bytes }: Sized, ending: Ending): Promise<void> {
  const half = Math.floor(bytes / 2)
  exchange.response.flushHeaders()
  const chunks = body === undefined ? filler(half) : [body.subarray(0, half)]
  await pipeline(Readable.from(chunks), exchange.response, { end: false })
  if (ending === 'hang') return
  // A reset may overtake bytes that have not arrived yet, so wait first.
  await sleep(20)
  exchange.reset()
}

function* filler(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= FILLER.length) {
    yield left < FILLER.length ? FILLER.subarray(0, left) : FILLER
  }
}
