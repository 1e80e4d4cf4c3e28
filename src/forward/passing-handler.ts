// Handlers that pass everything on; one of them until it is told to throw the rest of the answer away.
import type { AnswerHead, Controller, Handler } from '../http1/handler.ts'

export type { AnswerHead, Controller, Handler }

/** Interceptors extend it by what they want to see. */
export class PassingHandler implements Handler {
  protected readonly next: Handler

  constructor(next: Handler) {
    this.next = next
  }

  onRequestStart(controller: Controller, context?: unknown): void {
    this.next.onRequestStart(controller, context)
  }

  onResponseStart(controller: Controller, status: number, headers: AnswerHead, message?: string): void {
    this.next.onResponseStart(controller, status, headers, message)
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.next.onResponseData(controller, chunk)
  }

  onResponseEnd(controller: Controller, trailers: AnswerHead): void {
    this.next.onResponseEnd(controller, trailers)
  }

  onResponseError(controller: Controller, error: Error): void {
    this.next.onResponseError(controller, error)
  }
}

/** More of an unwanted answer than this is not read before its connection is given up. */
const MOST_DISCARDED_BYTES = 64 * 1024
/** Nor is it waited for longer than this. */
const LONGEST_DISCARD_MS = 5_000

/** For those that may throw the rest of an answer away. */
export class DiscardingHandler extends PassingHandler {
  #discarded: { bytes: number; readonly timer: NodeJS.Timeout } | undefined

  /** From here on nothing of this answer is passed on; a short rest is read, so that its connection can be used again. */
  protected discard(controller: Controller): void {
    const timer = setTimeout(
      () => controller.abort(new Error('the unwanted answer takes too long')),
      LONGEST_DISCARD_MS,
    )
    timer.unref()
    this.#discarded = { bytes: 0, timer }
  }

  override onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#discarded === undefined) {
      super.onResponseData(controller, chunk)
      return
    }
    this.#discarded.bytes += chunk.length
    if (this.#discarded.bytes > MOST_DISCARDED_BYTES)
      controller.abort(new Error('the unwanted answer is too long'))
  }

  override onResponseEnd(controller: Controller, trailers: AnswerHead): void {
    if (this.#discarded === undefined) super.onResponseEnd(controller, trailers)
    else clearTimeout(this.#discarded.timer)
  }

  override onResponseError(controller: Controller, error: Error): void {
    if (this.#discarded === undefined) super.onResponseError(controller, error)
    else clearTimeout(this.#discarded.timer)
  }
}
