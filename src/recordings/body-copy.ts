// Copies a body while it streams, up to the longest that is recorded, and computes the digest of all of it.
import { createHash, type Hash } from 'node:crypto'

/** A longer body is not recorded. */
export const MOST_BODY_BYTES = 8 * 1024 * 1024
/** The most memory for all copies together. Beyond it, a body counts as too long. */
const MOST_HELD_BYTES = 128 * 1024 * 1024

let heldBytes = 0

export class BodyCopy {
  readonly #hash: Hash | undefined
  #pieces: Buffer[] | undefined = []
  #held = 0
  #length = 0

  /** `isHashed`: the digest will be needed. */
  constructor(isHashed: boolean) {
    if (isHashed) this.#hash = createHash('sha256')
  }

  /** How long the body is so far. */
  get length(): number {
    return this.#length
  }

  add(piece: Buffer): void {
    this.#length += piece.length
    this.#hash?.update(piece)
    if (this.#pieces === undefined) return
    if (this.#length > MOST_BODY_BYTES || heldBytes + piece.length > MOST_HELD_BYTES) {
      this.release()
      return
    }
    this.#pieces.push(piece)
    this.#held += piece.length
    heldBytes += piece.length
  }

  /** The whole body, or undefined if it is too long. */
  get bytes(): Buffer | undefined {
    return this.#pieces && Buffer.concat(this.#pieces, this.#length)
  }

  /** The SHA-256 of the whole body, in hex. Call it once, at the end, for a copy that is hashed. */
  digest(): string {
    return this.#hash?.digest('hex') ?? ''
  }

  /** Frees the copy. */
  release(): void {
    heldBytes -= this.#held
    this.#held = 0
    this.#pieces = undefined
  }
}
