// One attempt to send a request: wraps undici's dispatch in a promise of the response, whose body waits until it is
// read.
import type { Dispatcher } from 'undici'
import type { ResponseHead, UpstreamResponse } from './call.ts'
import { ResponseTimeoutError } from './problem.ts'
import { bodyStalled, type RequestBody } from './request-body.ts'

/** At most this much of a body is buffered before it is read. */
const MOST_EARLY_BYTES = 64 * 1024
/**
 * A discarded body is read up to this length, so that its connection can be reused; a longer one closes the
 * connection.
 */
const MOST_DISCARDED_BYTES = 64 * 1024
/** The time limit for reading a discarded body. */
const LONGEST_DISCARD_MS = 5_000
/** More interim responses than this are not passed on. */
const MOST_INFORMATION = 100
/** They have no body, whatever their Content-Length says (RFC 9110 section 6.4.1). */
const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 304])

type Controller = Dispatcher.DispatchController

/** What an attempt needs to know about its request. */
export interface AttemptOptions {
  /** The attempt fails if no byte moves in either direction for this long. */
  readonly responseTimeoutMs: number
  readonly body: RequestBody | Buffer | null
  /**
   * Called when a connection is open and the request is about to be written. An error thrown here ends the attempt
   * before a byte is sent.
   */
  readonly onSending: () => void
  /** Called for 102 and 103, which are passed to the caller immediately (RFC 9110 section 15.2). */
  readonly onInformation?: ((status: number, head: ResponseHead) => void) | undefined
  /** Called when the attempt no longer needs its connection. */
  readonly onDone: () => void
}

export class Attempt implements Dispatcher.DispatchHandler, UpstreamResponse {
  readonly #options: AttemptOptions
  readonly #started = Promise.withResolvers<Attempt>()
  #controller: Controller | undefined
  #timer: NodeJS.Timeout | undefined
  /** When a byte last moved in either direction (`performance.now()`). */
  #movedAt = 0
  #early: Buffer[] = []
  #earlyBytes = 0
  #write: ((chunk: Buffer) => boolean) | undefined
  #read: PromiseWithResolvers<void> | undefined
  #isStopped = false
  #failure: Error | undefined
  #isDone = false
  #hasStarted = false
  #information = 0
  /** The request has begun to be written, so Procore may have acted on it. */
  isSent = false
  /** The whole body has arrived. */
  isComplete = false
  status = 0
  statusText = ''
  rawHeaders: readonly string[] = []
  head: ResponseHead = {}

  constructor(options: AttemptOptions) {
    this.#options = options
  }

  /** Resolves with the response once its head has arrived; rejects if there is none. */
  get response(): Promise<Attempt> {
    return this.#started.promise
  }

  onRequestStart(controller: Controller): void {
    this.#options.onSending()
    this.#controller = controller
    this.isSent = true
    this.#movedAt = performance.now()
    this.#watch(this.#options.responseTimeoutMs)
  }

