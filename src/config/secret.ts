// A value that must not be printed: every way of turning it into text gives `[secret]`.
import { createHash, timingSafeEqual } from 'node:crypto'
import { inspect } from 'node:util'

/** Holds a client secret or a client key; only {@link Secret.reveal} gives the value back. */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The value itself, for the one place that has to send or compare it. */
  reveal(): string {
    return this.#value
  }

  /** Compares in time that does not depend on where the two differ, nor on their lengths. */
  equals(other: string): boolean {
    const digest = (text: string) => createHash('sha256').update(text).digest()
    return timingSafeEqual(digest(this.#value), digest(other))
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
