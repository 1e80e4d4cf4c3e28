// Takes undici's answers as its parser gives them: no object is made of headers that nobody asks for.
import { type BodyStream, type Controller, type Handler, NO_TRAILERS } from '../http1/handler.ts'
import { readHead } from '../http1/read-head.ts'

/**
 * The innermost handler, in the shape that undici 7 takes inside (its newer one is wrapped around this, with a head made
 * of all headers). It is the controller of its exchange too.
 */
export class Wire implements Controller {
  readonly #next: Handler
  /** Of the request, where it streams. */
  readonly #body: BodyStream | undefined
  #abort: ((reason?: Error) => void) | undefined
  #resume: (() => void) | undefined
  aborted = false
  paused = false
  reason: Error | null = null
  rawHeaders: Buffer[] = []

  constructor(next: Handler, body?: BodyStream) {
    this.#next = next
    this.#body = body
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.#resume?.()
  }

  abort(reason: Error): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    const abort = () => this.#abort?.(reason)
    if (this.#body === undefined || this.#body.destroyed) {
      abort()
      return
    }
    // Invariant: a body that is still on its way ends before its stream is closed. Where undici closes a stream of HTTP/2 on
    // which something waits to be written, Node 24 turns in nghttp2 for ever, and takes memory all the while.
    this.#body.destroy()
    setImmediate(abort)
  }

  onConnect(abort: (reason?: Error) => void, context?: unknown): void {
    this.#abort = abort
    this.#next.onRequestStart(this, context)
  }

  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void, message: string): boolean {
    this.#resume = resume
    this.rawHeaders = rawHeaders
    const head = readHead(rawHeaders)
    const coding = head['transfer-encoding']
    if (status >= 200 && coding !== undefined && String(coding).toLowerCase() !== 'chunked') {
      // Over HTTP/1.1 undici would pass the coded bytes on as if they were the body (RFC 9112 section 6.1).
      this.abort(new Error('unknown transfer coding'))
    } else this.#next.onResponseStart(this, status, head, byteForByte(message))
    return !this.paused
  }

  onData(chunk: Buffer): boolean {
    this.#next.onResponseData(this, chunk)
    return !this.paused
  }

  onComplete(): void {
    this.#next.onResponseEnd(this, NO_TRAILERS)
  }

  onError(error: Error): void {
    // The end of its body may have been noticed first.
    this.#next.onResponseError(this, this.reason ?? error)
  }
}

/** undici reads the reason phrase as UTF-8; Node writes Latin-1. */
function byteForByte(message: string): string {
  return Buffer.from(message).toString('latin1')
}
