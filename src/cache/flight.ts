// Sends one request to Procore for several equal calls, and collects the response while it streams to the first of them.
import {
  type Call,
  CallerGoneError,
  Departure,
  type ResponseHead,
  type Send,
  type UpstreamResponse,
} from '../forward/call.ts'
import { Pieces } from '../network/pieces.ts'
import type { CacheRequest } from './cache-request.ts'

interface CollectOptions {
  /** A response that does not fit is not collected. */
  readonly mostBytes: number
  /** What all responses that are being collected take together. `take` returns false if there is no room. */
  readonly memory: { take(bytes: number): boolean; give(bytes: number): void }
  /** Its caller reads no more of it, but it is still collected. */
  readonly onAbort: () => void
}

interface FlightOptions extends Omit<CollectOptions, 'onAbort'> {
  readonly send: Send
  /** Whether a response is worth collecting: to be kept, or for followers. */
  readonly isWanted: (response: UpstreamResponse) => boolean
}

/** A response with its body, which is complete. */
export interface WholeResponse {
  readonly response: UpstreamResponse
  /** Made when it is first requested. */
  readonly body: () => Buffer
  /** When Procore was asked (`performance.now()`). The response is not older than that. */
  readonly sentAt: number
}

/**
 * The error if there was no response; undefined if others cannot use the response because it was too long, broke off,
 * or must not be shared.
 */
type Outcome = WholeResponse | Error | undefined

/** If one of its callers disconnects, the others still get the whole response. */
export class Flight {
  readonly request: CacheRequest
  /** The call that it began with. */
  readonly leader: Call
  readonly startedAt = performance.now()
  /** A write to its company was answered in the meantime, so no more calls join it, and it is not kept. */
  isOutdated = false
  /** Those who still want its response. */
  #members = 1
  #hasLeader = true
  #isComplete = false
  readonly #departure = new Departure()
  readonly #outcome = Promise.withResolvers<Outcome>()
  #collected: CollectedResponse | undefined

  constructor(request: CacheRequest, leader: Call) {
    this.request = request
    this.leader = leader
  }

  get outcome(): Promise<Outcome> {
    return this.#outcome.promise
  }

