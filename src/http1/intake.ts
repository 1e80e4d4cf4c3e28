// Where the bytes of a connection land: small answers in memory that all connections share, large ones in lent buffers.

import type { Writable } from 'node:stream'

/** What net.connect and tls.connect call `onread`. */
export interface OnRead {
  readonly buffer: () => Buffer
  readonly callback: (bytes: number, buffer: Uint8Array) => boolean
}

/** Each read is copied out before another one begins, on whatever connection: one landing place serves all of them. */
const SHARED = Buffer.allocUnsafeSlow(64 * 1024)
/** A read that brings more comes of a large body: the next ones land where they need not be copied from. */
const LARGE_READ_BYTES = 32 * 1024
const LENT_BYTES = 512 * 1024
/** Of the whole process: with more large bodies under way, or callers that don't read theirs, the rest is copied. */
const MOST_LENT = 16
/** Buffers that are kept for the next large body. */
const MOST_SPARE = 4

/** A buffer that is out of the house; 1 of its `uses` is the read itself, the others are the pieces that were kept. */
interface Loan {
  readonly buffer: Buffer
  uses: number
}

const spare: Buffer[] = []
/** Buffers that exist, lent or spare. */
let existing = 0
const collected = new FinalizationRegistry(() => {
  existing--
})
/** A buffer of which a piece never comes back is left to the collector. */
const loans = new WeakMap<ArrayBufferLike, Loan>()

/** Takes up what was read; of what it wants longer it tells {@link Intake.keep}. True where more of it comes. */
export type Reader = (bytes: Buffer) => boolean

/** One connection's. Node's own way makes 64 KiB of memory for each read, however short. */
export class Intake {
  #isLarge = false
  #reader: Reader | undefined
  /** Of the read that is being taken up. */
  #loan: Loan | undefined
  /** The connection reads by it: inside of a tunnel it does not. */
  isUsed = false

  attach(reader: Reader): void {
    this.#reader = reader
  }

  readonly onread: OnRead = {
    buffer: () => {
      this.isUsed = true
      return this.#isLarge ? borrowed() : SHARED
    },
    callback: (bytes, memory) => {
      const buffer = memory as Buffer
      // Invariant: a read that comes within another one ends its own loan only.
      const outer = this.#loan
      const loan = buffer === SHARED ? undefined : { buffer, uses: 1 }
      if (loan !== undefined) loans.set(buffer.buffer, loan)
      this.#loan = loan
      // Out of the shared place it is copied before anybody sees it: to write to one connection can make TLS read another.
      const read = buffer === SHARED ? copied(bytes) : buffer.subarray(0, bytes)
      const comesMore = this.#reader?.(read) ?? false
      this.#isLarge = comesMore && bytes >= LARGE_READ_BYTES
      if (loan !== undefined) endUse(loan)
      this.#loan = outer
      return true
    },
  }

  /** A piece of what is being read, to be kept for as long as whoever takes it likes. */
  keep(piece: Buffer): Buffer {
    if (this.#loan !== undefined) this.#loan.uses++
    return piece
  }
}

/** What was read into the shared place. */
function copied(bytes: number): Buffer {
  const copy = Buffer.allocUnsafe(bytes)
  SHARED.copy(copy, 0, 0, bytes)
  return copy
}

/** A buffer to be lent, or the shared place where enough of them are out. */
function borrowed(): Buffer {
  const buffer = spare.pop()
  if (buffer !== undefined) return buffer
  if (existing >= MOST_LENT) return SHARED
  existing++
  const made = Buffer.allocUnsafeSlow(LENT_BYTES)
  collected.register(made, undefined)
  return made
}

/** Pieces of this length may be lent ones. */
const MAY_BE_LENT_BYTES = 16 * 1024

/** Writes a piece that nobody else needs, and gives its memory back once it is taken; false: no more for now. */
export function writeAndGiveBack(stream: Writable, piece: Buffer): boolean {
  if (piece.length < MAY_BE_LENT_BYTES) return stream.write(piece)
  return stream.write(piece, (error) => error ?? giveBack(piece))
}

/** A piece that {@link Intake.keep} gave is not needed any more, once and for all: its memory is written over. */
export function giveBack(piece: Buffer): void {
  const loan = loans.get(piece.buffer)
  if (loan !== undefined) endUse(loan)
}

function endUse(loan: Loan): void {
  loan.uses--
  if (loan.uses > 0) return
  loans.delete(loan.buffer.buffer)
  if (spare.length < MOST_SPARE) spare.push(loan.buffer)
}
