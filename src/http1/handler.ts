// What passes between whoever sends a request and the connection that carries it; undici's dispatch handlers fit it too.

/** Headers that are read on the way (see {@link readHead}), by lower-case name; several of a name are a list. */
export type AnswerHead = Readonly<Record<string, string | string[] | undefined>>

/** Steers one request that is under way. */
export interface Controller {
  readonly aborted: boolean
  readonly paused: boolean
  readonly reason: Error | null
  /** The answer's headers as they came, flat: in Latin-1, or in buffers. */
  readonly rawHeaders?: readonly (Buffer | string)[]
  /** Ends it, and its connection; the handler gets the reason as its error. */
  abort(reason: Error): void
  /** No more of the answer's body for now, but for what was read already. */
  pause(): void
  resume(): void
}

/** Stands in for a controller where a request failed before it was sent. */
export const NEVER_SENT: Controller = {
  aborted: true,
  paused: false,
  reason: null,
  abort() {},
  pause() {},
  resume() {},
}

/** Trailers are dropped: whoever would need them has not been told that they come. */
export const NO_TRAILERS: AnswerHead = {}

/** Takes one answer: start, then head, data and end, or an error at any time, which is the last of it. */
export interface Handler {
  /** A connection is there, and the request is about to be written. What is thrown becomes the error; nothing is sent. */
  onRequestStart(controller: Controller, context?: unknown): void
  /** `message` is the reason phrase. */
  onResponseStart(controller: Controller, status: number, head: AnswerHead, message?: string): void
  onResponseData(controller: Controller, chunk: Buffer): void
  onResponseEnd(controller: Controller, trailers: AnswerHead): void
  onResponseError(controller: Controller, error: Error): void
}

/**
 * Tells the handler of an error. What it throws itself is a defect that nobody here can mend: it is thrown where it cuts
 * nothing short, so that no other request and no connection suffers from it.
 */
export function tellError(handler: Handler, controller: Controller, error: Error): void {
  try {
    handler.onResponseError(controller, error)
  } catch (defect) {
    setImmediate(() => {
      throw defect
    })
  }
}

/** A body that streams: what is used of a Readable. It is destroyed where only a part of it was sent. */
export interface BodyStream {
  readonly destroyed?: boolean
  on(event: 'data', listener: (chunk: Buffer) => void): this
  on(event: 'end' | 'close', listener: () => void): this
  on(event: 'error', listener: (error: Error) => void): this
  pause(): unknown
  resume(): unknown
  destroy(error?: Error): unknown
}

/** One request; `path` and `headers` (flat: name, value, …) are Latin-1. */
export interface OutgoingRequest {
  readonly method: string
  /** With its query. */
  readonly path: string
  /** Host among them. Content-Length tells how long a streaming body is: without it, it goes in chunks. */
  readonly headers: readonly string[]
  readonly body: Buffer | BodyStream | null
}
