// Replaces string values of a JSON text that streams by, without keeping more of it than one short string.
import { isUtf8 } from 'node:buffer'

/** Longer strings pass as they are, so that one that never ends fills no memory. */
export const LONGEST_STRING_BYTES = 16 * 1024
/** What is nested deeper passes as it is. */
export const DEEPEST = 1_000

const QUOTE = 0x22
const BACKSLASH = 0x5c

type State = 'outside' | 'held' | 'passing' | 'gave up'

/**
 * Feeds on the bytes of a JSON text in pieces of any size and gives back those to send on. Of each string value, however
 * it is escaped, `replace` is asked; keys are never changed, and where the text is no JSON it passes as it is.
 */
export class JsonStrings {
  readonly #replace: (value: string) => string | undefined
  /** First byte of the values worth holding, `h` of https. */
  readonly #first: number
  #state: State = 'outside'
  #escaped = false
  /** Whether each open container is an object. */
  readonly #open: boolean[] = []
  #isKey = false
  /** What came in earlier pieces of the string that is held. */
  #held: Buffer[] = []
  #heldBytes = 0

  /** `first` is the letter, in lower case, that all values begin with which `replace` would change. */
  constructor(first: string, replace: (value: string) => string | undefined) {
    this.#first = first.charCodeAt(0)
    this.#replace = replace
  }

  /** The bytes to send on, which may be none yet. */
  push(piece: Buffer): Buffer {
    const parts: Buffer[] = []
    /** What stands before it is in `parts`. */
    let from = 0
    /** Where the held string begins in this piece. */
    let start = 0
    let at = 0
    const letGo = () => {
      parts.push(...this.#held)
      this.#forget()
    }
    for (; at < piece.length; at++) {
      const byte = piece[at]!
      if (this.#state === 'gave up') break
      if (this.#state === 'outside') {
        if (byte !== QUOTE) this.#structure(byte)
        else {
          this.#state = this.#isKey ? 'passing' : 'held'
          start = at + 1
        }
        continue
      }
      if (this.#state === 'held') {
        const length = this.#heldBytes + at - start
        if ((length === 0 && !this.#isWorthHolding(byte)) || length >= LONGEST_STRING_BYTES) {
          letGo()
          this.#state = 'passing'
        } else if (byte === QUOTE && !this.#escaped) {
          const raw = Buffer.concat([...this.#held, piece.subarray(start, at)])
          const replacement = this.#replacementOf(raw)
          if (replacement === undefined) letGo()
          else {
            if (this.#heldBytes === 0) parts.push(piece.subarray(from, start))
            parts.push(replacement)
            from = at
            this.#forget()
          }
        }
      }
      if (this.#escaped) this.#escaped = false
      else if (byte === BACKSLASH) this.#escaped = true
      else if (byte === QUOTE) this.#state = 'outside'
    }
    if (this.#state === 'held') {
      if (this.#heldBytes === 0) parts.push(piece.subarray(from, start))
      // A copy: a slice would keep the whole piece in memory.
      this.#held.push(Buffer.from(piece.subarray(start)))
      this.#heldBytes += piece.length - start
    } else parts.push(piece.subarray(from))
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  }

  /** What is left at the end of a text that breaks off within a string. */
  end(): Buffer {
    const rest = Buffer.concat(this.#held)
    this.#forget()
    return rest
  }

  #forget(): void {
    this.#held = []
    this.#heldBytes = 0
  }

  /** An escape may stand for any letter. */
  #isWorthHolding(byte: number): boolean {
    return (byte | 0x20) === this.#first || byte === BACKSLASH
  }

  #structure(byte: number): void {
    switch (byte) {
      case 0x7b: // {
      case 0x5b: // [
        this.#open.push(byte === 0x7b)
        this.#isKey = byte === 0x7b
        if (this.#open.length > DEEPEST) this.#state = 'gave up'
        break
      case 0x7d: // }
      case 0x5d: // ]
        this.#open.pop()
        this.#isKey = false
        break
      case 0x2c: // ,
        this.#isKey = this.#open.at(-1) === true
        break
      case 0x3a: // :
        this.#isKey = false
        break
    }
  }

  #replacementOf(raw: Buffer): Buffer | undefined {
    // Lax decoding would change what it can't read.
    if (raw.length === 0 || !isUtf8(raw)) return undefined
    const value = parsed(raw.toString())
    const replacement = value === undefined ? undefined : this.#replace(value)
    return replacement === undefined ? undefined : Buffer.from(JSON.stringify(replacement).slice(1, -1))
  }
}

function parsed(raw: string): string | undefined {
  try {
    return JSON.parse(`"${raw}"`) as string
  } catch {
    return undefined
  }
}
