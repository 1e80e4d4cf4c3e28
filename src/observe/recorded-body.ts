// Keeps the beginning of a body, if `inspector.bodies` is on, and makes what the page shows of it.
import { codingsOf, unpacked } from '../network/response.ts'
import { headerValues } from '../routing/raw-request.ts'
import { maskBody } from './mask-body.ts'

/**
 * How much of each body is kept. Most bodies of Procore's API that explain a failure are shorter. The default of 200
 * requests takes at most 800 KiB, which fits in the inspector's 4 MiB.
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
  /** Content-Encoding as sent. */
  readonly coding: string
  /** The beginning of the body. */
  kept: Buffer = Buffer.alloc(0)
  /** Bytes passed on so far. */
  total = 0
  #ended = false

  /** The headers are flat (name, value, …). */
  constructor(headers: readonly string[]) {
    const [contentType = ''] = headerValues(headers, 'content-type')
    this.type = MEDIA_TYPE.exec(contentType)?.[1]?.toLowerCase()
    this.charset = /;\s*charset\s*=\s*"?([\w.:-]{1,40})/i.exec(contentType)?.[1]?.toLowerCase()
    this.isText = this.type !== undefined && TEXT.test(this.type)
    // One header for each coding says the same as a list.
    this.coding = headerValues(headers, 'content-encoding').join(', ').slice(0, 40)
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
  response: Excerpt | undefined

  /** Their size in memory. */
  get cost(): number {
    return (this.request?.cost ?? 0) + (this.response?.cost ?? 0)
  }
}

/** What is shown of a body; undefined if there was none. `hidden` says why its text is not shown. */
export function recordedBody(excerpt: Excerpt | undefined, showQueryValues: boolean) {
  if (excerpt === undefined || excerpt.total === 0) return undefined
  const { type, total } = excerpt
  const read = readText(excerpt)
  const isHidden = typeof read === 'string'
  const { text: whole, isWhole } = isHidden ? { text: undefined, isWhole: false } : read
  const text = whole && maskBody(whole, { type: type ?? '', cut: !isWhole, showQueryValues })
  return {
    type,
    /** The length of the body as the caller sent or received it, possibly compressed. */
    bytes: total,
    text,
    hidden: isHidden ? read : undefined,
    /** `text` is all of the body. */
    whole: isWhole,
    /** Something in `text` was replaced by `*`. */
    masked: text !== whole,
  }
}

/** The text, or why it is not shown. */
function readText(excerpt: Excerpt): { readonly text: string; readonly isWhole: boolean } | string {
  const { type, charset, coding } = excerpt
  if (type === undefined) return 'of no known type'
  if (!excerpt.isText) return 'binary'
  // Of another charset the names would not be recognized, and what stands under them would be shown.
  if (charset !== undefined && !READABLE_CHARSETS.has(charset)) return `in ${charset}`
  const codings = codingsOf(coding)
  const bytes = unpacked(excerpt.kept, codings, MOST_UNPACKED_BYTES)
  if (bytes === undefined) return `compressed (${codings.join(', ')})`
  const isWhole = excerpt.whole && bytes.length <= MOST_EXCERPT_BYTES
  try {
    // An incomplete text may end within a character, which is then left out.
    const decoder = new TextDecoder('utf-8', { fatal: true })
    const text = decoder.decode(bytes.subarray(0, MOST_EXCERPT_BYTES), { stream: !isWhole })
    return text.includes('\0') ? 'binary' : { text, isWhole }
  } catch {
    return 'not UTF-8'
  }
}

/** In all of these, names are ASCII. Text that is not UTF-8 is not shown. */
const READABLE_CHARSETS = new Set(['utf-8', 'utf8', 'us-ascii', 'ascii', 'iso-8859-1', 'windows-1252'])

/** 2 KiB of a normal response never decompress to more. */
const MOST_UNPACKED_BYTES = 512 * 1024
