// Holds a body that arrives in pieces, with memory and time that depend on its length and not on how small the pieces are.

/** A smaller piece is copied into a block with others, because a Buffer alone takes a hundred bytes. */
const BLOCK_BYTES = 4096
/** More is not read at once, so that a slow reader has little in its own buffer. */
const MOST_READ_BYTES = 64 * 1024

export class Pieces {
  #blocks: Buffer[] = []
  /** How much of the last block is filled. */
  #filled = 0
  /** The block that is read next, and how much of it has been read. */
  #block = 0
  #offset = 0
  #whole: Buffer | undefined
  length = 0
  unread = 0

  add(piece: Buffer): void {
    if (piece.length === 0) return
    this.length += piece.length
    this.unread += piece.length
    let last = this.#blocks.at(-1)
    if (last === undefined || last.length - this.#filled < piece.length) {
      if (last !== undefined) this.#blocks[this.#blocks.length - 1] = last.subarray(0, this.#filled)
      const isSmall = piece.length < BLOCK_BYTES
      last = isSmall ? Buffer.allocUnsafe(Math.max(piece.length, Math.min(BLOCK_BYTES, this.length))) : piece
      this.#blocks.push(last)
      this.#filled = 0
    }
    // A large piece is a block of its own.
    this.#filled += last === piece ? piece.length : piece.copy(last, this.#filled)
  }

  /** The next bytes that have not been read; undefined if there are none. */
  read(): Buffer | undefined {
    if (this.unread === 0) return undefined
    if (this.#offset === this.#blocks[this.#block]?.length) {
      this.#block++
      this.#offset = 0
    }
    const isLast = this.#block === this.#blocks.length - 1
    const block = this.#blocks[this.#block] as Buffer
    const end = Math.min(isLast ? this.#filled : block.length, this.#offset + MOST_READ_BYTES)
    const next = block.subarray(this.#offset, end)
    this.#offset += next.length
    this.unread -= next.length
    return next
  }

  /** Frees what has been read, not at once for each block, because that takes longer the more there are. */
  forgetRead(): void {
    if (this.#block * 2 < this.#blocks.length) return
    this.#blocks.splice(0, this.#block)
    this.#block = 0
  }

  /** Everything, if nothing was forgotten, in memory of its own (a slice of Buffer's pool would retain the whole pool). */
  whole(): Buffer {
    if (this.#whole?.length === this.length) return this.#whole
    const whole = Buffer.allocUnsafeSlow(this.length)
    let at = 0
    for (const block of this.#blocks) at += block.copy(whole, at)
    // What has yet to be read is a part of the same memory.
    this.#blocks = [whole]
    this.#filled = whole.length
    this.#block = 0
    this.#offset = whole.length - this.unread
    this.#whole = whole
    return whole
  }
}