  /** Sends the leader's call and streams the response to it. Throws CallerGoneError as soon as the leader disconnects. */
  lead(options: FlightOptions): Promise<UpstreamResponse> {
    return unlessGone(this.leader.departure, this.#send(options), () => this.#leaderLeft())
  }

  /** Waits for the outcome on behalf of one more caller. Throws CallerGoneError as soon as it disconnects. */
  async follow({ departure }: Call): Promise<Outcome> {
    this.#members++
    try {
      return await unlessGone(departure, this.outcome)
    } finally {
      this.#leave()
    }
  }

  async #send({ send, memory, mostBytes, isWanted }: FlightOptions): Promise<UpstreamResponse> {
    try {
      const response = await send({ ...this.leader, departure: this.#departure })
      if (!isWanted(response) || Number(response.head['content-length']) > mostBytes) {
        if (!this.#hasLeader) response.abort(new CallerGoneError())
        this.#outcome.resolve(undefined)
        return response
      }
      const onAbort = () => this.#leaderLeft()
      const collected = new CollectedResponse(response, { mostBytes, memory, onAbort })
      this.#collected = collected
      if (!this.#hasLeader) collected.abort(new CallerGoneError())
      const sentAt = this.leader.exchange.sentAt ?? this.startedAt
      void collected.isWhole.then((isWhole) => {
        this.#isComplete = isWhole
        this.#outcome.resolve(isWhole ? { response, body: () => collected.body(), sentAt } : undefined)
      })
      return collected
    } catch (error) {
      this.#outcome.resolve(error instanceof Error ? error : undefined)
      throw error
    }
  }

  #leaderLeft(): void {
    if (!this.#hasLeader) return
    this.#hasLeader = false
    this.#collected?.abort(new CallerGoneError())
    this.#leave()
  }

  #leave(): void {
    this.#members--
    if (this.#members > 0 || this.#isComplete) return
    this.#departure.leave()
    this.#collected?.stop(new CallerGoneError())
  }
}

/** The promise's result, or CallerGoneError as soon as the caller disconnects; `onLeave` is called in that case. */
function unlessGone<T>(departure: Departure, promise: Promise<T>, onLeave?: () => void): Promise<T> {
  const gone = Promise.withResolvers<never>()
  departure.whenLeft(() => {
    onLeave?.()
    gone.reject(new CallerGoneError())
  })
  return Promise.race([promise, gone.promise])
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
  /** Everything that arrived, as long as that fits; then only what the caller has not read. */
  #pieces = new Pieces()
  #fits = true
  /** How much of the shared memory is taken. */
  #held = 0
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
    const whole = source.whole?.(options.mostBytes)
    if (whole === undefined) {
      const reading = source.pipe((chunk) => this.#take(chunk))
      reading.then(
        () => this.#finish('complete'),
        (error: Error) => this.#finish(error),
      )
    } else {
      this.#take(whole)
      this.#finish('complete')
    }
  }

  /** Whether the whole body was collected: it did not break off, and fits. */
  get isWhole(): Promise<boolean> {
    return this.#whole.promise
  }

  /** The whole body, in memory of its own. */
  body(): Buffer {
    return this.#pieces.whole()
  }

  whole(most: number): Buffer | undefined {
    if (this.#end !== 'complete' || !this.#fits || this.#pieces.length > most) return undefined
    this.#giveBack(this.#held)
    return this.body()
  }

  async pipe(write: (chunk: Buffer) => boolean): Promise<void> {
    for (;;) {
      // Taken first: a source that resumes may give its next piece, and with it the signal, at once.
      const woken = this.#wake.promise
      if (this.#aborted !== undefined) throw this.#aborted
      const next = this.#isCallerReady ? this.#pieces.read() : undefined
      if (next !== undefined) {
        if (!this.#fits) {
          this.#pieces.forgetRead()
          this.#giveBack(next.length)
        }
        this.#isCallerReady = write(next)
        continue
      }
      if (this.#pieces.unread === 0) {
        if (this.#end === 'complete') {
          this.#giveBack(this.#held)
          return
        }
        if (this.#end !== undefined) throw this.#end
        if (this.#isSourceStopped) {
          this.#isSourceStopped = false
          this.#source.resume()
        }
      }
      await woken
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
    if (!this.#fits || this.#end !== undefined) this.#giveBack(this.#held)
    if (this.#fits) this.#options.onAbort()
    else this.stop(reason)
  }

  /** Ends it for its caller and for those who wait for the whole. */
  stop(reason: Error): void {
    if (this.#end !== undefined) return
    this.#source.abort(reason)
    this.#finish(reason)
  }

  #take(piece: Buffer): boolean {
    if (this.#end !== undefined) return true
    const { mostBytes, memory } = this.#options
    if (this.#fits && this.#held + piece.length <= mostBytes && memory.take(piece.length)) {
      this.#held += piece.length
    } else {
      this.#isSourceStopped = true
      if (this.#fits) this.#passOn()
    }
    this.#pieces.add(piece)
    this.#signal()
    return !this.#isSourceStopped
  }

  /** It does not fit: from here on, only what its caller has not read is held. */
  #passOn(): void {
    this.#fits = false
    this.#pieces.forgetRead()
    this.#giveBack(this.#held - this.#pieces.unread)
    this.#whole.resolve(false)
    if (this.#aborted !== undefined) this.stop(new CallerGoneError())
  }

  #finish(end: 'complete' | Error): void {
    if (this.#end !== undefined) return
    this.#end = end
    this.#whole.resolve(end === 'complete' && this.#fits)
    // Otherwise its caller has yet to read it.
    if (end !== 'complete' || this.#aborted !== undefined) this.#giveBack(this.#held)
    if (end !== 'complete') this.#pieces = new Pieces()
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
