// Endpoints that answered 429 while the company's budget was not used up, and until when each is held back.
import { hash } from 'node:crypto'

const MOST_ENDPOINTS = 1_000

/** Times are milliseconds of the clock that the caller chooses. */
export class HeldEndpoints {
  /** By digest: paths may be long, and callers choose them. */
  readonly #until = new Map<string, number>()

  /** Holds an endpoint (method and path without query) back; beyond a thousand the oldest one is forgotten. */
  hold(endpoint: string, until: number): void {
    const [oldest] = this.#until.keys()
    if (oldest !== undefined && this.#until.size >= MOST_ENDPOINTS) this.#until.delete(oldest)
    this.#until.set(digest(endpoint), until)
  }

  /** Milliseconds until the endpoint may be called; 0 for at once. */
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
