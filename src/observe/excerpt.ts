// Keeps the beginning of a body for the page; used only if `inspector.bodies` is on.

/**
 * How much of each body is kept. Most bodies of Procore's API that explain a failure are shorter. The default of 200
 * requests takes at most 800 KiB, which fits in the recorder's 4 MiB.
 */
export const MOST_EXCERPT_BYTES = 2 * 1024

/** The memory that an excerpt takes besides its bytes. */
const OVERHEAD_BYTES = 256

const NOTHING = Buffer.alloc(0)
const MEDIA_TYPE = /^\s*([\w!#$&^.+-]{1,63}\/[\w!#$&^.+-]{1,127})\s*(?:;|$)/
const TEXT =
  /^(?:text\/.*|(?:application|image)\/(?:.*\+)?(?:json|xml)|application\/(?:x-ndjson|x-www-form-urlencoded))$/

/** The first bytes of one body. If it is not text, its bytes are only counted. */
export class Excerpt {
  /** The media type in lower case, without parameters; undefined if the headers have no readable one. */
  readonly type: string | undefined
  readonly charset: string | undefined
  readonly isText: boolean
  /** Content-Encoding as sent; undefined if there is none. */
  readonly coding: string | undefined
  #kept: Buffer = NOTHING
  #total = 0
  #ended = false

  constructor(contentType: string | undefined, contentEncoding: string | undefined) {
    this.type = MEDIA_TYPE.exec(contentType ?? '')?.[1]?.toLowerCase()
    this.charset = /;\s*charset\s*=\s*"?([\w.:-]{1,40})/i.exec(contentType ?? '')?.[1]?.toLowerCase()
    this.isText = this.type !== undefined && TEXT.test(this.type)
    this.coding = contentEncoding?.slice(0, 40)
  }

  /** The number of bytes passed on so far. */
  get total(): number {
    return this.#total
  }

  get kept(): Buffer {
    return this.#kept
  }

  /** The body is complete, and all of it is kept. */
  get whole(): boolean {
    return this.#ended && this.#kept.length === this.#total
  }

  /** Its size in memory. */
  get cost(): number {
    return OVERHEAD_BYTES + this.#kept.length
  }

  /** Adds the next chunk of the body. */
  add(chunk: Buffer): void {
    this.#total += chunk.length
    const room = MOST_EXCERPT_BYTES - this.#kept.length
    if (room === 0 || !this.isText) return
    const piece = chunk.length > room ? chunk.subarray(0, room) : chunk
    // A copy, because a slice would keep the whole chunk, or a page of Buffer's pool, in memory.
    const kept = Buffer.allocUnsafeSlow(this.#kept.length + piece.length)
    kept.set(this.#kept)
    kept.set(piece, this.#kept.length)
    this.#kept = kept
  }

  /** Marks the body as complete. */
  end(): void {
    this.#ended = true
  }
}

/** The excerpts of one request; undefined if there was no body. */
export class Bodies {
  request: Excerpt | undefined
  answer: Excerpt | undefined

  /** Their size in memory. */
  get cost(): number {
    return (this.request?.cost ?? 0) + (this.answer?.cost ?? 0)
  }
}

/** Begins the excerpt of a body. The headers are flat (name, value, …). */
export function excerptOf(headers: readonly string[]): Excerpt {
  let type: string | undefined
  let coding: string | undefined
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    if (name.length === 12 && name.toLowerCase() === 'content-type') type ??= headers[i + 1]
    else if (name.length === 16 && name.toLowerCase() === 'content-encoding') {
      // Several headers mean the same as one list.
      coding = coding === undefined ? headers[i + 1] : `${coding}, ${headers[i + 1]}`
    }
  }
  return new Excerpt(type, coding)
}
