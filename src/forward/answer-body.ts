// An answer's body on its way to the caller, where it has to be unpacked or rewritten as it streams by.
import type { Transform } from 'node:stream'
import { ProxyError } from '../errors.ts'
import { JsonStrings } from './json-strings.ts'

type Replace = (value: string) => string | undefined

/** What is asked of answers to one request. */
export interface BodyWishes {
  /** The proxy asked for compression, and the caller did not. */
  readonly unpack: boolean
  /** What becomes of the string values of JSON. */
  readonly replace: Replace | undefined
}

/** What is to be done to one answer. */
export interface BodyPlan {
  /** Undefined: it is not compressed. */
  readonly coding: string | undefined
  /** Undefined: it is not rewritten. */
  readonly replace: Replace | undefined
}

type ParsedHeaders = Readonly<Record<string, unknown>>

const CODINGS = new Set(['gzip', 'x-gzip', 'deflate', 'br', 'zstd'])
const JSON_TYPE = /^\s*application\/(?:[a-z0-9!#$&^_.-]+\+)?json\s*(?:;|$)/i

/** What is to be done to this answer; undefined where it passes as it is. `headers` by lower-case name. */
export function planBody(status: number, headers: ParsedHeaders, wishes: BodyWishes): BodyPlan | undefined {
  const { unpack, replace } = wishes
  if (!unpack && replace === undefined) return undefined
  // Invariant: a part of something is neither unpacked nor rewritten: what it is a part of would be another thing.
  if (status < 200 || status === 204 || status === 205 || status === 206 || status === 304) return undefined
  if (headers['content-range'] !== undefined) return undefined
  if (replace === undefined && headers['content-encoding'] === undefined) return undefined
  const codings = String(headers['content-encoding'] ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '' && name !== 'identity')
  const [coding] = codings
  if (codings.length > 1 || (coding !== undefined && !CODINGS.has(coding))) return undefined
  const rewriting = replace !== undefined && status < 300 && JSON_TYPE.test(String(headers['content-type']))
  if (!rewriting && !(unpack && coding !== undefined)) return undefined
  return { coding, replace: rewriting ? replace : undefined }
}

/** Where a worked on body goes. */
export interface BodyOutlet {
  /** False: no more until `resume`. */
  take(chunk: Buffer): boolean
  /** More may be written after `write` gave false. */
  ready(): void
  end(): void
  fail(error: Error): void
}

/** Answers that unpack to more than this, and to more than so many times their size on the wire, are broken off. */
const MOST_FREE_BYTES = 16 * 1024 * 1024
const MOST_RATIO = 200

/** Works on one body; back-pressure passes through. */
export class AnswerBody {
  readonly #plan: BodyPlan
  readonly #outlet: BodyOutlet
  readonly #strings: JsonStrings | undefined
  #unpacker: Transform | undefined
  #packedBytes = 0
  #unpackedBytes = 0

  constructor(plan: BodyPlan, outlet: BodyOutlet) {
    this.#plan = plan
    this.#outlet = outlet
    this.#strings = plan.replace && new JsonStrings('h', plan.replace)
  }

  /** False: no more until the outlet's `ready`. */
  write(chunk: Buffer): boolean {
    if (this.#plan.coding === undefined) return this.#pass(chunk)
    this.#packedBytes += chunk.length
    this.#unpacker ??= this.#open(this.#plan.coding, chunk[0] ?? 0)
    return this.#unpacker.write(chunk)
  }

  /** All was written. */
  end(): void {
    if (this.#unpacker === undefined) this.#end()
    else this.#unpacker.end()
  }

  /** The outlet takes more again. */
  resume(): void {
    if (this.#unpacker === undefined) this.#outlet.ready()
    else this.#unpacker.resume()
  }

  destroy(): void {
    this.#unpacker?.destroy()
  }

  #pass(chunk: Buffer): boolean {
    const out = this.#strings === undefined ? chunk : this.#strings.push(chunk)
    return out.length === 0 || this.#outlet.take(out)
  }

  #end(): void {
    const rest = this.#strings?.end()
    if (rest !== undefined && rest.length > 0) this.#outlet.take(rest)
    this.#outlet.end()
  }

  #open(coding: string, firstByte: number): Transform {
    const unpacker = unpackerOf(coding, firstByte)
    unpacker.on('data', (chunk: Buffer) => {
      this.#unpackedBytes += chunk.length
      if (isBomb(this.#packedBytes, this.#unpackedBytes)) {
        unpacker.destroy(new Error('it unpacks to far more than an honest answer would'))
      } else if (!this.#pass(chunk)) unpacker.pause()
    })
    unpacker.on('drain', () => this.#outlet.ready())
    unpacker.on('end', () => this.#end())
    unpacker.on('error', (cause) => {
      this.#outlet.fail(
        new ProxyError('upstream_protocol', "The API's compressed answer could not be unpacked.", {
          proxyStatus: 'http_response_content_coding',
          cause,
        }),
      )
    })
    return unpacker
  }
}

function isBomb(packed: number, unpacked: number): boolean {
  return unpacked > MOST_FREE_BYTES && unpacked > packed * MOST_RATIO
}

function unpackerOf(coding: string, firstByte: number): Transform {
  // Loaded with the first compressed answer: it would cost every start 2 ms.
  const zlib = process.getBuiltinModule('node:zlib')
  const options = { chunkSize: 64 * 1024 }
  switch (coding) {
    case 'br':
      return zlib.createBrotliDecompress(options)
    case 'zstd':
      return zlib.createZstdDecompress(options)
    case 'deflate':
      // RFC 9110 means zlib's format; some servers leave its header out.
      return (firstByte & 0x0f) === 8 ? zlib.createInflate(options) : zlib.createInflateRaw(options)
    default:
      return zlib.createGunzip(options)
  }
}
