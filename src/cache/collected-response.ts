// Streams a response to its caller and collects it at the same time, as long as it fits in memory.
import { CallerGoneError, type ResponseHead, type UpstreamResponse } from '../forward/call.ts'
import type { KeptResponses } from './kept-responses.ts'

export interface CollectOptions {
  /** A response that does not fit is not collected. */
  readonly mostBytes: number
  /** What all responses that are being collected take together. */
  readonly memory: Pick<KeptResponses, 'take' | 'give'>
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
  #isCollecting = true
  /** Everything that arrived; once it is no longer collected, what the caller has not read. */
  #pieces: Buffer[] = []
  /** How many of the pieces the caller has read. */
  #read = 0
  /** How much of the shared memory is taken. */
  #held = 0
  #body: Buffer | undefined
  #wake = Promise.withResolvers<void>()
  #end: 'complete' | Error | undefined
  /** Why the caller reads no more. */
  #aborted: Error | undefined
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

  /** The whole body, in memory of its own; made when it is first asked for. */
  body(): Buffer {
    if (this.#body === undefined) {
      const unread = lengthOf(this.#pieces.slice(this.#read))
      this.#body = joined(this.#pieces)
      // What a slow caller has yet to read is a part of the same memory.
      this.#pieces = unread === 0 ? [] : [this.#body.subarray(-unread)]
      this.#read = 0
    }
    return this.#body
  }

  whole(most: number): Buffer | undefined {
    if (!this.isComplete || !this.#isCollecting || lengthOf(this.#pieces) > most) return undefined
    const body = this.body()
    this.#read = this.#pieces.length
    return body
  }

  async pipe(write: (chunk: Buffer) => boolean): Promise<void> {
    for (;;) {
      if (this.#aborted !== undefined) throw this.#aborted
      const isDrained = this.#read === this.#pieces.length
      if (!isDrained && this.#isCallerReady) {
        this.#isCallerReady = write(this.#next())
        continue
      }
      if (isDrained && this.#end === 'complete') return
      if (isDrained && this.#end !== undefined) throw this.#end
      if (isDrained && this.#isSourceStopped) {
        this.#isSourceStopped = false
        this.#source.resume()
      }
      await this.#wake.promise
    }
  }

  resume(): void {
    this.#isCallerReady = true
    this.#signal()
  }

  /** Its caller reads no more. It is still collected to the end, unless no other caller waits or it does not fit. */
  abort(reason: Error): void {
    if (this.#aborted !== undefined) return
    this.#aborted = reason
    this.#signal()
    if (this.#isCollecting) this.#options.onAbort()
    else {
      this.#giveBack(this.#held)
      this.stop(reason)
    }
  }

  /** Ends it for its caller and for those who wait for the whole. */
  stop(reason: Error): void {
    if (this.#end !== undefined) return
    this.#source.abort(reason)
    this.#finish(reason)
  }

  #next(): Buffer {
    const piece = this.#pieces[this.#read] as Buffer
    if (this.#isCollecting) this.#read++
    else {
      this.#pieces.shift()
      this.#giveBack(piece.length)
    }
    return piece
  }

  #take(piece: Buffer): boolean {
    if (this.#end !== undefined) return true
    const { mostBytes, memory } = this.#options
    if (this.#isCollecting && this.#held + piece.length <= mostBytes && memory.take(piece.length)) {
      this.#held += piece.length
    } else {
      if (this.#isCollecting) this.#passOn()
      this.#isSourceStopped = true
    }
    this.#pieces.push(piece)
    this.#signal()
    return !this.#isSourceStopped
  }

  /** It does not fit: from here on, only what its caller has not read is held. */
  #passOn(): void {
    this.#isCollecting = false
    this.#pieces.splice(0, this.#read)
    this.#read = 0
    this.#giveBack(this.#held - lengthOf(this.#pieces))
    this.#whole.resolve(false)
    if (this.#aborted !== undefined) this.stop(new CallerGoneError())
  }

  #finish(end: 'complete' | Error): void {
    if (this.#end !== undefined) return
    this.#end = end
    if (end !== 'complete') {
      this.#pieces = []
      this.#read = 0
    }
    // If it is only passed on, what is held is what the caller has yet to read.
    if (end !== 'complete' || this.#isCollecting) this.#giveBack(this.#held)
    this.#whole.resolve(end === 'complete' && this.#isCollecting)
    this.#signal()
  }

  /** A piece that did not fit was never counted in what is held. */
  #giveBack(bytes: number): void {
    const given = Math.min(bytes, this.#held)
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

/** In memory of its own: a slice of Buffer's pool would retain the whole pool. */
function joined(pieces: readonly Buffer[]): Buffer {
  const whole = Buffer.allocUnsafeSlow(lengthOf(pieces))
  let at = 0
  for (const piece of pieces) at += piece.copy(whole, at)
  return whole
}
