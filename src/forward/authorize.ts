// Interceptor: the bearer, and one replay after a 401 (CONTRACT section 6).

import type { LiveToken, TokenSource } from '../auth/token-source.ts'
import { NEVER_SENT } from '../http1/handler.ts'
import { abortWhenGone, type Dispatch, type ForwardOptions, type Interceptor } from './dispatch.ts'
import { type AnswerHead, type Controller, DiscardingHandler, type Handler } from './passing-handler.ts'

/** Sends each request with the source's live token; no token, no request. */
export function authorize(source: TokenSource): Interceptor {
  return (dispatch) => (options, handler) => {
    const token = source.current()
    if (token !== undefined) {
      send(dispatch, options, handler, source, token)
      return
    }
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
        if (options.caller.gone) handler.onResponseError(NEVER_SENT, new Error('the caller went away'))
        else send(dispatch, options, handler, source, fresh)
      },
      (error: Error) => {
        waited()
        handler.onResponseError(NEVER_SENT, error)
      },
    )
  }
}

function send(
  dispatch: Dispatch,
  options: ForwardOptions,
  handler: Handler,
  source: TokenSource,
  token: LiveToken,
): void {
  setBearer(options.headers, token)
  dispatch(options, new FirstAnswer(dispatch, options, handler, source, token))
}

/** The caller's own Authorization never gets here: one that stands at the end is ours, of a try before. */
function setBearer(headers: string[], token: LiveToken): void {
  if (headers.at(-2) !== 'Authorization') headers.push('Authorization', '')
  headers[headers.length - 1] = `Bearer ${token.value}`
}

/** Passes everything on, but holds a 401 back while another token is fetched to send the request again with. */
class FirstAnswer extends DiscardingHandler {
  readonly #dispatch: Dispatch
  readonly #options: ForwardOptions
  readonly #source: TokenSource
  readonly #token: LiveToken
  /**
   * The answer is a 401 that waits for another token: none of it is passed on yet. It is kept rather than paused: undici
   * asserts, and takes the process along, where a paused answer with `Connection: close` ends early.
   */
  #held: HeldAnswer | undefined
  #isExpired = false

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

  override onRequestStart(controller: Controller, context: unknown): void {
    // Invariant: a token is never sent after its end, however long the request waited for a connection.
    if (!this.#source.lives(this.#token)) {
      this.#isExpired = true
      throw new Error('the token ended while the request waited for a connection')
    }
    super.onRequestStart(controller, context)
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
    const held: HeldAnswer = { controller, status, headers, message, chunks: [], bytes: 0 }
    this.#held = held
    replacement.then(
      (token) => {
        if (this.#held !== held) return
        caller.onGone = undefined
        caller.waited('token', performance.now() - since)
        this.#held = undefined
        this.discard(held.controller)
        if (caller.gone) {
          this.next.onResponseError(NEVER_SENT, new Error('the caller went away'))
          return
        }
        setBearer(this.#options.headers, token)
        caller.retried('401')
        this.#dispatch({ ...this.#options, body }, this.next)
      },
      // No other token to be had: the 401 is Procore's answer.
      () => this.#release(held),
    )
  }

  /** Passes on what was held back, as it came. */
  #release(held: HeldAnswer): void {
    if (this.#held !== held) return
    const { caller } = this.#options
    caller.onGone = undefined
    this.#held = undefined
    const { controller } = held
    if (caller.gone || held.error !== undefined) {
      super.onResponseError(controller, held.error ?? new Error('the caller went away'))
      return
    }
    super.onResponseStart(controller, held.status, held.headers, held.message)
    for (const chunk of held.chunks) super.onResponseData(controller, chunk)
    if (held.trailers !== undefined) super.onResponseEnd(controller, held.trailers)
  }

  override onResponseData(controller: Controller, chunk: Buffer): void {
    const held = this.#held
    if (held === undefined) {
      super.onResponseData(controller, chunk)
      return
    }
    held.chunks.push(chunk)
    held.bytes += chunk.length
    // Too long to be kept: the 401 passes, and the next request has the new token.
    if (held.bytes > MOST_HELD_BYTES) this.#release(held)
  }

  override onResponseEnd(controller: Controller, trailers: AnswerHead): void {
    if (this.#held !== undefined) this.#held.trailers = trailers
    else super.onResponseEnd(controller, trailers)
  }

  override onResponseError(controller: Controller, error: Error): void {
    if (this.#isExpired) {
      this.#isExpired = false
      authorize(this.#source)(this.#dispatch)(this.#options, this.next)
    } else if (this.#held !== undefined) this.#held.error = error
    else super.onResponseError(controller, error)
  }
}

interface HeldAnswer {
  readonly controller: Controller
  readonly status: number
  readonly headers: AnswerHead
  readonly message: string | undefined
  readonly chunks: Buffer[]
  bytes: number
  trailers?: AnswerHead
  error?: Error
}

const MOST_HELD_BYTES = 64 * 1024
