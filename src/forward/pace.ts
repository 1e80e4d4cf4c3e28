// Interceptor: the rate budget before a request, and another try after 429 and 503 (CONTRACT section 6).

import type { RateLimitSettings } from '../config/config.ts'
import { NEVER_SENT } from '../http1/handler.ts'
import type { Budget, Entrant } from './budget.ts'
import { abortWhenGone, type Dispatch, type ForwardOptions, type Interceptor } from './dispatch.ts'
import { type AnswerHead, type Controller, DiscardingHandler, type Handler } from './passing-handler.ts'
import { askedWaitMs, type RetryBudget, retryDelayMs } from './retry-policy.ts'

/** However short the waits that Procore asks for: a request is sent no more often than this. */
const MOST_TRIES = 10
const JITTER_MS = 250

/** Holds requests back while the budget is used up, and sends again what was refused only for now. */
export function pace(budget: Budget, retries: RetryBudget, settings: RateLimitSettings): Interceptor {
  return (dispatch) => {
    const way: PacedWay = { dispatch, budget, retries, settings }
    return (options, handler) => {
      retries.earn()
      const request: PacedRequest = {
        way,
        options,
        handler,
        endpoint: endpointOf(options),
        caller: options.caller.lane,
        deadline: performance.now() + settings.maxWaitMs,
      }
      if (budget.tryEnter(request.endpoint)) send(request, 1)
      else enterAndSend(request, 1)
    }
  }
}

/** What a 429 of one endpoint holds back: method and path, no query. */
function endpointOf({ method, path }: ForwardOptions): string {
  const mark = path.indexOf('?')
  return `${method} ${mark === -1 ? path : path.slice(0, mark)}`
}

/** What is the same for all requests of an upstream. */
interface PacedWay {
  readonly dispatch: Dispatch
  readonly budget: Budget
  readonly retries: RetryBudget
  readonly settings: RateLimitSettings
}

interface PacedRequest extends Entrant {
  readonly way: PacedWay
  readonly options: ForwardOptions
  readonly handler: Handler
}

function send(request: PacedRequest, nth: number): void {
  try {
    request.way.dispatch(request.options, new PacedAnswer(request, nth))
  } catch (error) {
    request.way.budget.left()
    throw error
  }
}

function enterAndSend(request: PacedRequest, nth: number, waitMs = 0): void {
  const { options, handler } = request
  const { budget } = request.way
  const signal = abortWhenGone(options)
  const since = performance.now()
  const waited = () => {
    options.caller.onGone = undefined
    options.caller.waited('budget', performance.now() - since)
  }
  sleep(waitMs, signal)
    .then(() => budget.enter(request, signal))
    .then(
      () => {
        waited()
        if (options.caller.gone) {
          budget.left()
          return
        }
        try {
          send(request, nth)
        } catch (error) {
          handler.onResponseError(NEVER_SENT, error as Error)
        }
      },
      (error: Error) => {
        waited()
        if (!options.caller.gone) handler.onResponseError(NEVER_SENT, error)
      },
    )
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (ms === 0) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      reject(new Error('the caller went away'))
    })
  })
}

class PacedAnswer extends DiscardingHandler {
  readonly #request: PacedRequest
  readonly #nth: number
  /** It counts as in flight. */
  #entered = true

  constructor(request: PacedRequest, nth: number) {
    super(request.handler)
    this.#request = request
    this.#nth = nth
  }

  override onResponseStart(
    controller: Controller,
    status: number,
    headers: AnswerHead,
    message?: string,
  ): void {
    if (status >= 200) {
      this.#entered = false
      this.#request.way.budget.answered(this.#request.endpoint, status, headers)
      if ((status === 429 || status === 503) && this.#again(status, headers)) {
        this.discard(controller)
        return
      }
    }
    super.onResponseStart(controller, status, headers, message)
  }

  override onResponseError(controller: Controller, error: Error): void {
    if (this.#entered) {
      this.#entered = false
      this.#request.way.budget.left()
    }
    super.onResponseError(controller, error)
  }

  /** Sends the request again after the wait that was asked for; false where it can't be, or would take too long. */
  #again(status: number, headers: AnswerHead): boolean {
    const { options, deadline } = this.#request
    const { retries, settings } = this.#request.way
    if (options.caller.gone) return false
    if (this.#nth >= MOST_TRIES || (status === 429 && settings.whenExhausted !== 'wait')) return false
    const asked = askedWaitMs(status, headers, Date.now())
    // Never at once, also where Procore asks for 0 s, or for a reset in the past.
    const least = retryDelayMs(this.#nth, Math.random())
    if (asked === undefined || performance.now() + Math.max(asked, least) > deadline) return false
    const body = options.caller.replayBody()
    // A 429 costs Procore nothing; a 503 is an outage, which retries must not multiply.
    if (body === undefined || (status === 503 && !retries.spend())) return false
    options.caller.retried(status === 429 ? '429' : '503')
    // After a 429 the budget itself holds the request back for as long, and keeps its turn.
    const waitMs =
      status === 503 ? Math.max(asked, least) + Math.random() * JITTER_MS : asked < least ? least : 0
    enterAndSend({ ...this.#request, options: { ...options, body } }, this.#nth + 1, waitMs)
    return true
  }
}
