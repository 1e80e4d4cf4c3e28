// What travels with a request through the composed dispatcher, beside the request itself.
import type { BodyStream, Handler, OutgoingRequest } from '../http1/handler.ts'
import type { RetryReason, WaitReason } from '../observe/exchange.ts'

/** The caller's side of a request, for interceptors that wait or send again. */
export interface CallerSide {
  /** The caller closed its connection: nothing more may be sent for it. */
  readonly gone: boolean
  /** Called once when the caller goes away; set by whoever waits, for as long as it waits. */
  onGone: (() => void) | undefined
  /** Whose turn it takes in a queue: the listener and client key it came by. */
  readonly lane: string
  /** The body to send again: null for none, undefined where it can't be, the stream itself where nothing was taken of it. */
  replayBody(): Buffer | BodyStream | null | undefined
  /** The request is about to be sent again. */
  retried(reason: RetryReason): void
  /** It waited before it was sent. */
  waited(reason: WaitReason, ms: number): void
}

/** `headers` is the request's own array: interceptors may append to it. */
export interface ForwardOptions extends OutgoingRequest {
  headers: string[]
  caller: CallerSide
}

export type Dispatch = (options: ForwardOptions, handler: Handler) => void

/** One outbound concern. */
export type Interceptor = (dispatch: Dispatch) => Dispatch

/** A signal that fires when the caller goes away; whoever waits unsets `onGone` when the wait is over. */
export function abortWhenGone(options: ForwardOptions): AbortSignal {
  const controller = new AbortController()
  options.caller.onGone = () => controller.abort()
  return controller.signal
}
