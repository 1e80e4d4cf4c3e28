// One attempt at sending a request: undici's dispatch behind a promise of the response, whose body waits until it is read.
import type { Dispatcher } from 'undici'
import { ProxyError } from '../errors.ts'
import { errorCode } from '../network/connection-error.ts'
import type { RequestBody } from './request-body.ts'
import { ResponseTimeoutError } from './upstream-error.ts'
import type { ResponseHead, UpstreamResponse } from './upstream-response.ts'

/** Before anyone reads the body, no more of it than this is taken in. */
const MOST_EARLY_BYTES = 64 * 1024
/** More of an unwanted body than this is not read before its connection is given up. */
const MOST_DISCARDED_BYTES = 64 * 1024
/** Nor is it waited for any longer than this. */
const LONGEST_DISCARD_MS = 5_000

type Controller = Dispatcher.DispatchController

/** What an attempt has to know of its request. */
export interface AttemptOptions {
  /** Without a byte either way for so long, the attempt ends. */
  readonly responseTimeoutMs: number
  readonly body: RequestBody | Buffer | null
  /** A connection is there, and the request is about to be written. What it throws ends the attempt before a byte is sent. */
  readonly onSending: () => void
  /** 102 and 103, which go to the caller at once (RFC 9110 section 15.2). */
  readonly onInformation?: ((status: number, head: ResponseHead) => void) | undefined
  /** The attempt no longer needs its connection. */
  readonly onDone: () => void
}

export class Attempt implements Dispatcher.DispatchHandler, UpstreamResponse {
  readonly #options: AttemptOptions
  readonly #started = Promise.withResolvers<UpstreamResponse>()
  #controller: Controller | undefined
  #timer: NodeJS.Timeout | undefined
  /** When a byte last went either way (`performance.now()`). */
  #movedAt = 0
  #early: Buffer[] = []
  #earlyBytes = 0
  #write: ((chunk: Buffer) => boolean) | undefined
  #read: PromiseWithResolvers<void> | undefined
  #isStopped = false
  #failure: Error | undefined
  #isDone = false
  #hasStarted = false
  /** The request was being written: Procore may have acted on it. */
  isSent = false
  /** All of the body has come. */
  isComplete = false
  status = 0
  statusText = ''
  rawHeaders: readonly string[] = []
  head: ResponseHead = {}

  constructor(options: AttemptOptions) {
    this.#options = options
  }

  /** The response, once its head is there; rejects where none comes. */
  get response(): Promise<UpstreamResponse> {
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
    this.#movedAt = performance.now()
    if (status < 200) {
      this.#options.onInformation?.(status, head)
      return
    }
    const coding = head['transfer-encoding']
    if (coding !== undefined && String(coding).toLowerCase() !== 'chunked') {
      // undici would pass the coded bytes on as if they were the body (RFC 9112 section 6.1).
      throw new Error('the response has an unknown transfer coding')
    }
    this.status = status
    this.statusText = isAscii(message) ? message : Buffer.from(message).toString('latin1')
    this.head = head
    this.rawHeaders = latin1(controller.rawHeaders as readonly Buffer[])
    this.#hasStarted = true
    this.#started.resolve(this)
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
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
    if (this.#isOnlyLengthOff(error)) {
      this.onResponseEnd()
      return
    }
    this.#finish()
    this.#failure ??= error
    if (!this.#hasStarted) this.#started.reject(this.#failure)
    this.#read?.reject(this.#failure)
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
    this.#isStopped = false
    this.#movedAt = performance.now()
    this.#controller?.resume()
  }

  async read(mostBytes: number): Promise<Buffer | undefined> {
    const chunks: Buffer[] = []
    let bytes = 0
    const tooLong = new Error('the response is too long')
    try {
      await this.pipe((chunk) => {
        bytes += chunk.length
        if (bytes > mostBytes) this.abort(tooLong)
        else chunks.push(chunk)
        return true
      })
    } catch (error) {
      if (error !== tooLong) throw error
    }
    return bytes > mostBytes ? undefined : Buffer.concat(chunks, bytes)
  }

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
   * The connection's last byte was read. undici asserts, and takes the process down, where a response that ends with its
   * connection is still paused then; nothing more can come that would have to be held back.
   */
  connectionEnded(): void {
    this.#controller?.resume()
  }

  /**
   * A 304 tells the length of what it stands for, and has no body whatever its headers say, nor has a 204 (RFC 9110 section
   * 8.6, RFC 9112 section 6.3); undici misses one.
   */
  #isOnlyLengthOff(error: Error): boolean {
    return (
      this.#hasStarted &&
      (this.status === 304 || this.status === 204) &&
      errorCode(error) === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'
    )
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
    // Timers are up to a millisecond early.
    if (leftMs > 1) this.#watch(leftMs)
    else if (!this.#hasStarted && upload?.isWaitingForCaller) {
      const detail = "The rest of the request's body did not arrive within upstream.responseTimeout."
      this.abort(new ProxyError('request_invalid', detail))
    } else if (this.#hasStarted && (this.#isStopped || this.#write === undefined)) {
      // The caller reads slowly, or the loop waits for a token: that is no fault of the API's.
      this.#watch(responseTimeoutMs)
    } else this.abort(new ResponseTimeoutError('no byte from the API'))
  }
}

function isAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text)
}

/** Header bytes are read as Latin-1, as Node's own client and server do, so that they go out as they came in. */
function latin1(rawHeaders: readonly (Buffer | string)[]): string[] {
  const headers = new Array<string>(rawHeaders.length)
  for (let at = 0; at < rawHeaders.length; at++) {
    const value = rawHeaders[at] as Buffer | string
    headers[at] = typeof value === 'string' ? value : value.toString('latin1')
  }
  return headers
}
