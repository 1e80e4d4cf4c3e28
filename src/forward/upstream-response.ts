// A response from Procore, or one that replaces it: the head is available immediately, the body can be read once.

/** Header values by lower-case name; several values of one name are an array. */
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
  /** The headers as they arrived: name, value, name, value, … in Latin-1. */
  readonly rawHeaders: readonly string[]
  /** The same headers by lower-case name. */
  readonly head: ResponseHead
  /** The whole body has arrived, so a reader gets it immediately. */
  readonly isComplete: boolean
  /** The body, if all of it has arrived and has at most `most` bytes. Replaces {@link pipe}. */
  whole?(most: number): Buffer | undefined
  /**
   * Passes the body on chunk by chunk. After `write` has returned false, it pauses until {@link resume} is called
   * (one more chunk may be under way). Resolves at the end; rejects if the body breaks off, so that it is never
   * mistaken for complete.
   */
  pipe(write: (chunk: Buffer) => boolean): Promise<void>
  /** Continues a body that `write` paused. */
  resume(): void
  /** Ends the request and its connection. A reader's promise rejects with the reason. */
  abort(reason: Error): void
}

/** A response in memory, from the cache or from a recording. */
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

  whole(most: number): Buffer | undefined {
    return this.#body.length <= most ? this.#body : undefined
  }

  async pipe(write: (chunk: Buffer) => boolean): Promise<void> {
    if (this.#body.length > 0) write(this.#body)
  }

  resume(): void {}

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
    // Who replaces `pipe` sees the body, and has to see all of it.
    ...(changes.pipe === undefined && { whole: (most: number) => response.whole?.(most) }),
    pipe: (write) => response.pipe(write),
    resume: () => response.resume(),
    abort: (reason) => response.abort(reason),
    ...changes,
  }
}

/** Converts flat headers (name, value, …) into a map by lower-case name. */
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
