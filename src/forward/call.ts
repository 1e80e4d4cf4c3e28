// A call: one request that the guards let through, on its way to Procore. Everything after the guards reads it.
import type { Caller, Company } from '../config/config.ts'
import type { Exchange } from '../observe/exchange.ts'
import type { RequestBody } from './request-body.ts'
import type { ResponseHead, UpstreamResponse } from './upstream-response.ts'
import type { Upstream } from './upstreams.ts'

/** One request that the guards let through. */
export interface Call {
  /** What log, metrics, recorder and audit see of it. */
  readonly exchange: Exchange
  /** The connections, token and budget that it uses. */
  readonly upstream: Upstream
  /** The company's name, or its id under `"*"`. */
  readonly companyName: string
  readonly companyId: string
  /** What the configuration says of the company; the rules of pages of a list are judged with it. */
  readonly company: Pick<Company, 'access' | 'rules'>
  /** The caller by its key (`callers:`); undefined where callers have no names. */
  readonly caller: Caller | undefined
  /** Whose turn it takes in a queue: the listener and the key that it came by. */
  readonly queueKey: string
  readonly method: string
  /** Raw path and query after the company prefix: the very bytes that were judged. */
  readonly path: string
  /** The caller's headers as they came: name, value, name, value, … in Latin-1. */
  readonly rawHeaders: readonly string[]
  /** Null where there is none. */
  readonly body: RequestBody | null
  /** Tells when the caller goes away. */
  readonly departure: Departure
  /** Ask for gzip on the caller's behalf. */
  readonly gzip: boolean
  /** The request is about to be written, each time that it is sent. */
  readonly onSending?: (() => void) | undefined
  /** Procore sent 102 or 103. */
  readonly onInformation?: ((status: number, head: ResponseHead) => void) | undefined
}

/** Sends a call to Procore (or answers it from what is kept) and gives the response once its head is there. */
export type Send = (call: Call) => Promise<UpstreamResponse>

/** The caller's leaving. Most requests end without anyone asking for the signal, so it is made on demand. */
export class Departure {
  #controller: AbortController | undefined
  #hasLeft = false
  /** Called at once when the caller leaves: ends the attempt that is under way. */
  onLeave: (() => void) | undefined

  /** True once the caller has closed its connection: nothing more may be sent for it. */
  get hasLeft(): boolean {
    return this.#hasLeft
  }

  /** Aborts when the caller leaves. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#hasLeft) this.#controller.abort(new CallerGoneError())
    return this.#controller.signal
  }

  /** The caller has closed its connection. */
  leave(): void {
    this.#hasLeft = true
    this.#controller?.abort(new CallerGoneError())
    this.onLeave?.()
  }
}

/** The caller closed its connection before its response was complete. */
export class CallerGoneError extends Error {
  override readonly name = 'CallerGoneError'

  constructor() {
    super('the caller closed its connection')
  }
}
