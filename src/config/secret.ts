// A value that must not be printed: every way to turn it into text gives `[secret]`.
import { timingSafeEqual } from 'node:crypto'
import { inspect } from 'node:util'

/** Holds a client secret or a key; only {@link Secret.reveal} returns the value. */
export class Secret {
  readonly #value: string
  #bytes: Buffer | undefined

  constructor(value: string) {
    this.#value = value
  }

  /** The value itself, for the one place that has to send it. */
  reveal(): string {
    return this.#value
  }

  /** Compares in a time that depends neither on where the two differ nor on the secret's length. */
  equals(other: string): boolean {
    this.#bytes ??= Buffer.from(this.#value)
    const presented = Buffer.from(other)
    const sameLength = presented.length === this.#bytes.length
    return timingSafeEqual(this.#bytes, sameLength ? presented : this.#bytes) && sameLength
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return '[secret]'
  }
}
