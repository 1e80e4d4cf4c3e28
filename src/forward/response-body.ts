// Decompresses and rewrites a response body while it streams to the caller.
import { isUtf8 } from 'node:buffer'
import type { Transform } from 'node:stream'
import zlib from 'node:zlib'
import { ProxyError } from '../errors.ts'
import type { UpstreamResponse } from './call.ts'
import type { BodyPlan } from './headers.ts'

/** Longer strings pass unchanged, so that an endless one cannot fill the memory. */
export const LONGEST_STRING_BYTES = 16 * 1024
/** Anything nested deeper passes unchanged. */
export const DEEPEST = 1_000

const QUOTE = 0x22
const BACKSLASH = 0x5c
const LETTER_H = 0x68

type State = 'outside' | 'held' | 'passing' | 'gave up'

/**
 * Takes the bytes of a JSON text in chunks of any size and returns the bytes to send on. `replace` is called with
 * each decoded string value that may be a URL. Keys are never changed, and text that is not JSON passes unchanged.
 */
export class JsonStrings {
  readonly #replace: (value: string) => string | undefined
  #state: State = 'outside'
  #escaped = false
  /** Whether each open container is an object. */
  readonly #open: boolean[] = []
  #isKey = false
  /** The part of the current string that arrived in earlier chunks. */
  #held: Buffer[] = []
  #heldBytes = 0

  constructor(replace: (value: string) => string | undefined) {
    this.#replace = replace
  }

  /** Returns the bytes to send on, possibly none. */
  push(piece: Buffer): Buffer {
    const parts: Buffer[] = []
    /** Everything before this index is already in `parts`. */
    let from = 0
    /** Where the current string begins in this chunk. */
    let start = 0
    let at = 0
    const letGo = () => {
      parts.push(...this.#held)
      this.#forget()
    }
    for (; at < piece.length; at++) {
      const byte = piece[at]!
      if (this.#state === 'gave up') break
      if (this.#state === 'outside') {
        if (byte !== QUOTE) this.#structure(byte)
        else {
          this.#state = this.#isKey ? 'passing' : 'held'
          start = at + 1
        }
        continue
      }
      if (this.#state === 'held') {
        const length = this.#heldBytes + at - start
        if ((length === 0 && !mayBeginUrl(byte)) || length >= LONGEST_STRING_BYTES) {
          letGo()
          this.#state = 'passing'
        } else if (byte === QUOTE && !this.#escaped) {
          const raw = Buffer.concat([...this.#held, piece.subarray(start, at)])
          const replacement = this.#replacementOf(raw)
          if (replacement === undefined) letGo()
          else {
            if (this.#heldBytes === 0) parts.push(piece.subarray(from, start))
            parts.push(replacement)
            from = at
            this.#forget()
          }
        }
      }
      if (this.#escaped) this.#escaped = false
      else if (byte === BACKSLASH) this.#escaped = true
      else if (byte === QUOTE) this.#state = 'outside'
    }
    if (this.#state === 'held') {
      if (this.#heldBytes === 0) parts.push(piece.subarray(from, start))
      // A copy, because a slice would keep the whole chunk in memory.
      this.#held.push(Buffer.from(piece.subarray(start)))
      this.#heldBytes += piece.length - start
    } else parts.push(piece.subarray(from))
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  }

  /** Returns what is left if the text ends within a string. */
  end(): Buffer {
    const rest = Buffer.concat(this.#held)
    this.#forget()
    return rest
  }

  #forget(): void {
    this.#held = []
    this.#heldBytes = 0
  }

  #structure(byte: number): void {
    switch (byte) {
      case 0x7b: // {
      case 0x5b: // [
        this.#open.push(byte === 0x7b)
        this.#isKey = byte === 0x7b
        if (this.#open.length > DEEPEST) this.#state = 'gave up'
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
    // Lenient decoding would change what it cannot read.
    if (raw.length === 0 || !isUtf8(raw)) return undefined
    const value = parsed(raw.toString())
    const replacement = value === undefined ? undefined : this.#replace(value)
    return replacement === undefined ? undefined : Buffer.from(JSON.stringify(replacement).slice(1, -1))
  }
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
  const source = coding === undefined ? packed : unpacked(packed, coding)
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
function unpacked(source: BodySource, coding: string): BodySource {
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
