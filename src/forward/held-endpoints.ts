// Remembers endpoints that answered 429 although the company's budget was not used up, and how long each is held
// back.
import { hash } from 'node:crypto'

const MOST_ENDPOINTS = 1_000

/** Times are milliseconds of any one clock. */
export class HeldEndpoints {
  /** Keyed by digest, because callers choose the paths and they may be long. */
  readonly #until = new Map<string, number>()

  /** Holds back an endpoint (method and path without query). Beyond a thousand, the oldest one is forgotten. */
  hold(endpoint: string, until: number): void {
    const [oldest] = this.#until.keys()
    if (oldest !== undefined && this.#until.size >= MOST_ENDPOINTS) this.#until.delete(oldest)
    this.#until.set(digest(endpoint), until)
  }

  /** Milliseconds until the endpoint may be called; 0 if it may be called now. */
  waitFor(endpoint: string, now: number): number {
    if (this.#until.size === 0) return 0
    const key = digest(endpoint)
    const until = this.#until.get(key)
    if (until === undefined) return 0
    if (until > now) return until - now
    this.#until.delete(key)
    return 0
  }
}

function digest(endpoint: string): string {
  return hash('sha256', endpoint, 'base64url')
}
