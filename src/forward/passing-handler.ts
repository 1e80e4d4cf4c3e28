// A dispatch handler that passes everything on, until it is told to throw the rest of the answer away.
import type { Dispatcher } from 'undici'

export type Handler = Dispatcher.DispatchHandler
export type Controller = Dispatcher.DispatchController
export type AnswerHead = Parameters<NonNullable<Handler['onResponseStart']>>[2]

/** More of an unwanted answer than this is not read before its connection is given up. */
const MOST_DISCARDED_BYTES = 64 * 1024
/** Nor is it waited for longer than this. */
const LONGEST_DISCARD_MS = 5_000

/** Interceptors extend it by what they want to see. */
export class PassingHandler implements Handler {
  protected readonly next: Handler
  #discarded: number | undefined
  #controller: Controller | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(next: Handler) {
    this.next = next
  }

  /** From here on nothing of this answer is passed on; a short rest is read, so that its connection can be used again. */
  protected discard(): void {
    this.#discarded = 0
    this.#timer = setTimeout(
      () => this.#controller?.abort(new Error('the unwanted answer takes too long')),
      LONGEST_DISCARD_MS,
    )
    this.#timer.unref()
  }

  protected get discarding(): boolean {
    return this.#discarded !== undefined
  }

  onRequestStart(controller: Controller, context: unknown): void {
    this.#controller = controller
    this.next.onRequestStart?.(controller, context)
  }

  onResponseStart(controller: Controller, status: number, headers: AnswerHead, message?: string): void {
    this.next.onResponseStart?.(controller, status, headers, message)
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#discarded === undefined) {
      this.next.onResponseData?.(controller, chunk)
      return
    }
    this.#discarded += chunk.length
    if (this.#discarded > MOST_DISCARDED_BYTES) controller.abort(new Error('the unwanted answer is too long'))
  }

  onResponseEnd(controller: Controller, trailers: AnswerHead): void {
    clearTimeout(this.#timer)
    if (this.#discarded === undefined) this.next.onResponseEnd?.(controller, trailers)
  }

  onResponseError(controller: Controller, error: Error): void {
    clearTimeout(this.#timer)
    if (this.#discarded === undefined) this.next.onResponseError?.(controller, error)
  }
}
