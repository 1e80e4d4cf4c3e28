// Interceptor: as many requests at once as there are connections; the rest waits here, where a caller that leaves is let go.

import { ProxyError } from '../errors.ts'
import { NEVER_SENT } from '../http1/handler.ts'
import type { Dispatch, ForwardOptions, Interceptor } from './dispatch.ts'
import { type AnswerHead, type Controller, type Handler, PassingHandler } from './passing-handler.ts'

interface Waiter {
  readonly options: ForwardOptions
  readonly handler: Handler
}

/** A pool's own queue can't give up a request whose caller has left: a flood of them would fill the memory. */
export class Connections {
  readonly #most: number
  readonly #maxQueued: number
  #dispatch: Dispatch = () => {}
  #busy = 0
  /** In the order of arrival. */
  readonly #waiting = new Set<Waiter>()

  /** `most` connections; `maxQueued` requests wait for one. */
  constructor(most: number, maxQueued: number) {
    this.#most = most
    this.#maxQueued = maxQueued
  }

  /** Requests that wait for a connection. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** To be composed around the pool itself. */
  readonly interceptor: Interceptor = (dispatch) => {
    this.#dispatch = dispatch
    return (options, handler) => {
      if (this.#busy < this.#most) {
        this.#send(options, handler)
        return
      }
      if (this.#waiting.size >= this.#maxQueued) {
        const detail = `More than ${this.#maxQueued} requests of this company wait for a connection.`
        const overloaded = new ProxyError('overloaded', detail, { retryAfterSeconds: 1 })
        handler.onResponseError(NEVER_SENT, overloaded)
        return
      }
      const waiter = { options, handler }
      options.caller.onGone = () => {
        this.#waiting.delete(waiter)
        handler.onResponseError(NEVER_SENT, new Error('the caller went away'))
      }
      this.#waiting.add(waiter)
    }
  }

  #send(options: ForwardOptions, handler: Handler): void {
    this.#busy++
    const connection = new Connection(handler, this)
    try {
      this.#dispatch(options, connection)
    } catch (error) {
      connection.release()
      throw error
    }
  }

  /** A connection has done with its request. */
  released(): void {
    this.#busy--
    const [next] = this.#waiting
    if (next === undefined || this.#busy >= this.#most) return
    this.#waiting.delete(next)
    next.options.caller.onGone = undefined
    try {
      this.#send(next.options, next.handler)
    } catch (error) {
      next.handler.onResponseError(NEVER_SENT, error as Error)
    }
  }
}

class Connection extends PassingHandler {
  readonly #connections: Connections
  #isReleased = false

  constructor(next: Handler, connections: Connections) {
    super(next)
    this.#connections = connections
  }

  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#connections.released()
  }

  override onResponseEnd(controller: Controller, trailers: AnswerHead): void {
    super.onResponseEnd(controller, trailers)
    this.release()
  }

  override onResponseError(controller: Controller, error: Error): void {
    super.onResponseError(controller, error)
    this.release()
  }
}
