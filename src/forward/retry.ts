// Interceptor: another try where the connection failed before any answer, if that can't do anything twice.
import { NEVER_SENT } from '../http1/handler.ts'
import { errorCode, isConnectTimeout } from '../network/connection-error.ts'
import { abortWhenGone, type Dispatch, type ForwardOptions, type Interceptor } from './dispatch.ts'
import { type AnswerHead, type Controller, type Handler, PassingHandler } from './passing-handler.ts'
import { mayRetry, type RetryBudget, retryDelayMs } from './retry-policy.ts'
import { ResponseTimeoutError } from './upstream-error.ts'

/** `most` is `upstream.retries`. */
export function retry(most: number, budget: RetryBudget): Interceptor {
  return (dispatch) => {
    if (most === 0) return dispatch
    const way = { dispatch, most, budget }
    return (options, handler) => dispatch(options, new Attempt(way, options, handler, 1))
  }
}

/** What is the same for all requests of an upstream. */
interface RetriedWay {
  readonly dispatch: Dispatch
  readonly most: number
  readonly budget: RetryBudget
}

const CONNECTION_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_SOCKET',
])

class Attempt extends PassingHandler {
  readonly #way: RetriedWay
  readonly #options: ForwardOptions
  readonly #nth: number
  #sent = false
  #answered = false

  constructor(way: RetriedWay, options: ForwardOptions, handler: Handler, nth: number) {
    super(handler)
    this.#way = way
    this.#options = options
    this.#nth = nth
  }

  override onRequestStart(controller: Controller, context: unknown): void {
    this.#sent = true
    super.onRequestStart(controller, context)
  }

  override onResponseStart(
    controller: Controller,
    status: number,
    headers: AnswerHead,
    message?: string,
  ): void {
    this.#answered = true
    super.onResponseStart(controller, status, headers, message)
  }

  override onResponseError(controller: Controller, error: Error): void {
    if (!this.#again(error)) super.onResponseError(controller, error)
  }

  #again(error: Error): boolean {
    const { dispatch, most, budget } = this.#way
    const { caller, method } = this.#options
    if (this.#answered || this.#nth > most || caller.gone) return false
    const timedOut = isConnectTimeout(error) || error instanceof ResponseTimeoutError
    const connection = CONNECTION_CODES.has(errorCode(error) ?? '')
    if (!mayRetry({ method, sent: this.#sent, timedOut, connection })) return false
    const body = caller.replayBody()
    if (body === undefined || !budget.spend()) return false
    caller.retried('connection')
    const signal = abortWhenGone(this.#options)
    const timer = setTimeout(
      () => {
        caller.onGone = undefined
        const again = { ...this.#options, body }
        try {
          dispatch(again, new Attempt(this.#way, again, this.next, this.#nth + 1))
        } catch (failure) {
          this.next.onResponseError(NEVER_SENT, failure as Error)
        }
      },
      retryDelayMs(this.#nth, Math.random()),
    )
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      // Nobody is left to answer, but those outside count what is in flight.
      super.onResponseError(NEVER_SENT, error)
    })
    return true
  }
}
