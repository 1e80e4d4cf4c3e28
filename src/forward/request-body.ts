// Streams a caller's request body upstream with back-pressure, counts it, and keeps a short one so that it can be
// sent again.
import { Readable } from 'node:stream'
import { ProxyError } from '../errors.ts'
import { Pieces } from '../network/pieces.ts'

/** Shorter chunks do not accumulate. */
const LEAST_BYTES = 4 * 1024

/**
 * Makes V8 collect the buffers of a body earlier. Their memory is outside V8's heap, so V8 lets 64 MB of unused
 * buffers accumulate before it collects them. It collects its young generation often, and a short-lived string of the
 * same length fills that.
 */
export function hastenGarbageCollection(chunk: Buffer): void {
  if (chunk.length >= LEAST_BYTES) chunk.toString('latin1')
}

/** Bodies of up to this length are kept, so that the request can be sent again. */
const MOST_KEPT_BYTES = 64 * 1024

/**
 * A stream between the caller's request and undici. undici destroys a body that it no longer needs. Destroying the
 * caller's request itself would close the connection on which the caller still waits for its response.
 */
export class RequestBody extends Readable {
  readonly #request: Readable
  readonly #observers: ((piece: Buffer | undefined) => void)[] = []
  #kept: Pieces | undefined = new Pieces()
  #isStarted = false
  #isComplete = false
  /** When its latest chunk arrived (`performance.now()`). */
  movedAt = 0

  constructor(request: Readable) {
    super({ highWaterMark: MOST_KEPT_BYTES })
    this.#request = request
    // It may break while the request still waits for its turn: an error that no one listens for would end the process.
    this.on('error', () => {})
  }

  /**
   * Returns what to send in the next attempt: the stream itself if none of it has been read, or the kept bytes if all
   * of a short body has arrived. Returns undefined if the request cannot be sent again.
   */
  replay(): Buffer | RequestBody | undefined {
    if (!this.#isStarted && !this.destroyed) return this
    if (this.#kept === undefined || !this.#isComplete) return undefined
    return this.#kept.whole()
  }

  /** Calls `listener` with each chunk that arrives from now on, and with undefined at the end. */
  observe(listener: (piece: Buffer | undefined) => void): void {
    this.#observers.push(listener)
  }

  /** The caller has sent the whole body. */
  get isComplete(): boolean {
    return this.#isComplete
  }

  /** Everything that arrived has been read, so the next bytes have to come from the caller. */
  get isWaitingForCaller(): boolean {
    return !this.#isComplete && !this.destroyed && this.readableLength === 0
  }

  override _read(): void {
    if (this.#isStarted) {
      this.#request.resume()
      return
    }
    this.#isStarted = true
    this.#request.on('data', this.#onData)
    this.#request.on('end', this.#onEnd)
    this.#request.on('error', this.#onError)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // The rest of the caller's body is read and dropped, so that the caller can read its response.
    this.#request.off('data', this.#onData)
    this.#request.off('end', this.#onEnd)
    this.#request.resume()
    done(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    hastenGarbageCollection(chunk)
    this.#kept?.add(chunk)
    if (this.#kept !== undefined && this.#kept.length > MOST_KEPT_BYTES) this.#kept = undefined
    this.movedAt = performance.now()
    for (const observe of this.#observers) observe(chunk)
    if (!this.push(chunk)) this.#request.pause()
  }

  readonly #onEnd = (): void => {
    this.#isComplete = true
    for (const observe of this.#observers) observe(undefined)
    this.push(null)
  }

  readonly #onError = (error: Error): void => {
    this.destroy(error)
  }
}

/** The error for a body of which nothing came for too long. */
export function bodyStalled(): ProxyError {
  const detail = "The rest of the request's body did not arrive within upstream.responseTimeout."
  return new ProxyError('request_invalid', detail)
}