  onResponseStart(controller: Controller, status: number, head: ResponseHead, message = ''): void {
    if (status < 200) {
      // They do not count as a sign of life: a flood of them would never end.
      if (this.#information++ < MOST_INFORMATION) this.#options.onInformation?.(status, head)
      return
    }
    this.#movedAt = performance.now()
    const coding = head['transfer-encoding']
    if (coding !== undefined && String(coding).toLowerCase() !== 'chunked') {
      // undici would pass the coded bytes on as if they were the body (RFC 9112 section 6.1).
      throw new Error('the response has an unknown transfer coding')
    }
    this.status = status
    this.statusText = /^[\x20-\x7e]*$/.test(message) ? message : Buffer.from(message).toString('latin1')
    this.head = head
    this.rawHeaders = (controller.rawHeaders as readonly Buffer[]).map(latin1)
    // Otherwise they would keep the 64 KB that they arrived in for as long as the body takes.
    controller.rawHeaders = null
    this.#hasStarted = true
    // undici waits for the body that Content-Length promises, and takes its absence for an error.
    this.isComplete = WITHOUT_BODY.has(status)
    this.#started.resolve(this)
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    // undici's parser emits an empty chunk each time it resumes; pausing for that could stall the response forever.
    if (chunk.length === 0) return
    this.#movedAt = performance.now()
    if (this.#write === undefined) {
      this.#early.push(chunk)
      this.#earlyBytes += chunk.length
      if (this.#earlyBytes > MOST_EARLY_BYTES) controller.pause()
    } else if (!this.#write(chunk)) {
      this.#isStopped = true
      controller.pause()
    }
  }

  onResponseEnd(): void {
    this.isComplete = true
    this.#finish()
    this.#read?.resolve()
  }

  onResponseError(_controller: Controller | undefined, error: Error): void {
    this.#finish()
    this.#failure ??= error
    this.#started.reject(this.#failure)
    this.#read?.reject(this.#failure)
  }

  whole(most: number): Buffer | undefined {
    if (!this.isComplete || this.#earlyBytes > most) return undefined
    return this.#early.length === 1 ? this.#early[0] : Buffer.concat(this.#early)
  }

  pipe(write: (chunk: Buffer) => boolean): Promise<void> {
    this.#read = Promise.withResolvers()
    const early = this.#early
    this.#early = []
    for (const chunk of early) if (!write(chunk)) this.#isStopped = true
    this.#write = write
    if (this.isComplete) this.#read.resolve()
    else if (this.#failure !== undefined) this.#read.reject(this.#failure)
    else if (this.#isStopped) this.#controller?.pause()
    else this.#controller?.resume()
    return this.#read.promise
  }

  resume(): void {
    if (this.#isDone) return
    this.#isStopped = false
    this.#movedAt = performance.now()
    this.#controller?.resume()
  }

  /** Discards the body. A short remainder is read, so that the connection can be reused. */
  discard(): void {
    if (this.isComplete) return
    const timer = setTimeout(
      () => this.abort(new Error('the discarded response takes too long')),
      LONGEST_DISCARD_MS,
    )
    let bytes = 0
    const end = () => clearTimeout(timer)
    this.pipe((chunk) => {
      bytes += chunk.length
      if (bytes > MOST_DISCARDED_BYTES) this.abort(new Error('the discarded response is too long'))
      return true
    }).then(end, end)
  }

  abort(reason: Error): void {
    if (this.#isDone) return
    this.#failure = reason
    if (this.#controller !== undefined) this.#controller.abort(reason)
    else this.onResponseError(undefined, reason)
  }

  /**
   * Called when the last byte of the connection has been read. If the response ends with its connection and is still
   * paused at that point, an assertion in undici fails and ends the process. Resuming is safe, because nothing more
   * can arrive.
   */
  connectionEnded(): void {
    this.#controller?.resume()
  }

  #finish(): void {
    if (this.#isDone) return
    this.#isDone = true
    clearTimeout(this.#timer)
    this.#options.onDone()
  }

  #watch(ms: number): void {
    this.#timer = setTimeout(this.#onIdle, ms)
  }

  readonly #onIdle = (): void => {
    const { body, responseTimeoutMs } = this.#options
    const upload = body === null || Buffer.isBuffer(body) ? undefined : body
    const leftMs = Math.max(this.#movedAt, upload?.movedAt ?? 0) + responseTimeoutMs - performance.now()
    // Timers may fire up to a millisecond early.
    if (leftMs > 1) this.#watch(leftMs)
    else if (!this.#hasStarted && upload?.isWaitingForCaller) {
      this.abort(bodyStalled())
    } else if (this.#hasStarted && (this.#isStopped || this.#write === undefined)) {
      // The caller reads slowly, or the send loop waits for a token. That is not the API's fault.
      this.#watch(responseTimeoutMs)
    } else this.abort(new ResponseTimeoutError('no byte from the API'))
  }
}

/** Decodes header bytes as Latin-1, as Node's own client and server do, so that they leave exactly as they arrived. */
function latin1(value: Buffer): string {
  return value.toString('latin1')
}
