// One connection to an API: writes a request at a time, and reads its answer.
import type { Socket } from 'node:net'
import { ConnectionError } from '../network/connection-error.ts'
import { writeTogether } from '../network/write-together.ts'
import { AnswerParser, type AnswerSink } from './answer-parser.ts'
import {
  type BodyStream,
  type Controller,
  type Handler,
  NO_TRAILERS,
  type OutgoingRequest,
  tellError,
} from './handler.ts'
import { type Intake, writeAndGiveBack } from './intake.ts'
import { readHead } from './read-head.ts'
import { type RequestHead, requestHead } from './request-head.ts'

/** Who keeps connections. */
export interface ConnectionOwner {
  /** Its answer is whole, and it can serve another request. */
  onFree(connection: Connection): void
  /** It is closed. */
  onClosed(connection: Connection): void
}

/** A request from when its connection is there until its answer has ended. */
class Call implements Controller {
  readonly request: OutgoingRequest
  readonly handler: Handler
  readonly #connection: Connection
  aborted = false
  paused = false
  reason: Error | null = null
  rawHeaders: readonly string[] = []

  constructor(request: OutgoingRequest, handler: Handler, connection: Connection) {
    this.request = request
    this.handler = handler
    this.#connection = connection
  }

  abort(reason: Error): void {
    if (this.aborted || !this.#connection.serves(this)) return
    this.aborted = true
    this.reason = reason
    this.#connection.fail(reason)
  }

  pause(): void {
    if (this.paused || !this.#connection.serves(this)) return
    this.paused = true
    this.#connection.socket.pause()
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    if (this.#connection.serves(this)) this.#connection.socket.resume()
  }
}

export class Connection implements AnswerSink {
  readonly socket: Socket
  readonly #owner: ConnectionOwner
  readonly #parser: AnswerParser
  readonly #intake: Intake | undefined
  #call: Call | undefined
  #upload: Upload | undefined
  /** When it is closed if it stays idle, of `performance.now()`; kept by the owner. */
  idleUntil = 0
  #error: Error | undefined

  /** The socket is connected, and TLS stands. */
  constructor(socket: Socket, owner: ConnectionOwner, intake: Intake) {
    this.socket = socket
    this.#owner = owner
    this.#parser = new AnswerParser(this)
    this.#intake = intake.isUsed ? intake : undefined
    if (intake.isUsed) intake.attach((bytes) => this.#read(bytes))
    else socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('end', this.#onEnd)
    socket.on('error', this.#onError)
    socket.on('close', this.#onClose)
    socket.on('drain', this.#onDrain)
  }

  /** It can carry a request. */
  get isUsable(): boolean {
    return !this.socket.destroyed && this.socket.writable
  }

  /** Seconds that the server keeps it when it is idle, if it said so. */
  get promisedSeconds(): number | undefined {
    return this.#parser.idleSeconds
  }

  serves(call: Call): boolean {
    return this.#call === call
  }

  /** Sends a request; whatever comes of it, the handler is told. */
  send(request: OutgoingRequest, handler: Handler): void {
    const call = new Call(request, handler, this)
    this.#call = call
    let head: RequestHead
    try {
      handler.onRequestStart(call)
      head = requestHead(request)
      if (isStream(request.body) && request.body.destroyed) throw givenUp()
    } catch (error) {
      // Nothing was written: the connection is as good as before.
      if (this.#call !== call) return
      this.#call = undefined
      if (call.paused) this.socket.resume()
      tellError(handler, call, error as Error)
      this.#owner.onFree(this)
      return
    }
    if (this.#call !== call) return
    this.#parser.begin(request.method === 'HEAD')
    const { socket } = this
    const { body } = request
    if (body === null) {
      writeTogether(socket)
      socket.write(head.text, 'latin1')
    } else if (Buffer.isBuffer(body)) {
      socket.cork()
      socket.write(head.text, 'latin1')
      socket.write(body)
      socket.uncork()
    } else this.#upload = new Upload(socket, head, body, (error) => this.fail(error))
  }

  /** Ends the request under way with this error, and the connection. */
  fail(error: Error): void {
    const call = this.#call
    this.#call = undefined
    this.#parser.stop()
    if (call !== undefined) tellError(call.handler, call, error)
    this.destroy()
  }

  /** Closes it at once; a request under way gets `error`. */
  destroy(error?: Error): void {
    if (error !== undefined && this.#call !== undefined) {
      this.fail(error)
      return
    }
    this.#upload?.stop()
    this.#upload = undefined
    this.socket.destroy()
  }

  onHead(status: number, message: string, headers: string[]): void {
    const call = this.#call as Call
    call.rawHeaders = headers
    call.handler.onResponseStart(call, status, readHead(headers), message)
  }

  onBody(piece: Buffer): void {
    const call = this.#call as Call
    call.handler.onResponseData(call, this.#intake === undefined ? piece : this.#intake.keep(piece))
  }

  /** True where more is to come. */
  #read(chunk: Buffer): boolean {
    // Nothing was asked: whatever this is, it must never be taken for the answer to the next request.
    if (this.#call === undefined) {
      this.socket.destroy()
      return false
    }
    // The request has not left yet, so this is behind the answer before, or comes from a server that does not listen.
    if (this.socket.writableCorked > 0) {
      this.fail(new ConnectionError('UND_ERR_SOCKET', 'the other side answered before it was asked'))
      return false
    }
    let behind: number
    try {
      behind = this.#parser.read(chunk)
    } catch (error) {
      this.fail(error as Error)
      return false
    }
    if (!this.#parser.isDone) return true
    if (this.#call !== undefined) this.#complete(behind === 0)
    return false
  }

  #complete(isClean: boolean): void {
    const call = this.#call as Call
    this.#call = undefined
    // An answer that came before the whole request did: what is missing can't be sent any more.
    const isSent = this.#upload === undefined || this.#upload.isDone
    const isFree = isClean && isSent && this.#parser.keepsAlive && call.request.method !== 'HEAD'
    if (isFree) {
      this.#upload = undefined
      if (call.paused) this.socket.resume()
    }
    try {
      call.handler.onResponseEnd(call, NO_TRAILERS)
    } catch (error) {
      tellError(call.handler, call, error as Error)
    }
    if (isFree && this.isUsable) this.#owner.onFree(this)
    else this.destroy()
  }

  readonly #onEnd = (): void => {
    if (this.#call === undefined) this.socket.destroy()
    else if (this.#parser.finish()) this.#complete(false)
    else this.fail(new ConnectionError('UND_ERR_SOCKET', 'the other side closed the connection'))
  }

  readonly #onError = (error: Error): void => {
    this.#error = error
    this.fail(error)
  }

  readonly #onClose = (): void => {
    if (this.#call !== undefined) {
      this.fail(this.#error ?? new ConnectionError('UND_ERR_SOCKET', 'the connection was closed'))
    }
    this.#owner.onClosed(this)
  }

  readonly #onDrain = (): void => {
    this.#upload?.resume()
  }
}

/** A body on its way up, as fast as the API takes it, and no longer than its head says. */
class Upload {
  readonly #socket: Socket
  readonly #body: BodyStream
  readonly #length: number | undefined
  readonly #onFailed: (error: Error) => void
  #sentBytes = 0
  #corked = true
  isDone = false

  constructor(socket: Socket, head: RequestHead, body: BodyStream, onFailed: (error: Error) => void) {
    this.#socket = socket
    this.#body = body
    this.#length = head.length
    this.#onFailed = onFailed
    // The head leaves together with what comes of the body at once.
    socket.cork()
    socket.write(head.text, 'latin1')
    setImmediate(() => this.#uncork())
    body.on('data', this.#onData).on('end', this.#onEnd).on('error', this.#onError).on('close', this.#onClose)
  }

  resume(): void {
    if (!this.isDone) this.#body.resume()
  }

  /** The rest is not sent. */
  stop(): void {
    if (this.isDone) return
    this.isDone = true
    this.#body.destroy()
  }

  #uncork(): void {
    if (!this.#corked) return
    this.#corked = false
    this.#socket.uncork()
  }

  readonly #onData = (chunk: Buffer): void => {
    // Invariant: an empty chunk would be the last one, and what follows the next request.
    if (this.isDone || chunk.length === 0) return
    this.#sentBytes += chunk.length
    // Invariant: never a byte more than was announced: the API would take it for the next request.
    if (this.#length !== undefined && this.#sentBytes > this.#length) {
      this.#onError(wrongLength())
      return
    }
    if (this.#length === undefined) {
      this.#socket.cork()
      this.#socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
      this.#socket.write(chunk)
      this.#socket.write('\r\n', 'latin1')
      this.#socket.uncork()
    } else writeAndGiveBack(this.#socket, chunk)
    this.#uncork()
    if (this.#socket.writableNeedDrain) this.#body.pause()
  }

  readonly #onEnd = (): void => {
    if (this.isDone) return
    if (this.#length !== undefined && this.#sentBytes < this.#length) {
      this.#onError(wrongLength())
      return
    }
    this.isDone = true
    if (this.#length === undefined) this.#socket.write('0\r\n\r\n', 'latin1')
    this.#uncork()
  }

  readonly #onError = (error: Error): void => {
    if (this.isDone) return
    this.#onFailed(error)
  }

  readonly #onClose = (): void => {
    if (!this.isDone) this.#onError(givenUp())
  }
}

function isStream(body: OutgoingRequest['body']): body is BodyStream {
  return body !== null && !Buffer.isBuffer(body)
}

function givenUp(): ConnectionError {
  return new ConnectionError('UND_ERR_ABORTED', "the request's body was given up")
}

function wrongLength(): ConnectionError {
  return new ConnectionError(
    'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
    'the body is not as long as its head says',
  )
}
