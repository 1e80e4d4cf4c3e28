// Slows down guessing of keys: after ten wrong keys within a minute, each refusal to that address is delayed by a
// second.
import { isIPv6 } from 'node:net'

const FREE_GUESSES = 10
const WINDOW_MS = 60_000
const DELAY_MS = 1_000
/** How many addresses are remembered. The one that guessed longest ago is forgotten first. */
const MOST_ADDRESSES = 1_000

/** Counts wrong keys by address. Requests with a correct key are never delayed. */
export class KeyThrottle {
  readonly #now: () => number
  /** The times of the latest wrong keys, at most ten for each address. */
  readonly #guesses = new Map<string, number[]>()

  /** `now` is in milliseconds and never goes back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /**
   * Counts a wrong key from this address (undefined for a unix socket) and returns the delay of its refusal in
   * milliseconds.
   */
  delayMs(address: string | undefined): number {
    const from = networkOf(address ?? '')
    const now = this.#now()
    const recent = (this.#guesses.get(from) ?? []).filter((at) => now - at < WINDOW_MS)
    const delay = recent.length >= FREE_GUESSES ? DELAY_MS : 0
    this.#guesses.delete(from)
    this.#guesses.set(from, [...recent, now].slice(-FREE_GUESSES))
    if (this.#guesses.size > MOST_ADDRESSES) {
      for (const oldest of this.#guesses.keys()) {
        this.#guesses.delete(oldest)
        break
      }
    }
    return delay
  }

  /** How many addresses are remembered. */
  get size(): number {
    return this.#guesses.size
  }
}

/** The address; for IPv6 its /64, because one subscriber usually has all of it. */
function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined || !isIPv6(address)) return mapped ?? address
  const [head = '', tail] = address.toLowerCase().split('::')
  const before = head.split(':').filter(Boolean)
  const after = tail === undefined ? [] : tail.split(':').filter(Boolean)
  const zeros = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => '0')
  return [...before, ...zeros, ...after].slice(0, 4).join(':')
}
