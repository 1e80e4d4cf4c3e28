// Reuses memory for the bodies of pages, because V8 lets 64 MB of buffers accumulate before it collects them.
import type { BodySource } from '../forward/response-body.ts'

/** Longer pages are refused, because a page is held in memory. */
export const MOST_PAGE_BYTES = 16 * 1024 * 1024
const FIRST_BYTES = 512 * 1024

/** A body in borrowed memory. */
export interface PageBody {
  /** Undefined if the body is longer than {@link MOST_PAGE_BYTES}. */
  readonly bytes: Buffer | undefined
  /** Gives the memory back. The bytes must not be read after this. */
  readonly release: () => void
}

/** The buffers of one list. */
export class PageBuffers {
  readonly #free: Buffer[] = []

  /** Reads a body to its end; `giveUp` is called if it is too long. Rejects if it breaks off. */
  async read(source: BodySource, giveUp: () => void): Promise<PageBody> {
    let buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(FIRST_BYTES)
    let length = 0
    const done = source.pipe((piece) => {
      const before = length
      length += piece.length
      if (length > MOST_PAGE_BYTES) {
        if (before <= MOST_PAGE_BYTES) giveUp()
        return true
      }
      if (length > buffer.length) {
        const larger = Buffer.allocUnsafeSlow(Math.min(2 * length, MOST_PAGE_BYTES))
        buffer.copy(larger, 0, 0, before)
        buffer = larger
      }
      piece.copy(buffer, before)
      return true
    })
    await done.catch((error) => {
      if (length <= MOST_PAGE_BYTES) throw error
    })
    const bytes = length > MOST_PAGE_BYTES ? undefined : buffer.subarray(0, length)
    return { bytes, release: () => void this.#free.push(buffer) }
  }
}
