// A caller's request body on its way up: it streams with back-pressure, is counted, and a short one is kept to be sent again.
import { Readable } from 'node:stream'
import { hastenCollection } from './collection.ts'

/** Bodies up to this length are kept, so that the request can be sent again. */
export const MOST_KEPT_BYTES = 64 * 1024

/**
 * Stands between the caller's request and undici. undici destroys a body that it has no more use for, and to destroy
 * the caller's request itself would cut the connection on which the caller still has to get its response.
 */
export class RequestBody extends Readable {
  readonly #request: Readable
  readonly #onProgress: (bytes: number, piece?: Buffer) => void
  readonly #observers: ((piece: Buffer) => void)[] = []
  #kept: Buffer[] | undefined = []
  #keptBytes = 0
  #isStarted = false
  #isComplete = false
  /** When its last piece arrived (`performance.now()`). */
  movedAt = 0

  /** `onProgress` is called for each piece, and with 0 at the end. */
  constructor(request: Readable, onProgress: (bytes: number, piece?: Buffer) => void) {
    super({ highWaterMark: MOST_KEPT_BYTES, autoDestroy: true })
    this.#request = request
    this.#onProgress = onProgress
    // It may break while the request still waits for its turn: an error that no one listens for would end the process.
    this.on('error', () => {})
  }

  /**
   * What to send in the next attempt: the stream itself while nothing of it was taken, the kept bytes once all of a short
   * body has arrived, else undefined: the request can't be sent again.
   */
  replay(): Buffer | RequestBody | undefined {
    if (!this.#isStarted && !this.destroyed) return this
    if (this.#kept === undefined || !this.#isComplete) return undefined
    return Buffer.concat(this.#kept, this.#keptBytes)
  }

  /** Calls `listener` with each piece that arrives from now on. */
  observe(listener: (piece: Buffer) => void): void {
    this.#observers.push(listener)
  }

  /** The caller has sent all of it. */
  get isComplete(): boolean {
    return this.#isComplete
  }

  /** Everything that arrived was taken over: what is missing now is the caller's to send. */
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
    // The rest of what the caller sends is read and dropped, so that it gets to read its response.
    this.#request.off('data', this.#onData)
    this.#request.off('end', this.#onEnd)
    this.#request.resume()
    done(error)
  }

  readonly #onData = (chunk: Buffer): void => {
    hastenCollection(chunk)
    if (this.#kept !== undefined) {
      this.#keptBytes += chunk.length
      if (this.#keptBytes <= MOST_KEPT_BYTES) this.#kept.push(chunk)
      else this.#kept = undefined
    }
    this.movedAt = performance.now()
    this.#onProgress(chunk.length, chunk)
    for (const observe of this.#observers) observe(chunk)
    if (!this.push(chunk)) this.#request.pause()
  }

  readonly #onEnd = (): void => {
    this.#isComplete = true
    this.#onProgress(0)
    this.push(null)
  }

  readonly #onError = (error: Error): void => {
    this.destroy(error)
  }
}
