// A call: one request that the guards let through, on its way to Procore. Everything after the guards reads it.
import type { Caller, Company } from '../config/config.ts'
import type { Exchange } from '../observe/exchange.ts'
import type { RequestBody } from './request-body.ts'
import type { ResponseHead, UpstreamResponse } from './upstream-response.ts'
import type { Upstream } from './upstreams.ts'

/** One request that the guards let through. */
export interface Call {
  /** The record of the request for log, metrics, recorder and audit. */
  readonly exchange: Exchange
  /** The connections, token and budget for this call. */
  readonly upstream: Upstream
  /** The company's name, or its id under `"*"`. */
  readonly companyName: string
  readonly companyId: string
  /** The company's configuration. The rules for the pages of a list are judged with it. */
  readonly company: Pick<Company, 'access' | 'rules'>
  /** The caller that the key belongs to (`callers:`); undefined if callers have no names. */
  readonly caller: Caller | undefined
  /** Whose turn it takes in a queue: the listener and the key that it came by. */
  readonly queueKey: string
  readonly method: string
  /** Raw path and query without the company prefix: exactly the bytes that were judged. */
  readonly path: string
  /** The caller's headers as they arrived: name, value, name, value, … in Latin-1. */
  readonly rawHeaders: readonly string[]
  /** Null if the request has no body. */
  readonly body: RequestBody | null
  /** Reports when the caller disconnects. */
  readonly departure: Departure
  /** The proxy asks for gzip on the caller's behalf. */
  readonly gzip: boolean
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
