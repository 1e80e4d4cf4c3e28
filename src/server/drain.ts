// Ends the server without ending a request: new ones are refused, those under way may finish, in bounded time.
import type { Listeners } from './listeners.ts'

/** With no request under way any more, closing what is left takes no longer than this. */
const LONGEST_CLOSE_MS = 5_000

export class Drain {
  isDraining = false
  #inFlight = 0
  #onIdle: (() => void) | undefined
  /** Called when a request has ended. */
  onLeft: () => void = () => {}

  /** A request began. */
  entered(): void {
    this.#inFlight++
  }

  /** Its response ended, or broke off. */
  left(): void {
    this.#inFlight--
    this.onLeft()
    if (this.#inFlight === 0) this.#onIdle?.()
  }

  /** Requests that have begun and not ended, those for the proxy's own pages too. */
  get inFlight(): number {
    return this.#inFlight
  }

  /**
   * Waits for requests under way, at most `timeoutMs`; then closes the listeners and what `closeRest` closes. The listeners
   * stay open meanwhile, so that health is red and new requests are told `shutting_down`. False where requests were cut off.
   */
  async run(
    timeoutMs: number,
    listeners: Listeners,
    closeRest: (force: boolean) => Promise<void>,
  ): Promise<boolean> {
    this.isDraining = true
    const isClean = await this.#isIdleWithin(timeoutMs)
    const close = async () => {
      const closed = listeners.close()
      if (!isClean) listeners.destroy()
      await closeRest(!isClean)
      // Connections that became idle meanwhile.
      listeners.destroy()
      await closed
    }
    const { promise: tooLong, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, LONGEST_CLOSE_MS)
    try {
      // What takes long to close cuts nobody off.
      await Promise.race([close(), tooLong])
    } finally {
      clearTimeout(timer)
    }
    return isClean
  }

  #isIdleWithin(timeoutMs: number): Promise<boolean> {
    if (this.#inFlight === 0) return Promise.resolve(true)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => resolve(false), timeoutMs)
    this.#onIdle = () => {
      clearTimeout(timer)
      resolve(true)
    }
    return promise
  }
}
