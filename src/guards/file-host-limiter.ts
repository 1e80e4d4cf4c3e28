// Limits the DNS look-ups of file hosts, whose names callers choose, because libuv resolves names for all companies
// in four threads.
import { ProxyError } from '../errors.ts'

const DEFAULTS = {
  /** How many new hosts may be looked up at the same time. The other threads stay free for the API. */
  mostUnderWay: 2,
  /** How many requests may wait for that. */
  mostWaiting: 64,
  /** How many new hosts one caller may ask for within the window. */
  mostOfCaller: 20,
  windowMs: 60_000,
  /** How many hosts, and how many callers, are remembered. */
  mostKnown: 256,
  now: () => performance.now(),
}

export type FileHostLimits = Partial<typeof DEFAULTS>

/** Reports the result of the first request to a host: `true` once its response has begun. */
export type Leave = (hasAnswered: boolean) => void

/** Lets requests to known hosts through immediately, and requests to new hosts a few at a time. */
export class FileHostLimiter {
  readonly #limits: typeof DEFAULTS
  readonly #known = new Set<string>()
  readonly #underWay = new Map<string, Promise<void>>()
  /** When each caller asked for new hosts. */
  readonly #asked = new Map<string, number[]>()
  #waiting = 0

  constructor(limits: FileHostLimits = {}) {
    this.#limits = { ...DEFAULTS, ...limits }
  }

  /**
   * Resolves when a request to `host` (lower case) may be sent for this caller. Call the returned function once, when
   * the response has begun or the request has failed. Throws `overloaded`.
   */
  async enter(host: string, queueKey: string): Promise<Leave> {
    while (!this.#known.has(host)) {
      const before = this.#underWay.get(host)
      if (before === undefined && this.#underWay.size < this.#limits.mostUnderWay) {
        this.#count(queueKey)
        return this.#start(host)
      }
      await this.#wait(before ?? Promise.race(this.#underWay.values()))
    }
    this.#keep(host)
    return () => {}
  }

  #start(host: string): Leave {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#underWay.set(host, promise)
    return (hasAnswered) => {
      if (hasAnswered) this.#keep(host)
      if (this.#underWay.get(host) === promise) this.#underWay.delete(host)
      resolve()
    }
  }

  /** The least recently used host is forgotten first. */
  #keep(host: string): void {
    this.#known.delete(host)
    this.#known.add(host)
    forgetOldest(this.#known, this.#limits.mostKnown)
  }

  #count(queueKey: string): void {
    const { now, windowMs, mostOfCaller, mostKnown } = this.#limits
    const at = now()
    const recent = (this.#asked.get(queueKey) ?? []).filter((each) => at - each < windowMs)
    const [oldest = at] = recent
    if (recent.length >= mostOfCaller) {
      throw overloaded(
        'This caller asks for too many new file hosts.',
        Math.ceil((oldest + windowMs - at) / 1000),
      )
    }
    this.#asked.delete(queueKey)
    this.#asked.set(queueKey, [...recent, at])
    forgetOldest(this.#asked, mostKnown)
  }

  async #wait(turn: Promise<void>): Promise<void> {
    if (this.#waiting >= this.#limits.mostWaiting) {
      throw overloaded('Too many requests wait for file hosts that are new.', 1)
    }
    this.#waiting++
    try {
      await turn
    } finally {
      this.#waiting--
    }
  }
}

function forgetOldest(kept: Set<string> | Map<string, unknown>, most: number): void {
  for (const oldest of kept.keys()) {
    if (kept.size <= most) return
    kept.delete(oldest)
  }
}

function overloaded(detail: string, retryAfterSeconds: number): ProxyError {
  return new ProxyError('overloaded', detail, {
    retryAfterSeconds,
    help: 'Try again after Retry-After seconds.',
  })
}
