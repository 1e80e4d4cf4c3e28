// A response of Procore's, or one that takes its place: the head at once, the body to be read once.

/** Header values by lower-case name; several of a name are a list. */
export type ResponseHead = Readonly<Record<string, string | string[] | undefined>>

/** The first value of a header. */
export function headerValue(head: ResponseHead, name: string): string | undefined {
  const value = head[name]
  return Array.isArray(value) ? value[0] : value
}

export interface UpstreamResponse {
  readonly status: number
  /** The reason phrase, in Latin-1. */
  readonly statusText: string
  /** As they came: name, value, name, value, … in Latin-1. */
  readonly rawHeaders: readonly string[]
  /** The same, to look values up by lower-case name. */
  readonly head: ResponseHead
  /** All of the body has arrived: a reader gets it at once. */
  readonly isComplete: boolean
  /**
   * Passes the body on piece by piece. Where `write` returns false, no more comes until {@link resume} (one more piece may
   * be under way). Resolves at the end; rejects where the body breaks off, so that it is never taken for whole.
   */
  pipe(write: (chunk: Buffer) => boolean): Promise<void>
  /** Lets a body go on that `write` stopped. */
  resume(): void
  /** The whole body; undefined where it is longer than `mostBytes`, and the connection is then given up. */
  read(mostBytes: number): Promise<Buffer | undefined>
  /** Throws the body away: a short rest is read so that the connection can be used again. */
  discard(): void
  /** Ends the request and its connection; a reader gets the reason as its error. */
  abort(reason: Error): void
}

/** A response that is held in memory: kept by the cache, played by a recording. */
export class StoredResponse implements UpstreamResponse {
  readonly status: number
  readonly statusText: string
  readonly rawHeaders: readonly string[]
  readonly head: ResponseHead
  readonly isComplete = true
  readonly #body: Buffer

  constructor(status: number, statusText: string, rawHeaders: readonly string[], body: Buffer) {
    this.status = status
    this.statusText = statusText
    this.rawHeaders = rawHeaders
    this.head = headOf(rawHeaders)
    this.#body = body
  }

  async pipe(write: (chunk: Buffer) => boolean): Promise<void> {
    if (this.#body.length > 0) write(this.#body)
  }

  resume(): void {}

  async read(mostBytes: number): Promise<Buffer | undefined> {
    return this.#body.length > mostBytes ? undefined : this.#body
  }

  discard(): void {}

  abort(): void {}
}

/** The response with some of its members replaced; the others are those of `response`, its body above all. */
export function responseWith(
  response: UpstreamResponse,
  changes: Partial<UpstreamResponse>,
): UpstreamResponse {
  return {
    status: response.status,
    statusText: response.statusText,
    rawHeaders: response.rawHeaders,
    head: response.head,
    get isComplete() {
      return response.isComplete
    },
    pipe: (write) => response.pipe(write),
    resume: () => response.resume(),
    read: (mostBytes) => response.read(mostBytes),
    discard: () => response.discard(),
    abort: (reason) => response.abort(reason),
    ...changes,
  }
}

/** Flat headers as a map by lower-case name. */
export function headOf(rawHeaders: readonly string[]): ResponseHead {
  const head: Record<string, string | string[]> = Object.create(null)
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] as string).toLowerCase()
    const value = rawHeaders[at + 1] as string
    const known = head[name]
    if (known === undefined) head[name] = value
    else if (Array.isArray(known)) known.push(value)
    else head[name] = [known, value]
  }
  return head
}
