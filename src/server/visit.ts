// One request from when it comes in until its answer has ended: counted, and told to whoever observes.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Passage } from '../forward/forwarder.ts'
import type { Exchange } from '../observe/exchange.ts'
import type { Drain } from './drain.ts'
import type { Listener, Listeners } from './listeners.ts'
import type { Observation } from './observation.ts'

/** What is the same for all visits of a server. */
export interface House {
  readonly drain: Drain
  readonly listeners: Listeners
  readonly observation: Observation
}

/**
 * Methods and not closures that are hung on the request: with those, V8's young generation kept every request until the
 * next full collection, which cost a quarter of a request's CPU time.
 */
export class Visit {
  readonly listener: Listener
  readonly exchange: Exchange
  /** Where it goes, if it is forwarded. */
  passage: Passage | undefined
  readonly #house: House
  readonly #response: ServerResponse
  #isOver = false

  constructor(house: House, listener: Listener, exchange: Exchange, response: ServerResponse) {
    this.#house = house
    this.listener = listener
    this.exchange = exchange
    this.#response = response
    house.drain.entered(response)
    response.on('close', this.#onClose)
  }

  /** Counts it as over before its answer has ended: for answers that stay open. */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#house.drain.left()
    const { headersSent, statusCode } = this.#response
    this.#house.observation.ended(this.exchange, headersSent ? statusCode : null)
  }

  readonly #onClose = (): void => {
    this.#house.listeners.answered(this.listener)
    if (this.#isOver) return
    if (!this.#response.writableFinished) this.exchange.cause ??= 'caller_gone'
    this.end()
  }
}

/** What is hung on Node's request, so that Fastify's routes find it again. */
interface ListenedRequest extends IncomingMessage {
  visit: Visit
}

export function hangOn(request: IncomingMessage, visit: Visit): void {
  ;(request as ListenedRequest).visit = visit
}

/** The visit that was hung on a request. */
export function visitOf(request: IncomingMessage): Visit {
  return (request as ListenedRequest).visit
}
