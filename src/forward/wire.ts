// Takes undici's answers as its parser gives them: no object is made of headers that nobody asks for.
import type { AnswerHead, Controller, Handler } from './passing-handler.ts'

/** What interceptors and the forwarding read of an answer's head, by the length of the name; the rest passes unread. */
const READ = new Map<number, readonly string[]>()
for (const name of [
  'date',
  'retry-after',
  'content-type',
  'content-range',
  'content-length',
  'content-encoding',
  'transfer-encoding',
  'x-rate-limit-limit',
  'x-rate-limit-reset',
  'x-rate-limit-remaining',
]) {
  READ.set(name.length, [...(READ.get(name.length) ?? []), name])
}

/** The headers that are read here, by lower-case name; several of a name become a list, as undici has it. */
export function readHead(rawHeaders: readonly Buffer[]): AnswerHead {
  const head: Record<string, string | string[]> = {}
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const field = rawHeaders[at] as Buffer
    const names = READ.get(field.length)
    if (names === undefined) continue
    const name = field.toString('latin1').toLowerCase()
    if (!names.includes(name)) continue
    const value = (rawHeaders[at + 1] as Buffer).toString('latin1')
    const known = head[name]
    if (known === undefined) head[name] = value
    else if (typeof known === 'string') head[name] = [known, value]
    else known.push(value)
  }
  return head
}

/**
 * The innermost handler, in the shape that undici 7 takes inside (its newer one is wrapped around this, with a head made
 * of all headers). It is the controller of its exchange too.
 */
export class Wire implements Controller {
  readonly #next: Handler
  #abort: ((reason?: Error) => void) | undefined
  #resume: (() => void) | undefined
  aborted = false
  paused = false
  reason: Error | null = null
  rawHeaders: Buffer[] = []

  constructor(next: Handler) {
    this.#next = next
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.#resume?.()
  }

  abort(reason: Error): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    this.#abort?.(reason)
  }

  onConnect(abort: (reason?: Error) => void, context?: unknown): void {
    this.#abort = abort
    this.#next.onRequestStart?.(this, context)
  }

  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void, message: string): boolean {
    this.#resume = resume
    this.rawHeaders = rawHeaders
    this.#next.onResponseStart?.(this, status, readHead(rawHeaders), message)
    return !this.paused
  }

  onData(chunk: Buffer): boolean {
    this.#next.onResponseData?.(this, chunk)
    return !this.paused
  }

  onComplete(): void {
    this.#next.onResponseEnd?.(this, NO_TRAILERS)
  }

  onError(error: Error): void {
    this.#next.onResponseError?.(this, error)
  }
}

/** Trailers are dropped: whoever would need them has not been told that they come. */
const NO_TRAILERS: AnswerHead = {}
