// Carries a request's body up: streams with back-pressure, counts, and keeps a short body for one replay.
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { giveBack } from '../http1/intake.ts'
import { LARGE_BYTES } from './large-bodies.ts'
import { type PastParser, readPast } from './past-parser.ts'

/** Bodies up to this length are kept, so that the request can be sent again. */
export const MOST_KEPT_BYTES = 64 * 1024

/**
 * Stands between the caller's request and undici, which destroys a body that it has no more use for: destroying the
 * request itself would cut the connection on which the caller still has to get its answer.
 */
export class BodyRelay extends Readable {
  readonly #request: IncomingMessage
  readonly #onProgress: (bytes: number, piece?: Buffer) => void
  #kept: Buffer[] | undefined = []
  #keptBytes = 0
  #started = false
  #ended = false
  /** What came so far. */
  #bytes = 0
  /** Of a large body whose length is known, once it has begun to come. */
  #past: PastParser | undefined

  /** `onProgress` is called for each piece, and with 0 at the end. */
  constructor(request: IncomingMessage, onProgress: (bytes: number, piece?: Buffer) => void) {
    super({ highWaterMark: MOST_KEPT_BYTES, autoDestroy: true })
    this.#request = request
    this.#onProgress = onProgress
  }

  /** The whole body, or undefined where it was too long to keep or has not arrived whole. */
  kept(): Buffer | undefined {
    if (this.#kept === undefined || !this.#ended) return undefined
    return Buffer.concat(this.#kept, this.#keptBytes)
  }

  /** Nothing was taken of it yet: it can still be sent, from its beginning. */
  get untouched(): boolean {
    return !this.#started && !this.destroyed
  }

  /** The caller has sent all of it. */
  get complete(): boolean {
    return this.#ended
  }

  /** Everything that came has been taken over: what is missing now is the caller's to send. */
  get waitsForCaller(): boolean {
    return !this.#ended && !this.destroyed && this.readableLength === 0
  }

  override _read(): void {
    if (this.#past !== undefined) this.#past.resume()
    else if (this.#started) this.#request.resume()
    else {
      this.#started = true
      this.#request.on('data', this.#onData)
      this.#request.on('end', this.#onEnd)
      this.#request.on('error', this.#onError)
    }
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // What the caller still sends is read and thrown away, so that it comes to read its answer.
    this.#request.off('data', this.#onData)
    this.#request.off('end', this.#onEnd)
    this.#request.resume()
    this.#past?.resume()
    done(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#kept !== undefined) {
      this.#keptBytes += chunk.length
      if (this.#keptBytes <= MOST_KEPT_BYTES) this.#kept.push(chunk)
      else this.#kept = undefined
    }
    // The parser is at work now: it can't be left before this turn has ended.
    if (this.#bytes === 0 && lengthOf(this.#request) > LARGE_BYTES) setImmediate(this.#leaveParser)
    if (!this.#pass(chunk)) this.#request.pause()
  }

  #pass(chunk: Buffer): boolean {
    this.#bytes += chunk.length
    this.#onProgress(chunk.length, chunk)
    return this.push(chunk)
  }

  readonly #leaveParser = (): void => {
    const request = this.#request
    // What waits in the request comes by its event.
    while (!this.destroyed && request.read() !== null);
    const left = lengthOf(request) - this.#bytes
    if (this.destroyed || request.destroyed || request.complete || left <= MOST_KEPT_BYTES) return
    this.#kept = undefined
    this.#past = readPast(request, left, this.#take)
    // Its end is all that it still has to tell.
    if (this.#past !== undefined) request.resume()
  }

  readonly #take = (piece: Buffer): boolean => {
    if (!this.destroyed) return this.#pass(piece)
    giveBack(piece)
    return true
  }

  readonly #onEnd = (): void => {
    this.#ended = true
    this.#onProgress(0)
    this.push(null)
  }

  readonly #onError = (error: Error): void => {
    this.destroy(error)
  }
}

/** As announced; not a number where it is not. */
function lengthOf(request: IncomingMessage): number {
  return Number(request.headers['content-length'])
}
