// Interceptor: the bearer, and one replay after a 401 (CONTRACT section 6).
import type { Dispatcher } from 'undici'
import type { LiveToken, TokenSource } from '../auth/token-source.ts'
import { type Dispatch, type ForwardOptions, type Interceptor, NEVER_SENT } from './dispatch.ts'

type Handler = Dispatcher.DispatchHandler
type Controller = Dispatcher.DispatchController
type Headers = Parameters<NonNullable<Handler['onResponseStart']>>[2]

/** More of a 401's body than this is not read before its connection is given up. */
const MOST_DISCARDED_BYTES = 64 * 1024

/** Sends each request with the source's live token; no token, no request. */
export function authorize(source: TokenSource): Interceptor {
  return (dispatch) => (options, handler) => {
    const token = source.current()
    if (token !== undefined) return send(dispatch, options, handler, source, token)
    const waiting = abortWhenGone(options)
    source.get(waiting).then(
      (fresh) => {
        options.caller.onGone = undefined
        // Invariant: the token is in hand, and the caller still there, before the first byte leaves.
        if (!options.caller.gone) send(dispatch, options, handler, source, fresh)
      },
      (error: Error) => {
        options.caller.onGone = undefined
        handler.onResponseError?.(NEVER_SENT, error)
      },
    )
    return true
  }
}

function abortWhenGone(options: ForwardOptions): AbortSignal {
  const controller = new AbortController()
  options.caller.onGone = () => controller.abort()
  return controller.signal
}

function send(
  dispatch: Dispatch,
  options: ForwardOptions,
  handler: Handler,
  source: TokenSource,
  token: LiveToken,
): boolean {
  options.headers.push('Authorization', `Bearer ${token.value}`)
  return dispatch(options, new FirstAnswer(dispatch, options, handler, source, token))
}

/** Passes everything on, but holds a 401 back while another token is fetched to send the request again with. */
class FirstAnswer implements Handler {
  readonly #dispatch: Dispatch
  readonly #options: ForwardOptions
  readonly #next: Handler
  readonly #source: TokenSource
  readonly #token: LiveToken
  /** The answer is a 401 that waits for another token: neither its head nor its end is passed on yet. */
  #held = false
  /** What came meanwhile: undici pauses no answer that has no body, and a connection can break while it is paused. */
  #heldTrailers: Headers | undefined
  #heldError: Error | undefined
  /** The request was sent again: what is left of the 401 is counted and thrown away. */
  #discarded: number | undefined

  constructor(
    dispatch: Dispatch,
    options: ForwardOptions,
    next: Handler,
    source: TokenSource,
    token: LiveToken,
  ) {
    this.#dispatch = dispatch
    this.#options = options
    this.#next = next
    this.#source = source
    this.#token = token
  }

  onRequestStart(controller: Controller, context: unknown): void {
    this.#next.onRequestStart?.(controller, context)
  }

  onResponseStart(controller: Controller, status: number, headers: Headers, message?: string): void {
    const { caller } = this.#options
    const gone = new AbortController()
    const body = status === 401 ? caller.replayBody() : undefined
    const replacement = status === 401 ? this.#source.replacement(this.#token, gone.signal) : undefined
    if (replacement === undefined || body === undefined) {
      this.#next.onResponseStart?.(controller, status, headers, message)
      return
    }
    caller.onGone = () => gone.abort()
    this.#held = true
    controller.pause()
    replacement.then(
      (token) => {
        caller.onGone = undefined
        if (caller.gone) return
        this.#held = false
        this.#discarded = 0
        controller.resume()
        this.#replay(body, token)
      },
      // No other token to be had: the 401 is Procore's answer.
      () => {
        caller.onGone = undefined
        if (caller.gone) return
        this.#held = false
        if (this.#heldError !== undefined) {
          this.#next.onResponseError?.(controller, this.#heldError)
          return
        }
        this.#next.onResponseStart?.(controller, status, headers, message)
        controller.resume()
        if (this.#heldTrailers !== undefined) this.#next.onResponseEnd?.(controller, this.#heldTrailers)
      },
    )
  }

  #replay(body: Buffer | null, token: LiveToken): void {
    const { headers } = this.#options
    headers[headers.length - 1] = `Bearer ${token.value}`
    this.#options.caller.retried()
    this.#dispatch({ ...this.#options, body }, this.#next)
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#discarded === undefined) {
      this.#next.onResponseData?.(controller, chunk)
      return
    }
    this.#discarded += chunk.length
    if (this.#discarded > MOST_DISCARDED_BYTES) controller.abort(new Error('the 401 answer is too long'))
  }

  onResponseEnd(controller: Controller, trailers: Headers): void {
    if (this.#held) this.#heldTrailers = trailers
    else if (this.#discarded === undefined) this.#next.onResponseEnd?.(controller, trailers)
  }

  onResponseError(controller: Controller, error: Error): void {
    if (this.#held) this.#heldError = error
    else if (this.#discarded === undefined) this.#next.onResponseError?.(controller, error)
  }
}
