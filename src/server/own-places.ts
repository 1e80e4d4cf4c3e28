// Bounds how many of the proxy's own pages and lists are under way at once: each may hold a megabyte or more for its caller.
import { ProxyError } from '../errors.ts'

const MOST_PLACES = 64

export class OwnPlaces {
  #taken = 0

  /** Takes a place; the function it gives must be called once, when the response is over. Throws `overloaded`. */
  enter(): () => void {
    if (this.#taken >= MOST_PLACES) {
      const detail = `${MOST_PLACES} of the proxy's own pages and lists are under way already.`
      throw new ProxyError('overloaded', detail, { retryAfterSeconds: 5 })
    }
    this.#taken++
    return () => {
      this.#taken--
    }
  }
}
