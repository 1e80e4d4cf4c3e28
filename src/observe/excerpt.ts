// Keeps the beginning of a body for the page; used only if `inspector.bodies` is on.

/**
 * How much of each body is kept. Most bodies of Procore's API that explain a failure are shorter. The default of 200
 * requests takes at most 800 KiB, which fits in the recorder's 4 MiB.
 */
export const MOST_EXCERPT_BYTES = 2 * 1024

/** The memory that an excerpt takes besides its bytes. */
const OVERHEAD_BYTES = 256

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
  /** The beginning of the body. */
  kept: Buffer = Buffer.alloc(0)
  /** Bytes passed on so far. */
  total = 0
  #ended = false

  constructor(contentType = '', contentEncoding?: string) {
    this.type = MEDIA_TYPE.exec(contentType)?.[1]?.toLowerCase()
    this.charset = /;\s*charset\s*=\s*"?([\w.:-]{1,40})/i.exec(contentType)?.[1]?.toLowerCase()
    this.isText = this.type !== undefined && TEXT.test(this.type)
    this.coding = contentEncoding?.slice(0, 40)
  }

  /** All of the body came, and all of it is kept. */
  get whole(): boolean {
    return this.#ended && this.kept.length === this.total
  }

  /** Its size in memory. */
  get cost(): number {
    return OVERHEAD_BYTES + this.kept.length
  }

  /** Adds the next chunk of the body. */
  add(chunk: Buffer): void {
    this.total += chunk.length
    const room = MOST_EXCERPT_BYTES - this.kept.length
    if (room === 0 || !this.isText) return
    const piece = chunk.subarray(0, room)
    // Bytes of its own: a slice would keep the whole chunk in memory, one of Buffer's pool a whole page of that.
    const kept = Buffer.allocUnsafeSlow(this.kept.length + piece.length)
    kept.set(this.kept)
    kept.set(piece, this.kept.length)
    this.kept = kept
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
  const valuesOf = (wanted: string) =>
    headers.filter((_, at) => at % 2 === 1 && headers[at - 1]?.toLowerCase() === wanted)
  const codings = valuesOf('content-encoding')
  // One header for each coding says the same as a list.
  return new Excerpt(valuesOf('content-type')[0], codings.length === 0 ? undefined : codings.join(', '))
}
