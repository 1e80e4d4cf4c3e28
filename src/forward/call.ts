// A call: one request that the guards let through, on its way to Procore, and its response.
import type { Caller, Company } from '../config/config.ts'
import type { Exchange } from '../observe/exchange.ts'
import type { CallerBase } from './links.ts'
import type { RequestBody } from './request-body.ts'
import type { Upstream } from './upstreams.ts'

/** One request that the guards let through, without its body and its caller's connection. */
export interface ApprovedCall {
  /** The record of the request for log, metrics, inspector and audit. */
  readonly exchange: Exchange
  /** The connections, token and budget for this call. */
  readonly upstream: Upstream
  /** The company's name, or its id under `"*"`. */
  readonly companyName: string
  readonly companyId: string
  /** The company's configuration. The rules for the pages of a list are judged with it. */
  readonly company: Pick<Company, 'access' | 'rules' | 'rewriteFileUrls'> &
    Partial<Pick<Company, 'isDefault'>>
  /** The caller that the key belongs to (`callers:`); undefined if callers have no names. */
  readonly caller: Caller | undefined
  /** Whose turn it takes in a queue: the listener and the key that it came by. */
  readonly queueKey: string
  readonly method: string
  /** Raw path and query without the company prefix: exactly the bytes that were judged. */
  readonly path: string
  /** The caller's headers as they arrived: name, value, name, value, … in Latin-1. */
  readonly rawHeaders: readonly string[]
  /** The proxy asks for gzip on the caller's behalf. */
  readonly gzip: boolean
  /** How the caller reached the proxy. */
  readonly base: CallerBase
}

/** The same with what belongs to the caller's connection. */
export interface Call extends ApprovedCall {
  /** Null if the request has no body. */
  readonly body: RequestBody | null
  /** Reports when the caller disconnects. */
  readonly departure: Departure
  /** Called each time the request is about to be written. */
  readonly onSending?: (() => void) | undefined
  /** Called when Procore has sent 102 or 103. */
  readonly onInformation?: ((status: number, head: ResponseHead) => void) | undefined
}

/**
 * Sends a call to Procore, or answers it from a cache or recording. Resolves once the head of the response is there.
 */
export type Send = (call: Call) => Promise<UpstreamResponse>

/** Tracks whether the caller has disconnected. The signal is created on demand, because most requests never need it. */
export class Departure {
  #controller: AbortController | undefined
  #hasLeft = false
  #onLeave: (() => void) | undefined

  /** True once the caller has closed its connection: nothing more may be sent for it. */
  get hasLeft(): boolean {
    return this.#hasLeft
  }

  /** Aborts when the caller disconnects. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#hasLeft) this.#controller.abort(new CallerGoneError())
    return this.#controller.signal
  }

  /**
   * `act` is called immediately when the caller disconnects, instead of an earlier one. A method, because V8 keeps a function
   * literal that is assigned to a property, with all that it can see, until the next full garbage collection.
   */
  whenLeft(act: () => void): void {
    this.#onLeave = act
  }

  /** The caller has closed its connection. */
  leave(): void {
    this.#hasLeft = true
    this.#controller?.abort(new CallerGoneError())
    this.#onLeave?.()
  }
}

/** The caller closed its connection before its response was complete. */
export class CallerGoneError extends Error {
  override readonly name = 'CallerGoneError'

  constructor() {
    super('the caller closed its connection')
  }
}

/** Header values by lower-case name; several values of one name are an array. */
export type ResponseHead = Readonly<Record<string, string | string[] | undefined>>

/** The first value of a header. */
export function headerValue(head: ResponseHead, name: string): string | undefined {
  const value = head[name]
  return Array.isArray(value) ? value[0] : value
}

export interface UpstreamResponse {
  readonly status: number
  /** The reason phrase, in Latin-1. */
  readonly statusText: string
  /** The headers as they arrived: name, value, name, value, … in Latin-1. */
  readonly rawHeaders: readonly string[]
  /** The same headers by lower-case name. */
  readonly head: ResponseHead
  /** The body, if all of it has arrived and has at most `most` bytes. Replaces {@link pipe}. */
  whole?(most: number): Buffer | undefined
  /**
   * Passes the body on chunk by chunk. After `write` has returned false, it pauses until {@link resume} is called
   * (one more chunk may be under way). Resolves at the end; rejects if the body breaks off, so that it is never
   * mistaken for complete.
   */
  pipe(write: (chunk: Buffer) => boolean): Promise<void>
  /** Continues a body that `write` paused. */
  resume(): void
  /** Ends the request and its connection. A reader's promise rejects with the reason. */
  abort(reason: Error): void
}

/** A response in memory, from the cache or from a recording. */
export function storedResponse(
  status: number,
  statusText: string,
  rawHeaders: readonly string[],
  body: Buffer,
): UpstreamResponse {
  return {
    status,
    statusText,
    rawHeaders,
    head: headOf(rawHeaders),
    whole: (most) => (body.length <= most ? body : undefined),
    pipe: async (write) => {
      if (body.length > 0) write(body)
    },
    resume: () => {},
    abort: () => {},
  }
}

/** The response with some of its members replaced; the others are those of `response`, its body above all. */
export function responseWith(
  response: UpstreamResponse,
  changes: Partial<UpstreamResponse>,
): UpstreamResponse {
  return {
    status: response.status,
    statusText: response.statusText,
    rawHeaders: response.rawHeaders,
    head: response.head,
    // Who replaces `pipe` sees the body, and has to see all of it.
    ...(changes.pipe === undefined && { whole: (most: number) => response.whole?.(most) }),
    pipe: (write) => response.pipe(write),
    resume: () => response.resume(),
    abort: (reason) => response.abort(reason),
    ...changes,
  }
}

/** Converts flat headers (name, value, …) into a map by lower-case name. */
export function headOf(rawHeaders: readonly string[]): ResponseHead {
  const head: Record<string, string | string[]> = Object.create(null)
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] as string).toLowerCase()
    const value = rawHeaders[at + 1] as string
    const known = head[name]
    if (known === undefined) head[name] = value
    else if (Array.isArray(known)) known.push(value)
    else head[name] = [known, value]
  }
  return head
}
