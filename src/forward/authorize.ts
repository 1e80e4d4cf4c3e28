// Interceptor: the bearer, and one replay after a 401 (CONTRACT section 6).
import type { LiveToken, TokenSource } from '../auth/token-source.ts'
import {
  abortWhenGone,
  type Dispatch,
  type ForwardOptions,
  type Interceptor,
  NEVER_SENT,
} from './dispatch.ts'
import { type AnswerHead, type Controller, type Handler, PassingHandler } from './passing-handler.ts'

/** Sends each request with the source's live token; no token, no request. */
export function authorize(source: TokenSource): Interceptor {
  return (dispatch) => (options, handler) => {
    const token = source.current()
    if (token !== undefined) return send(dispatch, options, handler, source, token)
    const waiting = abortWhenGone(options)
    const since = performance.now()
    const waited = () => {
      options.caller.onGone = undefined
      options.caller.waited('token', performance.now() - since)
    }
    source.get(waiting).then(
      (fresh) => {
        waited()
        // Invariant: the token is in hand, and the caller still there, before the first byte leaves.
        if (!options.caller.gone) send(dispatch, options, handler, source, fresh)
      },
      (error: Error) => {
        waited()
        handler.onResponseError?.(NEVER_SENT, error)
      },
    )
    return true
  }
}

function send(
  dispatch: Dispatch,
  options: ForwardOptions,
  handler: Handler,
  source: TokenSource,
  token: LiveToken,
): boolean {
  setBearer(options.headers, token)
  return dispatch(options, new FirstAnswer(dispatch, options, handler, source, token))
}

/** The caller's own Authorization never gets here: one that stands at the end is ours, of a try before. */
function setBearer(headers: string[], token: LiveToken): void {
  if (headers.at(-2) !== 'Authorization') headers.push('Authorization', '')
  headers[headers.length - 1] = `Bearer ${token.value}`
}

/** Passes everything on, but holds a 401 back while another token is fetched to send the request again with. */
class FirstAnswer extends PassingHandler {
  readonly #dispatch: Dispatch
  readonly #options: ForwardOptions
  readonly #source: TokenSource
  readonly #token: LiveToken
  /** The answer is a 401 that waits for another token: neither its head nor its end is passed on yet. */
  #held = false
  /** What came meanwhile: undici pauses no answer that has no body, and a connection can break while it is paused. */
  #heldTrailers: AnswerHead | undefined
  #heldError: Error | undefined

  constructor(
    dispatch: Dispatch,
    options: ForwardOptions,
    next: Handler,
    source: TokenSource,
    token: LiveToken,
  ) {
    super(next)
    this.#dispatch = dispatch
    this.#options = options
    this.#source = source
    this.#token = token
  }

  override onResponseStart(
    controller: Controller,
    status: number,
    headers: AnswerHead,
    message?: string,
  ): void {
    const { caller } = this.#options
    const gone = new AbortController()
    const body = status === 401 ? caller.replayBody() : undefined
    const replacement = status === 401 ? this.#source.replacement(this.#token, gone.signal) : undefined
    if (replacement === undefined || body === undefined) {
      super.onResponseStart(controller, status, headers, message)
      return
    }
    const since = performance.now()
    caller.onGone = () => gone.abort()
    this.#held = true
    controller.pause()
    replacement.then(
      (token) => {
        caller.onGone = undefined
        caller.waited('token', performance.now() - since)
        if (caller.gone) return
        this.#held = false
        this.discard()
        controller.resume()
        setBearer(this.#options.headers, token)
        caller.retried('401')
        this.#dispatch({ ...this.#options, body }, this.next)
      },
      // No other token to be had: the 401 is Procore's answer.
      () => {
        caller.onGone = undefined
        if (caller.gone) return
        this.#held = false
        if (this.#heldError !== undefined) {
          super.onResponseError(controller, this.#heldError)
          return
        }
        super.onResponseStart(controller, status, headers, message)
        controller.resume()
        if (this.#heldTrailers !== undefined) super.onResponseEnd(controller, this.#heldTrailers)
      },
    )
  }

  override onResponseEnd(controller: Controller, trailers: AnswerHead): void {
    if (this.#held) this.#heldTrailers = trailers
    else super.onResponseEnd(controller, trailers)
  }

  override onResponseError(controller: Controller, error: Error): void {
    if (this.#held) this.#heldError = error
    else super.onResponseError(controller, error)
  }
}
