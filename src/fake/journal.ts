// Records what each of the fake's servers received, bounded in entries and bytes.

/** The fake's three servers. */
export type ServerName = 'login' | 'api' | 'storage'

/** One request as it arrived. The later fields are filled in while it proceeds. */
export interface JournalEntry {
  readonly server: ServerName
  /** When the head arrived, in ms since 1970 by the fake's clock. */
  readonly at: number
  /** A number for the connection; two entries with the same number shared a socket. */
  readonly socket: number
  readonly httpVersion: string
  readonly method: string
  /** The request target, byte for byte. */
  readonly url: string
  readonly rawHeaders: readonly string[]
  /** By lower-case name; values of repeated fields are joined with `, `. */
  readonly headers: Readonly<Record<string, string>>
  bodyBytes: number
  /** The first 64 KiB of the body as UTF-8, once it has ended; absent if there was none. */
  body?: string
  /** SHA-256 in hex of the part of the body that arrived; empty until it ended or broke off. */
  bodySha256: string
  /** The caller disconnected before its body was complete. */
  aborted: boolean
  /** Which of the issued tokens (1, 2, …) was sent, valid or not. */
  tokenSerial?: number
  /** The status answered, once there is one. */
  status?: number
  /** `cut`: the connection ended before the answer did. */
  answer: 'pending' | 'finished' | 'cut'
}

/** The received requests, oldest first. Contains credentials as sent, so use made-up ones only. */
export class Journal {
  readonly #limit: number
  readonly #bodyLimit: number
  #waiting: { test: (entry: JournalEntry) => boolean; found: (entry: JournalEntry) => void }[] = []
  /** In order of arrival. */
  entries: JournalEntry[] = []

  /** Keeps at most `limit` entries, and bodies (of 64 KiB at most) for the last `bodyLimit` of them. */
  constructor(limit = 20_000, bodyLimit = 500) {
    this.#limit = limit
    this.#bodyLimit = bodyLimit
  }

  /** What the API server received. */
  api(): JournalEntry[] {
    return this.entries.filter(({ server }) => server === 'api')
  }

  /** What the storage server received. */
  storage(): JournalEntry[] {
    return this.entries.filter(({ server }) => server === 'storage')
  }

  /** The token requests, including refused ones. */
  tokenRequests(): JournalEntry[] {
    return this.entries.filter(
      ({ server, method, url }) =>
        server === 'login' && method === 'POST' && /^\/oauth\/token\/?(?:\?|$)/.test(url),
    )
  }

  /** Forgets everything so far. */
  clear(): void {
    this.entries = []
  }

  /** Resolves with the first entry, past or future, that passes the test; also tried when an entry changes. */
  when(test: (entry: JournalEntry) => boolean): Promise<JournalEntry> {
    const known = this.entries.find(test)
    if (known !== undefined) return Promise.resolve(known)
    return new Promise((found) => this.#waiting.push({ test, found }))
  }

  /** Adds a request whose head has arrived. */
  add(entry: JournalEntry): void {
    // A tenth at a time, so that a long run does not move the whole list for each request.
    if (this.entries.length >= this.#limit) this.entries.splice(0, Math.ceil(this.#limit / 10))
    this.entries.push(entry)
    delete this.entries.at(-1 - this.#bodyLimit)?.body
    this.changed(entry)
  }

  /** Notifies waiting tests that an entry has changed. */
  changed(entry: JournalEntry): void {
    this.#waiting = this.#waiting.filter(({ test, found }) => {
      if (!test(entry)) return true
      found(entry)
      return false
    })
  }
}
