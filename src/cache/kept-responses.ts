// Stores the kept responses within a limit in bytes, which also includes responses that are being collected.
import { LRUCache } from 'lru-cache'
import type { VaryField } from './cache-request.ts'

/** A complete response from Procore. */
export interface KeptResponse {
  readonly companyKey: string
  /** The raw path, without the query: what rules are matched with. */
  readonly pathname: string
  readonly status: number
  readonly statusText: string
  /** Name, value, …, in Latin-1; without headers that applied to the first response only. */
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
  readonly vary: readonly VaryField[]
  /**
   * When Procore was asked (`performance.now()`), and the same by the wall clock, which also advances while a laptop
   * sleeps.
   */
  readonly sentAt: number
  readonly sentAtWall: number
  /** How old it was when it arrived. */
  readonly ageOnArrivalMs: number
}

/** The approximate memory of an entry besides its texts and body. */
const OVERHEAD_BYTES = 1024
/** One response may take at most this part of the size. */
const MOST_PARTS = 16

/** How old it is, by whichever clock says more (RFC 9111 section 4.2.3). */
export function ageMsOf({ sentAt, sentAtWall, ageOnArrivalMs }: KeptResponse): number {
  return ageOnArrivalMs + Math.max(0, performance.now() - sentAt, Date.now() - sentAtWall)
}

export class KeptResponses {
  #kept: LRUCache<string, KeptResponse>
  #sizeBytes: number
  /** Of responses that are being collected. */
  #underWayBytes = 0

  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes
    this.#kept = this.#open()
  }

  /** The longest body that is kept. */
  get mostBytes(): number {
    return Math.floor(this.#sizeBytes / MOST_PARTS)
  }

  get stats(): { readonly entries: number; readonly bytes: number; readonly underWayBytes: number } {
    return { entries: this.#kept.size, bytes: this.#kept.calculatedSize, underWayBytes: this.#underWayBytes }
  }

  get(key: string): KeptResponse | undefined {
    return this.#kept.get(key)
  }

  set(key: string, response: KeptResponse): void {
    this.#kept.set(key, response)
  }

  delete(key: string): void {
    this.#kept.delete(key)
  }

  /** Deletes everything of one company. */
  drop(companyKey: string): void {
    for (const [key, kept] of [...this.#kept.entries()]) {
      if (kept.companyKey === companyKey) this.#kept.delete(key)
    }
  }

  /** Deletes entries for which `applies` returns false, and entries that no longer fit. */
  retain(sizeBytes: number, applies: (response: KeptResponse) => boolean): void {
    const before = this.#kept
    this.#sizeBytes = sizeBytes
    this.#kept = this.#open()
    for (const key of before.rkeys()) {
      const response = before.peek(key)
      if (response !== undefined && applies(response)) this.#kept.set(key, response)
    }
  }

  /** Makes room for a response that is being collected. The least recently used entries are deleted first. */
  take(bytes: number): boolean {
    const most = this.#sizeBytes - this.#underWayBytes - bytes
    if (most < 0) return false
    while (this.#kept.calculatedSize > most) this.#kept.pop()
    this.#underWayBytes += bytes
    return true
  }

  give(bytes: number): void {
    this.#underWayBytes -= bytes
  }

  #open(): LRUCache<string, KeptResponse> {
    return new LRUCache({
      maxSize: this.#sizeBytes,
      // The body's bound, with what comes with it.
      maxEntrySize: this.mostBytes,
      sizeCalculation: (response, key) => sizeOf(response) + key.length * 2,
    })
  }
}

function sizeOf({ body, rawHeaders }: KeptResponse): number {
  return body.length + rawHeaders.reduce((sum, text) => sum + text.length, 0) + OVERHEAD_BYTES
}
