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
    return (options, handler) =>
      dispatch(options, new Attempt({ dispatch, options, handler, most, budget }, 1))
  }
}

interface RetriedRequest {
  readonly dispatch: Dispatch
  readonly options: ForwardOptions
  readonly handler: Handler
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
  readonly #request: RetriedRequest
  readonly #nth: number
  #sent = false
  #answered = false

  constructor(request: RetriedRequest, nth: number) {
    super(request.handler)
    this.#request = request
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
    const { dispatch, options, handler, most, budget } = this.#request
    const { caller, method } = options
    if (this.#answered || this.#nth > most || caller.gone) return false
    const timedOut = isConnectTimeout(error) || error instanceof ResponseTimeoutError
    const connection = CONNECTION_CODES.has(errorCode(error) ?? '')
    if (!mayRetry({ method, sent: this.#sent, timedOut, connection })) return false
    const body = caller.replayBody()
    if (body === undefined || !budget.spend()) return false
    caller.retried('connection')
    const signal = abortWhenGone(options)
    const timer = setTimeout(
      () => {
        caller.onGone = undefined
        const again = { ...options, body }
        try {
          dispatch(again, new Attempt({ ...this.#request, options: again }, this.#nth + 1))
        } catch (failure) {
          handler.onResponseError(NEVER_SENT, failure as Error)
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
