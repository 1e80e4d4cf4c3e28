// Decompresses and rewrites a response body while it streams to the caller.
import { isUtf8 } from 'node:buffer'
import type { Transform } from 'node:stream'
import zlib from 'node:zlib'
import { ProxyError } from '../errors.ts'
import { Pieces } from '../network/pieces.ts'
import type { UpstreamResponse } from './call.ts'
import type { BodyPlan } from './headers.ts'

/** Longer strings pass unchanged, so that an endless one cannot fill the memory. */
export const LONGEST_STRING_BYTES = 16 * 1024
/** Anything nested deeper passes unchanged. */
export const DEEPEST = 1_000

const QUOTE = 0x22
const BACKSLASH = 0x5c
const LETTER_H = 0x68
const NOTHING = Buffer.alloc(0)

/**
 * Takes the bytes of a JSON text in chunks of any size and returns the bytes to send on. `replace` is called with
 * each decoded string value that may be a URL. Keys are never changed, and text that is not JSON passes unchanged.
 */
export class JsonStrings {
  readonly #replace: (value: string) => string | undefined
  /** Whether each open container is an object. */
  readonly #open: boolean[] = []
  #isKey = false
  #hasGivenUp = false
  #isInString = false
  /** The next byte of the current string is escaped. */
  #isEscaped = false
  /** What has arrived of the current string, if it may have to be replaced; otherwise it is sent on as it arrives. */
  #held: Pieces | undefined

  constructor(replace: (value: string) => string | undefined) {
    this.#replace = replace
  }

  /** Returns the bytes to send on, possibly none. */
  push(piece: Buffer): Buffer {
    const parts: Buffer[] = []
    /** Everything before this index is already in `parts`, or held. */
    let from = 0
    for (let at = 0; at < piece.length && !this.#hasGivenUp; at++) {
      const isInside = this.#isInString
      if (!isInside && piece[at] !== QUOTE) {
        this.#structure(piece[at]!)
        continue
      }
      const begin = isInside ? 0 : at + 1
      const start = this.#isEscaped ? begin : begin - 1
      const end = endOfString(piece, start)
      this.#isInString = end === -1
      this.#isEscaped = end === -1 && backslashesBefore(piece, piece.length, start) % 2 === 1
      if (!isInside) this.#held = end === -1 && !this.#isKey ? new Pieces() : undefined
      if (end === -1) {
        if (this.#held === undefined) break
        parts.push(piece.subarray(from, begin), this.#hold(this.#held, piece.subarray(begin)))
        from = piece.length
        break
      }
      const held = this.#held
      held?.add(piece.subarray(begin, end))
      const raw = held?.whole() ?? piece.subarray(begin, end)
      const mayReplace = isInside ? held !== undefined : !this.#isKey
      const replacement = mayReplace ? this.#replacementOf(raw) : undefined
      if (held !== undefined || replacement !== undefined) {
        parts.push(piece.subarray(from, begin), replacement ?? raw)
        from = end
      }
      this.#held = undefined
      at = end
    }
    parts.push(piece.subarray(from))
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  }

  /** Returns what is left if the text ends within a string. */
  end(): Buffer {
    return this.#held?.whole() ?? NOTHING
  }

  /** Holds a part of the current string back, or lets go of all of it once it can't be a URL. Returns the bytes to send on. */
  #hold(held: Pieces, part: Buffer): Buffer {
    const isOther = held.length === 0 && part.length > 0 && !mayBeginUrl(part[0]!)
    // A copy, because a slice would keep the whole chunk in memory.
    held.add(Buffer.from(part))
    if (!isOther && held.length < LONGEST_STRING_BYTES) return NOTHING
    this.#held = undefined
    return held.whole()
  }

  #structure(byte: number): void {
    switch (byte) {
      case 0x7b: // {
      case 0x5b: // [
        this.#open.push(byte === 0x7b)
        this.#isKey = byte === 0x7b
        if (this.#open.length > DEEPEST) this.#hasGivenUp = true
        break
      case 0x7d: // }
      case 0x5d: // ]
        this.#open.pop()
        this.#isKey = false
        break
      case 0x2c: // ,
        this.#isKey = this.#open.at(-1) === true
        break
      case 0x3a: // :
        this.#isKey = false
        break
    }
  }

  #replacementOf(raw: Buffer): Buffer | undefined {
    if (raw.length === 0 || raw.length >= LONGEST_STRING_BYTES || !mayBeginUrl(raw[0]!)) return undefined
    // Lenient decoding would change what it cannot read.
    if (!isUtf8(raw)) return undefined
    const value = parsed(raw.toString())
    const replacement = value === undefined ? undefined : this.#replace(value)
    return replacement === undefined ? undefined : Buffer.from(JSON.stringify(replacement).slice(1, -1))
  }
}

