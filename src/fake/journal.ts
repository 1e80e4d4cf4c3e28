// The fake's memory: what each of its servers received, bounded in entries and in kept bytes.

/** The fake's three servers. */
export type ServerName = 'login' | 'api' | 'storage'

/** One request as it arrived; the later fields are filled in while it goes on. */
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
  /** The first 64 KiB of the body read as UTF-8, once it ended; absent when there was none. */
  body?: string
  /** SHA-256 in hex of what arrived of the body; empty until it ended or broke off. */
  bodySha256: string
  /** The caller went away before its body was complete. */
  aborted: boolean
  /** Which of the issued tokens (1, 2, …) was sent, alive or not. */
  tokenSerial?: number
  /** The status answered, once there is one. */
  status?: number
  /** `cut`: the connection ended before the answer did. */
  answer: 'pending' | 'finished' | 'cut'
}

/** Decides whether an entry is the awaited one. */
export type EntryTest = (entry: JournalEntry) => boolean

/** The list of received requests, oldest first. It holds credentials as sent: made-up ones only. */
export class Journal {
  readonly #limit: number
  readonly #bodyLimit: number
  #entries: JournalEntry[] = []
  #bodies: JournalEntry[] = []
  #bodyChars = 0
  #waiting: { test: EntryTest; found: (entry: JournalEntry) => void }[] = []

  /** Keeps at most `limit` entries and `bodyLimit` characters of bodies; the oldest go first. */
  constructor(limit = 20_000, bodyLimit = 32 * 1024 * 1024) {
    this.#limit = limit
    this.#bodyLimit = bodyLimit
  }

  /** All entries, in order of arrival. */
  get entries(): readonly JournalEntry[] {
    return this.#entries
  }

  /** What the API server received. */
  api(): JournalEntry[] {
    return this.#entries.filter((entry) => entry.server === 'api')
  }

  /** What the login server received. */
  login(): JournalEntry[] {
    return this.#entries.filter((entry) => entry.server === 'login')
  }

  /** What the storage server received. */
  storage(): JournalEntry[] {
    return this.#entries.filter((entry) => entry.server === 'storage')
  }

  /** The requests for a token, refused ones included. */
  tokenRequests(): JournalEntry[] {
    return this.login().filter(
      ({ method, url }) => method === 'POST' && /^\/oauth\/token\/?(?:\?|$)/.test(url),
    )
  }

  /** Forgets everything so far. */
  clear(): void {
    this.#entries = []
    this.#bodies = []
    this.#bodyChars = 0
  }

  /** Resolves with the first entry, past or future, that passes the test; also tried when an entry changes. */
  when(test: EntryTest): Promise<JournalEntry> {
    const known = this.#entries.find(test)
    if (known !== undefined) return Promise.resolve(known)
    return new Promise((found) => this.#waiting.push({ test, found }))
  }

  /** Takes in a request whose head has arrived. */
  add(entry: JournalEntry): void {
    // A tenth at a time, so that a long run does not move the whole list for each request.
    if (this.#entries.length >= this.#limit) this.#forget(Math.ceil(this.#limit / 10))
    this.#entries.push(entry)
    this.changed(entry)
  }

  /** Notes the text of an entry's body and lets the oldest texts go. */
  keepBody(entry: JournalEntry, body: string): void {
    entry.body = body
    this.#bodies.push(entry)
    this.#bodyChars += body.length
    while (this.#bodyChars > this.#bodyLimit) {
      // Invariant: #bodyChars is the sum over #bodies, so there is one.
      const oldest = this.#bodies.shift()!
      this.#bodyChars -= oldest.body!.length
      delete oldest.body
    }
  }

  /** Tells those who wait that an entry has changed. */
  changed(entry: JournalEntry): void {
    this.#waiting = this.#waiting.filter(({ test, found }) => {
      if (!test(entry)) return true
      found(entry)
      return false
    })
  }

  #forget(count: number): void {
    const gone = new Set(this.#entries.splice(0, count))
    this.#bodies = this.#bodies.filter((entry) => !gone.has(entry))
    this.#bodyChars = this.#bodies.reduce((sum, { body }) => sum + body!.length, 0)
  }
}
