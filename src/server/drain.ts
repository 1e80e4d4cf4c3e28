// Shuts the server down gracefully: refuses new requests and lets those in flight finish, within a time limit.
import type { Listeners } from './listeners.ts'

/** The time limit for closing everything else once no request is in flight. */
const LONGEST_CLOSE_MS = 5_000

export class Drain {
  isDraining = false
  #inFlight = 0
  #onIdle: (() => void) | undefined
  /** Called whenever a request has ended. */
  onLeft: () => void = () => {}

  /** Call this when a request begins. */
  entered(): void {
    this.#inFlight++
  }

  /** Call this when its response has ended or broken off. */
  left(): void {
    this.#inFlight--
    this.onLeft()
    if (this.#inFlight === 0) this.#onIdle?.()
  }

  /** The number of requests that have begun and not ended, including those for the proxy's own pages. */
  get inFlight(): number {
    return this.#inFlight
  }

  /**
   * Waits for requests in flight, at most `timeoutMs`, then closes the listeners and calls `closeRest`. Until then
   * the listeners stay open, so that the health check fails and new requests get `shutting_down`. Resolves with false
   * if requests were cut off.
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
      // Closes connections that have become idle.
      listeners.destroy()
      await closed
    }
    const { promise: tooLong, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, LONGEST_CLOSE_MS)
    try {
      // If only closing takes long, no request is cut off.
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
