// Streams a response to its caller and collects it at the same time, as long as it fits in memory.
import { CallerGoneError } from '../forward/call.ts'
import type { ResponseHead, UpstreamResponse } from '../forward/upstream-response.ts'

/** Memory that several responses share. */
export interface SharedMemory {
  /** False if so many bytes more do not fit. */
  take(bytes: number): boolean
  give(bytes: number): void
}

export interface CollectOptions {
  /** A response that does not fit is not collected. */
  readonly mostBytes: number
  readonly memory: SharedMemory
  /** Its caller reads no more of it, but it is still collected. */
  readonly onAbort: () => void
}

/**
 * Reads the source at full speed while it fits, so that a slow caller does not delay others that wait for the whole
 * response. If it does not fit, it is only passed on, at the pace of its caller.
 */
export class CollectedResponse implements UpstreamResponse {
  readonly status: number
  readonly statusText: string
  readonly rawHeaders: readonly string[]
  readonly head: ResponseHead
  readonly #source: UpstreamResponse
  readonly #options: CollectOptions
  readonly #whole = Promise.withResolvers<boolean>()
  /** Everything that arrived; undefined once it does not fit. */
  #pieces: Buffer[] | undefined = []
  #length = 0
  /** How much of the shared memory is taken. */
  #held = 0
  #body: Buffer | undefined
  /** What its caller has not read yet; undefined once it reads no more. */
  #queue: Buffer[] | undefined = []
  #wake = Promise.withResolvers<void>()
  #end: 'complete' | Error | undefined
  #releasedFor: Error | undefined
  #isSourceStopped = false
  #isCallerReady = true

  constructor(source: UpstreamResponse, options: CollectOptions) {
    this.status = source.status
    this.statusText = source.statusText
    this.rawHeaders = source.rawHeaders
    this.head = source.head
    this.#source = source
    this.#options = options
    source
      .pipe((chunk) => this.#take(chunk))
      .then(
        () => this.#finish('complete'),
        (error: Error) => this.#finish(error),
      )
    if (source.isComplete) this.#finish('complete')
  }

  get isComplete(): boolean {
    return this.#end === 'complete'
  }

  /** Whether the whole body was collected: it did not break off, and fits. */
  get isWhole(): Promise<boolean> {
    return this.#whole.promise
  }

  /** The whole body as a copy, which is made when it is first requested. */
  body(): Buffer {
    if (this.#body === undefined) {
      this.#body = joined(this.#pieces ?? [], this.#length)
      this.#pieces = []
      // What a slow caller has not read yet is part of the same memory.
      const waiting = lengthOf(this.#queue ?? [])
      if (waiting > 0) this.#queue = [this.#body.subarray(this.#length - waiting)]
    }
    return this.#body
  }

  async pipe(write: (chunk: Buffer) => boolean): Promise<void> {
    for (;;) {
      const queue = this.#queue
      if (queue === undefined) throw this.#releasedFor
      const piece = this.#isCallerReady ? queue.shift() : undefined
      if (piece !== undefined) {
        if (this.#pieces === undefined) this.#giveBack(piece.length)
        this.#isCallerReady = write(piece)
      } else if (queue.length === 0 && this.#end !== undefined) {
        if (this.#end !== 'complete') throw this.#end
        return
      } else {
        if (queue.length === 0 && this.#isSourceStopped) this.#resumeSource()
        await this.#wake.promise
      }
    }
  }

  resume(): void {
    this.#isCallerReady = true
    this.#signal()
  }

  async read(mostBytes: number): Promise<Buffer | undefined> {
    const pieces: Buffer[] = []
    let bytes = 0
    const tooLong = new Error('the response is too long')
    try {
      await this.pipe((piece) => {
        bytes += piece.length
        if (bytes > mostBytes) throw tooLong
        pieces.push(piece)
        return true
      })
      return Buffer.concat(pieces, bytes)
    } catch (error) {
      if (error !== tooLong) throw error
      this.abort(tooLong)
      return undefined
    }
  }

  discard(): void {
    this.abort(new Error('the response was discarded'))
  }

  /**
   * Its caller reads no more. It is still collected to the end, unless no other caller waits for it or it does not
   * fit.
   */
  abort(reason: Error): void {
    if (this.#queue === undefined) return
    this.#queue = undefined
    this.#releasedFor = reason
    this.#signal()
    if (this.#pieces === undefined) {
      this.#giveBack(this.#held)
      this.stop(reason)
    } else this.#options.onAbort()
  }

  /** Ends it for its caller and for all that wait for the whole response. */
  stop(reason: Error): void {
    if (this.#end !== undefined) return
    this.#source.abort(reason)
    this.#finish(reason)
  }

  #take(piece: Buffer): boolean {
    if (this.#end !== undefined) return true
    if (this.#pieces !== undefined && this.#fits(piece.length)) {
      this.#held += piece.length
      this.#length += piece.length
      this.#pieces.push(piece)
    } else {
      if (this.#pieces !== undefined) this.#passOn()
      this.#isSourceStopped = true
    }
    this.#queue?.push(piece)
    this.#signal()
    return !this.#isSourceStopped
  }

  #fits(bytes: number): boolean {
    return this.#held + bytes <= this.#options.mostBytes && this.#options.memory.take(bytes)
  }

  /** It does not fit. From now on, only what its caller has not read is held. */
  #passOn(): void {
    this.#pieces = undefined
    this.#whole.resolve(false)
    this.#giveBack(this.#held - lengthOf(this.#queue ?? []))
    if (this.#queue === undefined) this.stop(new CallerGoneError())
  }

  #resumeSource(): void {
    this.#isSourceStopped = false
    this.#source.resume()
  }

  #finish(end: 'complete' | Error): void {
    if (this.#end !== undefined) return
    this.#end = end
    if (end !== 'complete') this.#queue &&= []
    // Of a response that is only passed on, the caller has yet to take what is held.
    if (end !== 'complete' || this.#pieces !== undefined) this.#giveBack(this.#held)
    this.#whole.resolve(end === 'complete' && this.#pieces !== undefined)
    this.#signal()
  }

  #giveBack(bytes: number): void {
    const given = Math.max(0, Math.min(bytes, this.#held))
    this.#held -= given
    this.#options.memory.give(given)
  }

  #signal(): void {
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }
}

function lengthOf(pieces: readonly Buffer[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0)
}

/** A copy, because a slice would keep a whole page of Buffer's pool in memory. */
function joined(pieces: readonly Buffer[], bytes: number): Buffer {
  const whole = Buffer.allocUnsafeSlow(bytes)
  let at = 0
  for (const piece of pieces) at += piece.copy(whole, at)
  return whole
}
