// The fake's responses: described, written completely or only half, and spoiled by faults.
import { STATUS_CODES } from 'node:http'
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

/** One way to misbehave. Whatever it does not set stays normal; hop-by-hop headers are sent as given. */
export interface Fault extends Partial<Answer> {
  /** A prefix of the raw target, or a test; all requests if absent. */
  readonly match?: string | ((method: string, url: string) => boolean)
  /** How often it applies; always if absent. */
  readonly times?: number
  /** Waits this long before anything else. */
  readonly delayMs?: number
  /** An error text, sent in the envelope of the path's version in place of `body`. */
  readonly message?: string
  /** Never answers (`true`, `before`), or stops after half of the body. */
  readonly hang?: boolean | 'before' | 'mid-body'
  /** Resets the connection instead of answering (`true`, `before`), or after half of the body. */
  readonly reset?: boolean | 'before' | 'mid-body'
  /** Raw bytes to send instead of an HTTP response; the connection then ends. */
  readonly raw?: string | Buffer
  /** When the request body is read: `first`, before the fault (default), `alongside` or `never`. */
  readonly reads?: 'first' | 'alongside' | 'never'
  /** Of the token endpoint: changes the JSON of a granted token; `undefined` makes the body empty. */
  readonly mutate?: (body: Record<string, unknown>) => unknown
}

/** Procore's text for both windows (rate_limiting.md, 2025). */
export const RATE_LIMIT_TEXT =
  'You have surpassed the max number of requests for an hour. Please wait until your limit resets.'

/** The fake's switches, all off at first. The first rule that matches and is not used up applies. */
export class Faults {
  token: Fault | undefined
  api: Fault[] = []
  storage: Fault[] = []
  readonly #struck = new WeakMap<Fault, number>()

  /** Switches everything off. */
  clear(): void {
    Object.assign(this, { token: undefined, api: [], storage: [] })
  }

  /** How often a fault has been applied. */
  struck(fault: Fault): number {
    return this.#struck.get(fault) ?? 0
  }

  /** The fault of a list for this request, counted. */
  next(list: readonly Fault[], method: string, url: string): Fault | undefined {
    const found = list.find((fault) => {
      const { match = '', times = Number.POSITIVE_INFINITY } = fault
      const hit = typeof match === 'string' ? url.startsWith(match) : match(method, url)
      return hit && this.struck(fault) < times
    })
    if (found !== undefined) this.#struck.set(found, this.struck(found) + 1)
    return found
  }

  // What Procore's API does, for short.
  unauthorized = (rule?: Fault) => this.#add(401, 'The access token is invalid', rule)
  notConnected = (rule?: Fault) => this.#add(403, 'App is not connected to this company.', rule)
  rateLimited = (retryAfter: number, rule?: Fault) =>
    this.#add(429, RATE_LIMIT_TEXT, { headers: { 'Retry-After': String(retryAfter) }, ...rule })
  unavailable = (retryAfter: number, rule?: Fault) =>
    this.#add(503, 'Service Unavailable', { headers: { 'Retry-After': String(retryAfter) }, ...rule })
  hang = (when: 'before' | 'mid-body' = 'before', rule?: Fault) => this.api.push({ hang: when, ...rule })
  reset = (when: 'before' | 'mid-body' = 'before', rule?: Fault) => this.api.push({ reset: when, ...rule })

  #add(status: number, message: string, rule: Fault = {}): Fault {
    const fault = { status, message, ...rule }
    this.api.push(fault)
    return fault
  }
}

/** Answers as the fault says. `base` headers are added to every response; `ordinary` makes the normal response. */
export async function play(
  exchange: Exchange,
  fault: Fault,
  base: HeaderFields,
  ordinary: () => Promise<Answer>,
): Promise<void> {
  const { reads, delayMs, raw, reset, hang } = fault
  if (reads === 'alongside') exchange.received().catch(() => undefined)
  else if (reads !== 'never') await exchange.received()
  if (delayMs) await sleep(delayMs, undefined, { signal: exchange.over })
  if (raw !== undefined) return exchange.sendRaw(raw)
  if (reset === true || reset === 'before') return exchange.reset()
  if (hang === true || hang === 'before') return
  const answer = ownAnswer(exchange.path, fault) ?? (await ordinary())
  const headers = mergeFields(base, answer.headers, fault.headers)
  const cut = reset ? 'reset' : 'whole'
  await send(exchange, { ...answer, headers }, hang ? 'hang' : cut)
}

/** The response that a fault defines; undefined if it only delays, cuts off or adds headers. */
function ownAnswer(path: string, fault: Fault): Answer | undefined {
  const { status = 200, body, fillBytes, message } = fault
  if (body !== undefined) return { status, body, headers: { 'Content-Type': typeOf(body) } }
  if (fillBytes !== undefined) return { status, fillBytes }
  if (message !== undefined) return apiError(path, status, message)
  if (fault.status === undefined) return undefined
  // There must be something to cut off halfway.
  return fault.hang || fault.reset ? { status, fillBytes: 1000 } : { status, body: '' }
}

function typeOf(body: string | Buffer): string {
  if (typeof body !== 'string') return 'application/octet-stream'
  return `${body.trimStart().startsWith('<') ? 'text/html' : 'application/json'}; charset=utf-8`
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

const FILLER = Buffer.alloc(64 * 1024, 'procore-')

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
