// One request on its way: carries the answer from the API to the caller, and ends either side when the other goes.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ProxyError } from '../errors.ts'
import type { AnswerHead, Controller, Handler } from '../http1/handler.ts'
import { writeAndGiveBack } from '../http1/intake.ts'
import { settleTogether, writeNow, writeTogether } from '../network/write-together.ts'
import { excerptOf } from '../observe/excerpt.ts'
import type { Exchange, RetryReason, WaitReason } from '../observe/exchange.ts'
import { AnswerBody, type BodyPlan, type BodyWishes, planBody } from './answer-body.ts'
import { BodyRelay } from './body-relay.ts'
import type { CallerSide } from './dispatch.ts'
import { LARGE_BYTES, largeBodies } from './large-bodies.ts'
import { sendProblem } from './problem.ts'
import { type AnswerContext, responseHeaders } from './response-headers.ts'
import { ResponseTimeoutError, upstreamError } from './upstream-error.ts'

/** A caller that takes nothing of its answer for so long is given up. */
const CALLER_STALL_MS = 600_000

/** A body that is there with its head, and no longer, is written with it as one piece of text: Node copies 16 KB without allocating. */
const MOST_HELD_BYTES = 8 * 1024
const NOTHING = Buffer.alloc(0)

export class Forwarding implements CallerSide, Handler {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #exchange: Exchange
  readonly #answer: AnswerContext
  readonly #wishes: BodyWishes
  readonly #responseTimeoutMs: number
  readonly #way: { leave(): void }
  readonly body: BodyRelay | null
  readonly lane: string
  #controller: Controller | undefined
  /** Where the answer's body does not pass as it is. */
  #works: AnswerBody | undefined
  /** What came of the body while its head waits for the end of this turn of the event loop; undefined: the head is written. */
  #held: Buffer | undefined
  #isSettling = false
  /** All of the answer has come. */
  #ended = false
  /** All of it was passed on. */
  #isOver = false
  #timer: NodeJS.Timeout | undefined
  /** When a byte last went either way; the timer may be older. */
  #movedAt = 0
  #continued = false
  #hasLength = false
  #done = false
  /** More than {@link LARGE_BYTES} went one way. */
  #isLarge = false
  gone = false
  onGone: (() => void) | undefined

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    exchange: Exchange,
    answer: AnswerContext,
    responseTimeoutMs: number,
    lane: string,
    way: { leave(): void },
    wishes: BodyWishes = { unpack: false, replace: undefined },
  ) {
    this.lane = lane
    this.#way = way
    this.#wishes = wishes
    this.#request = request
    this.#response = response
    this.#exchange = exchange
    this.#answer = answer
    this.#responseTimeoutMs = responseTimeoutMs
    this.body = hasBody(request)
      ? new BodyRelay(request, (bytes, piece) => this.#onBodyProgress(bytes, piece))
      : null
    if (exchange.bodies !== undefined && this.body !== null) {
      exchange.bodies.request = excerptOf(request.rawHeaders)
    }
    response.on('close', this.#onClose)
  }

  replayBody(): Buffer | BodyRelay | null | undefined {
    if (this.body === null) return null
    return this.body.untouched ? this.body : this.body.kept()
  }

  retried(reason: RetryReason): void {
    this.#exchange.retries++
    this.#exchange.retryReasons ??= []
    this.#exchange.retryReasons.push(reason)
  }

  waited(reason: WaitReason, ms: number): void {
    if (reason === 'token') this.#exchange.tokenMs += ms
    else this.#exchange.queuedMs += ms
  }

  onRequestStart(controller: Controller): void {
    // Thrown, not aborted: the connection then goes on to the next request instead of being closed.
    if (this.gone) throw new Error('the caller went away')
    this.#controller = controller
    this.#exchange.sentAt = performance.now()
    if (this.body !== null && !this.#continued && this.#expectsContinue()) {
      this.#continued = true
      this.#response.writeContinue()
    }
    this.#movedAt = this.#exchange.sentAt
    clearTimeout(this.#timer)
    this.#timer = setTimeout(this.#onIdle, this.#responseTimeoutMs)
  }

  onResponseStart(controller: Controller, status: number, parsed: AnswerHead, message?: string): void {
    if (status < 200) return
    this.#movedAt = performance.now()
    this.#exchange.upstreamMs = this.#movedAt - (this.#exchange.sentAt ?? 0)
    const plan = planBody(status, parsed, this.#wishes)
    this.#hasLength = parsed['content-length'] !== undefined && plan === undefined
    this.#works = plan && this.#open(plan, controller)
    const headers = responseHeaders(controller.rawHeaders ?? [], this.#answer, plan)
    this.#exchange.answerHeaders = headers
    if (this.#exchange.bodies !== undefined) this.#exchange.bodies.answer = excerptOf(headers)
    try {
      this.#response.writeHead(status, reasonPhrase(message), headers)
    } catch (error) {
      // Node refuses characters that its own parser let through: nothing has been written yet.
      controller.abort(error as Error)
      return
    }
    this.#held = NOTHING
    this.#settleSoon()
  }

  #settleSoon(): void {
    if (this.#isSettling) return
    this.#isSettling = true
    settleTogether(this)
  }

  /** At the end of the turn in which the head came, or the end: writes what is held. */
  settle(): void {
    this.#isSettling = false
    const response = this.#response
    if (response.destroyed) return
    const held = this.#held
    if (!this.#isOver) {
      if (!this.#letGo()) this.#controller?.pause()
    } else if (held === undefined || held.length === 0) response.end()
    else response.end(held.toString('latin1'), 'latin1')
  }

  /** Writes the head and what came of the body with it; false: no more for now. */
  #letGo(): boolean {
    const held = this.#held
    if (held === undefined) return true
    this.#held = undefined
    const response = this.#response
    if (response.socket !== null) writeTogether(response.socket)
    // Not with flushHeaders: it would write UTF-8.
    response.write('', 'latin1')
    return held.length === 0 || this.#write(held)
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.#movedAt = performance.now()
    const more = this.#works === undefined ? this.#take(chunk, true) : this.#works.write(chunk)
    if (!more) controller.pause()
  }

  onResponseEnd(): void {
    this.#ended = true
    if (this.#works === undefined) this.#end()
    else {
      // What is not unpacked yet waits for the caller alone.
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => this.#response.destroy(), CALLER_STALL_MS)
      this.#works.end()
    }
  }

  #open(plan: BodyPlan, controller: Controller): AnswerBody {
    return new AnswerBody(plan, {
      take: (chunk) => this.#take(chunk),
      ready: () => controller.resume(),
      end: () => this.#end(),
      fail: (error) => {
        controller.abort(error)
        this.onResponseError(controller, error)
      },
    })
  }

  /** Gives the caller a piece of its answer, which nobody else needs where it is lent; false: no more for now. */
  #take(chunk: Buffer, isLent = false): boolean {
    this.#exchange.bytesOut += chunk.length
    if (!this.#isLarge && this.#exchange.bytesOut > LARGE_BYTES) this.#becomeLarge()
    this.#exchange.bodies?.answer?.add(chunk)
    if (this.#held === NOTHING && this.#hasLength && chunk.length <= MOST_HELD_BYTES) {
      this.#held = chunk
      return true
    }
    const more = this.#letGo()
    return this.#write(chunk, isLent) && more
  }

  #write(chunk: Buffer, isLent = false): boolean {
    const response = this.#response
    if (isLent ? writeAndGiveBack(response, chunk) : response.write(chunk)) return true
    // A caller that reads slowly is no fault of the API's; one that does not read at all holds a connection for nothing.
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#response.destroy(), CALLER_STALL_MS)
    this.#response.once('drain', () => this.#onDrain())
    return false
  }

  #onDrain(): void {
    if (this.#done) return
    clearTimeout(this.#timer)
    this.#movedAt = performance.now()
    if (!this.#ended) this.#timer = setTimeout(this.#onIdle, this.#responseTimeoutMs)
    if (this.#works === undefined) this.#controller?.resume()
    else this.#works.resume()
  }

  #end(): void {
    this.#exchange.bodies?.answer?.end()
    this.#finish()
    this.#isOver = true
    this.#settleSoon()
  }

  onResponseError(_controller: Controller, error: Error): void {
    if (this.#done) return
    this.#finish()
    this.body?.destroy()
    if (this.gone) return
    this.fail(error)
  }

  /** Answers with the error, or breaks the answer off so that nobody takes it for whole. */
  fail(error: unknown): void {
    const failure = upstreamError(error)
    this.#exchange.cause = failure.code
    this.#exchange.error = failure
    if (this.#response.headersSent) {
      this.#letGo()
      breakOff(this.#response, this.#hasLength)
    } else {
      sendProblem(this.#response, failure, {
        requestId: this.#exchange.reqId,
        company: this.#exchange.company,
        extra: this.#answer.extra,
      })
    }
  }

  /** RFC 9110 section 10.1.1: HTTP/1.0 callers don't understand it. */
  #expectsContinue(): boolean {
    return this.#request.headers.expect !== undefined && this.#request.httpVersion === '1.1'
  }

  #becomeLarge(): void {
    if (this.#done) return
    this.#isLarge = true
    largeBodies.begin()
  }

  #finish(): void {
    if (this.#isLarge && !this.#done) largeBodies.end()
    this.#done = true
    clearTimeout(this.#timer)
    this.#works?.destroy()
  }

  #onBodyProgress(bytes: number, piece?: Buffer): void {
    const { bodies } = this.#exchange
    if (bodies !== undefined) {
      if (piece === undefined) bodies.request?.end()
      else bodies.request?.add(piece)
    }
    this.#exchange.bytesIn += bytes
    if (!this.#isLarge && this.#exchange.bytesIn > LARGE_BYTES) this.#becomeLarge()
    this.#movedAt = performance.now()
  }

  readonly #onIdle = (): void => {
    const leftMs = this.#movedAt + this.#responseTimeoutMs - performance.now()
    // Timers are up to a millisecond early.
    if (leftMs > 1) this.#timer = setTimeout(this.#onIdle, leftMs)
    else if (this.onGone !== undefined) {
      // Someone waits on this side, for a token: no fault of the API's.
      this.#timer = setTimeout(this.#onIdle, this.#responseTimeoutMs)
    } else if (this.body?.waitsForCaller) {
      const detail = "The rest of the request's body did not come within upstream.responseTimeout."
      // The connection can't serve another request: what would come next is the rest of this one.
      this.#response.shouldKeepAlive = false
      this.#controller?.abort(new ProxyError('request_invalid', detail))
    } else this.#controller?.abort(new ResponseTimeoutError('no byte from the API'))
  }

  readonly #onClose = (): void => {
    this.#way.leave()
    if (this.#done) return
    this.gone = true
    this.#finish()
    this.onGone?.()
    this.#controller?.abort(new Error('the caller went away'))
    this.body?.destroy()
  }
}

/** RFC 9112 section 6.3: a request has a body when its header fields say so. */
function hasBody(request: IncomingMessage): boolean {
  const length = request.headers['content-length']
  return request.headers['transfer-encoding'] !== undefined || (length !== undefined && Number(length) !== 0)
}

/** The reason phrase as it came, byte for byte; undefined where it holds what Node would not write. */
function reasonPhrase(message: string | undefined): string | undefined {
  return message && /^[\t\x20-\x7e\x80-\xff]+$/.test(message) ? message : undefined
}

/** Ends an answer so that the caller sees that it is not whole, also where only the connection's end marks the end. */
function breakOff(response: ServerResponse, hasLength: boolean): void {
  const socket = response.socket
  // A caller whose connection ends without a byte may send its request once more, a write among them.
  if (socket !== null) writeNow(socket)
  const delimited = hasLength || response.chunkedEncoding
  if (socket !== null && !delimited && 'resetAndDestroy' in socket && socket.remoteAddress !== undefined) {
    socket.resetAndDestroy()
  } else response.destroy()
}