/** The place of the quote that ends the string, which begins behind `start`; -1 if there is none. */
export function endOfString(json: Buffer, start: number): number {
  for (let end = json.indexOf(QUOTE, start + 1); end !== -1; end = json.indexOf(QUOTE, end + 1)) {
    if (backslashesBefore(json, end, start) % 2 === 0) return end
  }
  return -1
}

function backslashesBefore(json: Buffer, end: number, start: number): number {
  let count = 0
  while (end - 1 - count > start && json[end - 1 - count] === BACKSLASH) count += 1
  return count
}

/** An escape may decode to any letter. */
function mayBeginUrl(byte: number): boolean {
  return (byte | 0x20) === LETTER_H || byte === BACKSLASH
}

function parsed(raw: string): string | undefined {
  try {
    return JSON.parse(`"${raw}"`) as string
  } catch {
    return undefined
  }
}

/** A body that can be read once, like that of an {@link UpstreamResponse}. */
export type BodySource = Pick<UpstreamResponse, 'pipe' | 'resume' | 'abort'>

/**
 * A body is aborted if it decompresses to more than this many bytes and to more than this multiple of its compressed
 * size.
 */
const MOST_FREE_BYTES = 16 * 1024 * 1024
const MOST_RATIO = 200

/** The body as the caller receives it: decompressed and rewritten while it streams, with back-pressure. */
export function transformed(packed: BodySource, { coding, replace }: BodyPlan): BodySource {
  const source = coding === undefined ? packed : unpackedSource(packed, coding)
  if (replace === undefined) return source
  const strings = new JsonStrings(replace)
  return {
    resume: () => source.resume(),
    abort: (reason) => source.abort(reason),
    pipe: async (write) => {
      await source.pipe((chunk) => {
        const out = strings.push(chunk)
        return out.length === 0 || write(out)
      })
      const rest = strings.end()
      if (rest.length > 0) write(rest)
    },
  }
}

type Unpacker = Transform & { readonly bytesWritten: number }

/** The body decompressed. Breaks off, and aborts the source, if one of the two breaks off. */
function unpackedSource(source: BodySource, coding: string): BodySource {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let unpacker: Unpacker | undefined
  let packedBytes = 0
  let unpackedBytes = 0
  const start = (firstByte: number, write: (chunk: Buffer) => boolean) => {
    const started = unpackerOf(coding, firstByte)
    started.on('data', (chunk: Buffer) => {
      unpackedBytes += chunk.length
      if (isBomb(packedBytes, unpackedBytes)) {
        started.destroy(new Error('it unpacks to far more than an honest response would'))
        return
      }
      try {
        if (!write(chunk)) started.pause()
      } catch (error) {
        started.destroy()
        reject(error)
      }
    })
    started.on('drain', () => source.resume())
    started.on('end', () => {
      // Whatever follows is dropped, but the response is read to its end.
      source.resume()
      resolve()
    })
    started.on('error', (cause) => reject(notUnpacked(cause)))
    return started
  }
  return {
    resume: () => {
      if (unpacker === undefined) source.resume()
      else unpacker.resume()
    },
    abort: (reason) => {
      source.abort(reason)
      unpacker?.destroy(reason)
    },
    pipe: async (write) => {
      const packed = source.pipe((chunk) => {
        packedBytes += chunk.length
        unpacker ??= start(chunk[0] ?? 0, write)
        return unpacker.readableEnded || unpacker.destroyed || unpacker.write(chunk)
      })
      packed.then(() => (unpacker === undefined ? resolve() : unpacker.end()), reject)
      try {
        await Promise.all([promise, packed])
      } catch (error) {
        source.abort(error as Error)
        throw error
      } finally {
        unpacker?.destroy()
      }
      // Node stops after the first frame, and there may be more (RFC 8878 section 3.1).
      if (coding === 'zstd' && unpacker !== undefined && unpacker.bytesWritten < packedBytes)
        throw notUnpacked(new Error('it has more than one frame'))
    },
  }
}

function notUnpacked(cause: unknown): ProxyError {
  const detail = "The API's compressed response could not be unpacked."
  return new ProxyError('upstream_protocol', detail, { proxyStatus: 'http_response_content_coding', cause })
}

function isBomb(packed: number, unpacked: number): boolean {
  return unpacked > MOST_FREE_BYTES && unpacked > packed * MOST_RATIO
}

function unpackerOf(coding: string, firstByte: number): Unpacker {
  const options = { chunkSize: 64 * 1024 }
  switch (coding) {
    case 'br':
      return zlib.createBrotliDecompress(options)
    case 'zstd':
      return zlib.createZstdDecompress(options)
    case 'deflate':
      // RFC 9110 requires the zlib format here, but some servers leave out its header.
      return (firstByte & 0x0f) === 8 ? zlib.createInflate(options) : zlib.createInflateRaw(options)
    default:
      return zlib.createGunzip(options)
  }
}
