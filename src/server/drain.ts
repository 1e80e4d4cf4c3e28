// Ends the server without ending a request: new ones are refused, those under way may finish, in bounded time.
import type { ServerResponse } from 'node:http'
import type { Listeners } from './listeners.ts'

/** With no request under way any more, closing what is left takes no longer than this. */
const LONGEST_CLOSE_MS = 5_000

export class Drain {
  draining = false
  #inFlight = 0
  #onIdle: (() => void) | undefined

  /** A request came in. */
  entered(response: ServerResponse): void {
    this.#inFlight++
    if (this.draining) response.shouldKeepAlive = false
  }

  /** Its answer ended, or broke off. */
  left(): void {
    this.#inFlight--
    if (this.#inFlight === 0) this.#onIdle?.()
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /**
   * Waits for requests under way, at most `timeoutMs`; then closes listeners and what `closeRest` closes. The listeners
   * stay open meanwhile, so that health is red and new requests are told `shutting_down`. False where time ran out.
   */
  async run(
    timeoutMs: number,
    listeners: Listeners,
    closeRest: (force: boolean) => Promise<void>,
  ): Promise<boolean> {
    this.draining = true
    const clean = await this.#idleWithin(timeoutMs)
    const close = async () => {
      const closed = listeners.close()
      if (!clean) listeners.destroy()
      await closeRest(!clean)
      // Idle keep-alive connections that went idle meanwhile.
      listeners.destroy()
      await closed
      return clean
    }
    let timer: NodeJS.Timeout | undefined
    const tooLong = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), LONGEST_CLOSE_MS)
    })
    try {
      return await Promise.race([close(), tooLong])
    } finally {
      clearTimeout(timer)
    }
  }

  #idleWithin(timeoutMs: number): Promise<boolean> {
    if (this.#inFlight === 0) return Promise.resolve(true)
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeoutMs)
      this.#onIdle = () => {
        clearTimeout(timer)
        resolve(true)
      }
    })
  }
}
