// Sends one request to Procore for several equal calls. If a caller disconnects, the others still get the whole
// response.
import { type Call, CallerGoneError, Departure, type Send, type UpstreamResponse } from '../forward/call.ts'
import type { CacheRequest } from './cache-request.ts'
import { CollectedResponse, type CollectOptions } from './collected-response.ts'

export interface FlightOptions extends Pick<CollectOptions, 'memory' | 'mostBytes'> {
  readonly send: Send
  /** Whether a response is worth collecting: to be kept, or for followers. */
  readonly isWanted: (response: UpstreamResponse) => boolean
}

/**
 * The error if there was no response; undefined if others cannot use the response because it was too long, broke off,
 * or must not be shared.
 */
export type Outcome = WholeResponse | Error | undefined

/** A response with its body, which is complete. */
export interface WholeResponse {
  readonly response: UpstreamResponse
  /** Made when it is first requested. */
  readonly body: () => Buffer
  /** When Procore was asked (`performance.now()`). The response is not older than that. */
  readonly sentAt: number
}

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

  /** What has come of it. */
  get outcome(): Promise<Outcome> {
    return this.#outcome.promise
  }

  /**
   * Sends the leader's call and streams the response to it. Throws CallerGoneError as soon as the leader disconnects.
   */
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
      const collected = new CollectedResponse(response, {
        mostBytes,
        memory,
        onAbort: () => this.#leaderLeft(),
      })
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
