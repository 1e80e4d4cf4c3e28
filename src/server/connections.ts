// Manages the connections of callers: one request at a time on each, a bounded number behind it, and a time limit for
// stalled ones.
import { readFileSync } from 'node:fs'
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { ProxyError } from '../errors.ts'
import { canReset } from '../forward/forward.ts'
import { problem } from '../forward/problem.ts'
import { type Exchange, requestIdOf, startExchange } from '../observe/exchange.ts'
import type { Logger } from '../observe/log.ts'
import type { Listener } from './listeners.ts'

/** How many requests may wait behind the current one on a connection (pipelining). More close the connection. */
const MOST_WAITING = 16
/** A caller that reads nothing of one of the proxy's own pages for this long is disconnected. */
const OWN_STALL_MS = 15_000
/** A caller whose response has ended has this long to end its request's body, and to read the response. */
const LINGER_MS = 5_000
const SWEEP_MS = 1_000
/** The shortest time between two warnings about refused connections. */
const WARNING_MS = 60_000
/** File descriptors that are reserved for connections to Procore, the log and secrets, unless the limit is very low. */
const LEAST_RESERVE = 64
/** A new connection has this long to send a request before it can give way to another one. */
const FRESH_MS = 1_000

/** With these, a connection begins that is not meant for plain HTTP/1.1 (RFC 8446 section 5.1, RFC 9113 section 3.4). */
const TLS_HANDSHAKE = 22
const TLS_MAJOR_VERSION = 3
const HTTP2_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n')

const TOO_SLOW = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

const CONNECT_DETAIL =
  'CONNECT requests are never forwarded: this address takes the place of the API in a base URL, and not in HTTPS_PROXY.'

/** How much of an unread request's target is kept. */
const LONGEST_TARGET = 200

export type Handle = (request: IncomingMessage, response: ServerResponse) => void

/** The current request of a connection, or one that waits behind it. */
export interface Current {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  stallMs: number
  /** Called if the rest of the request body turns out to be malformed. */
  onBroken: ((error: Error) => void) | undefined
  /** Each is called once, when the response has ended or the connection has closed. */
  readonly onClose: (() => void)[]
}

/** One caller's connection. */
export class CallerConnection {
  readonly socket: Socket
  /** The listener that accepted the connection. */
  readonly listener: Listener
  readonly #all: CallerConnections
  #waiting: Current[] = []
  #current: Current | undefined
  /** Further bytes are not read as requests. */
  #isCondemned = false
  /** Its address is closed. */
  #isRetired = false
  /** Bytes were refused unread, and the response to them is on its way. */
  #isRefused = false
  /** The last request that ended before all of it had arrived. The next bytes belong to it. */
  #unfinished: IncomingMessage | undefined
  /** Bytes that were read up to the end of the last request. */
  #bytesBefore = 0
  readonly #openedAt = performance.now()
  #flushed = -1
  #flushedAt = 0

  constructor(socket: Socket, listener: Listener, all: CallerConnections) {
    this.socket = socket
    this.listener = listener
    this.#all = all
    // An error that no one listens for would end the process, and Node takes its own listener away at a CONNECT.
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#waiting = []
      // Does not depend on whether Node still emits the response's own `close`, for instance after a CONNECT.
      if (this.#current !== undefined) this.#end(this.#current)
    })
  }

  get current(): Current | undefined {
    return this.#current
  }

  /** `act` is called if the rest of the current request's body is malformed. A method for the reason of `Departure.whenLeft`. */
  whenBroken(act: (error: Error) => void): void {
    if (this.#current !== undefined) this.#current.onBroken = act
  }

  /** Ends the connection with the current response, because the bytes after it cannot be trusted. */
  condemn(): void {
    this.#isCondemned = true
    this.#waiting = []
    if (this.#current !== undefined) this.#current.response.shouldKeepAlive = false
  }

  /** Ends the connection, whose address is closed: with the current request, or with one that is just arriving. */
  retire(): void {
    this.#isRetired = true
    if (this.#current !== undefined) this.condemn()
    // These end within seconds anyway.
    else if (this.#isRefused || this.#unfinished?.complete === false) return
    else if (this.socket.bytesRead === this.#bytesBefore) this.socket.destroy()
    else {
      // Node waits for no head once a server is closed.
      setTimeout(() => {
        if (this.#current === undefined) this.socket.destroy()
      }, LINGER_MS).unref()
    }
  }

  /** Handles a request now, or after the requests before it. */
  receive(request: IncomingMessage, response: ServerResponse): void {
    if (this.#isCondemned) return
    if (this.#isRetired) response.shouldKeepAlive = false
    if (request.headers.upgrade !== undefined && this.#hasMore(request)) {
      // Node drops what arrived in one piece with an ignored offer to upgrade, so that the next bytes may begin anywhere.
      this.#isCondemned = true
      response.shouldKeepAlive = false
    }
    const next: Current = { request, response, stallMs: OWN_STALL_MS, onBroken: undefined, onClose: [] }
    if (this.#current === undefined) this.#begin(next)
    else if (this.#waiting.length < MOST_WAITING) this.#waiting.push(next)
    else this.socket.destroy()
  }

  /** Node's parser refused bytes, or has waited for them in vain. */
  onClientError(error: NodeJS.ErrnoException): void {
    const { socket } = this
    const current = this.#current
    if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
    else if (this.#isRefused) socket.pause()
    else if (current === undefined) {
      if (this.#isCondemned) socket.destroy()
      else if (this.#unfinished?.complete === false) socket.destroySoon()
      else this.#refuseUnread(error)
    } else if (current.request.complete || current.response.writableEnded) {
      // The malformed bytes follow a complete request. That one gets its response, and then the connection ends.
      this.condemn()
    } else if (error.code === 'HPE_INVALID_EOF_STATE') {
      // The caller left in the middle of its body.
      socket.destroy()
    } else if (!current.response.headersSent) {
      // Where no one reads the body, the response needs no more of it.
      this.condemn()
      current.onBroken?.(new ProxyError('request_invalid', "The request's body is not proper HTTP/1.1."))
    } else {
      // The current request is broken, and a second response must not be mixed into the one that has begun.
      socket.destroy()
    }
  }

  #refuseUnread(error: NodeJS.ErrnoException): void {
    const { socket } = this
    if (error.code !== 'ERR_HTTP_REQUEST_TIMEOUT')
      void this.#refuse(new ProxyError('request_invalid', detailOf(error)))
    // A connection on which nothing was ever sent is closed without a response (RFC 9110 section 15.5.9).
    else if (socket.bytesRead === 0) socket.destroy()
    // Destroyed then, because a caller that has vanished never closes its half.
    else socket.end(TOO_SLOW, () => socket.destroy())
  }

  /** A CONNECT arrived. Node no longer handles this connection, nor earlier requests on it. */
  onConnect(request: IncomingMessage): void {
    const { socket } = this
    if (this.#current === undefined) {
      const error = new ProxyError('method_not_allowed', CONNECT_DETAIL)
      void this.#refuse(error, request)
      return
    }
    // The current request gets its response, and then the connection ends; or earlier, when its caller leaves.
    this.condemn()
    // Node has taken its own listeners away, so that a response that waits for its caller would wait for ever.
    socket.on('drain', () => this.#current?.response.emit('drain'))
    socket.once('end', () => socket.destroy()).resume()
  }

  /** Refuses what is never handled: CONNECT, or bytes that are no HTTP. Ends the connection. */
  async #refuse(
    error: ProxyError,
    { method = '-', url = '-' }: Pick<IncomingMessage, 'method' | 'url'> = {},
  ): Promise<void> {
    const { socket, listener } = this
    this.#isRefused = true
    const exchange = startExchange(requestIdOf(), method, url.slice(0, LONGEST_TARGET))
    exchange.listener = listener.address
    const { headers, body } = problem(error, exchange)
    exchange.bytesOut = Buffer.byteLength(body)
    const lines = [`HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}`, 'Connection: close']
    for (let at = 0; at < headers.length; at += 2) lines.push(`${headers[at]}: ${headers[at + 1]}`)
    await this.#all.onUnread(exchange, error)
    socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy())
  }

  #begin(current: Current): void {
    const { request, response } = current
    this.#current = current
    this.#all.idle.delete(this)
    response.once('close', () => this.#end(current))
    this.#all.handle(request, response)
  }

  #end(ended: Current): void {
    if (this.#current !== ended) return
    this.#current = undefined
    this.#all.idle.add(this)
    this.#bytesBefore = this.socket.bytesRead
    for (const tell of ended.onClose) tell()
    if (!ended.request.complete && !this.socket.destroyed) this.#closeUnlessComplete(ended.request)
    if (this.#isCondemned && this.#waiting.length === 0) this.socket.destroySoon()
    const next = this.#waiting.shift()
    if (next !== undefined && !this.socket.destroyed) this.#begin(next)
  }

  /** True if more has arrived than the head of this request, or if its length cannot be told. */
  #hasMore({ method, url, httpVersion, rawHeaders }: IncomingMessage): boolean {
    let length = `${method} ${url} HTTP/${httpVersion}\r\n\r\n`.length
    // Each header with ": " or "\r\n" behind its parts.
    for (const part of rawHeaders) length += part.length + 2
    return this.#current !== undefined || this.socket.bytesRead - this.#bytesBefore !== length
  }

  #closeUnlessComplete(request: IncomingMessage): void {
    this.#unfinished = request
    setTimeout(() => {
      if (!request.complete) this.socket.destroy()
    }, LINGER_MS).unref()
  }

  /** True while its first request may still be on the way, or may wait to be read. */
  isFresh(now: number): boolean {
    return this.#bytesBefore === 0 && now - this.#openedAt < FRESH_MS
  }

  /** Ends the connection at once; where nothing else marks the end of a response (HTTP/1.0), by a reset. */
  cutOff(): void {
    if (this.#current?.request.httpVersion === '1.0' && canReset(this.socket)) this.socket.resetAndDestroy()
    else this.socket.destroy()
  }

  /** Closes the connection if its caller has read nothing for too long. */
  sweep(now: number): void {
    const { socket } = this
    const flushed = socket.bytesWritten - socket.writableLength
    if (this.#current === undefined || socket.writableLength === 0 || flushed !== this.#flushed) {
      this.#flushed = flushed
      this.#flushedAt = now
    } else if (now - this.#flushedAt >= this.#current.stallMs) this.cutOff()
  }
}

/** All connections of callers. */
export class CallerConnections {
  readonly #bySocket = new Map<Socket, CallerConnection>()
  readonly #most: number
  readonly #log: Pick<Logger, 'warn'>
  /** Connections that were refused since the last warning. */
  #refused = 0
  #warnedAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  /** Those with no request under way, the one that has been idle longest first. */
  readonly idle = new Set<CallerConnection>()
  /** Handles the requests of all connections: the `routing` of the Fastify instance in force. */
  handle: Handle = () => {}
  /** Called for each request that was refused unread: CONNECT, or bytes that are no HTTP. The response waits for it. */
  onUnread: (exchange: Exchange, error: ProxyError) => Promise<void> = async () => {}

  constructor(log: Pick<Logger, 'warn'>, most = mostConnections()) {
    this.#log = log
    this.#most = most
  }

  /** Takes a server's connections and requests. */
  acceptFrom(server: Server, listener: Listener): void {
    server.on('connection', (socket) => this.add(socket, listener))
    const receive = (request: IncomingMessage, response: ServerResponse) =>
      this.of(request.socket)?.receive(request, response)
    server.on('request', receive)
    // Without this listener, Node would send 100 Continue before the request is judged.
    server.on('checkContinue', receive)
    // Without this one, Node would answer an unknown expectation with 417.
    server.on('checkExpectation', receive)
    server.on('connect', (request, socket) => this.of(socket as Socket)?.onConnect(request))
    server.on('clientError', (error, socket) => this.of(socket as Socket)?.onClientError(error))
  }

  /** Accepts a new connection. Of too many, the one that has been idle longest is closed, or the new one if none is. */
  add(socket: Socket, listener: Listener): void {
    if (listener.isPending) {
      socket.destroy()
      return
    }
    if (this.#bySocket.size >= this.#most) {
      const idle = this.#longestIdle()
      if (idle === undefined) {
        socket.destroy()
        this.#reportRefused()
        return
      }
      // Its `close` comes later, and the next connection may come before.
      this.#forget(idle)
      idle.socket.destroy()
    }
    const connection = new CallerConnection(socket, listener, this)
    this.#bySocket.set(socket, connection)
    this.idle.add(connection)
    this.#timer ??= setInterval(() => this.#sweep(), SWEEP_MS).unref()
    socket.once('close', () => {
      this.#forget(connection)
      if (this.#bySocket.size > 0) return
      clearInterval(this.#timer)
      this.#timer = undefined
    })
  }

  #longestIdle(): CallerConnection | undefined {
    const now = performance.now()
    for (const connection of this.idle) if (!connection.isFresh(now)) return connection
    return undefined
  }

  #forget(connection: CallerConnection): void {
    this.#bySocket.delete(connection.socket)
    this.idle.delete(connection)
  }

  #reportRefused(): void {
    this.#refused++
    const now = performance.now()
    if (now - this.#warnedAt < WARNING_MS) return
    const message =
      `all ${this.#most} connections of callers are busy: new ones are closed at once. ` +
      'Raise the limit on open files (ulimit -n, LimitNOFILE of systemd), or send fewer requests at a time'
    this.#log.warn({ refused: this.#refused }, message)
    this.#warnedAt = now
    this.#refused = 0
  }

  of(socket: Socket): CallerConnection | undefined {
    return this.#bySocket.get(socket)
  }

  /** Ends busy connections of a listener with their current requests: those behind were sent to what the address was before. */
  condemn(listener: Listener): void {
    for (const connection of this.#bySocket.values()) {
      if (connection.listener === listener && connection.current !== undefined) connection.condemn()
    }
  }

  /** Ends all connections of a listener whose address is closed. */
  retire(listener: Listener): void {
    for (const connection of this.#bySocket.values()) {
      if (connection.listener === listener) connection.retire()
    }
  }

  /** Ends all connections immediately. */
  destroy(): void {
    for (const connection of this.#bySocket.values()) connection.cutOff()
  }

  #sweep(): void {
    const now = performance.now()
    for (const connection of this.#bySocket.values()) connection.sweep(now)
  }
}

/** What the limit on open files allows, less the proxy's own need, but always some. Unlimited if it cannot be read. */
function mostConnections(): number {
  try {
    const limit = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1])
    return Number.isFinite(limit)
      ? Math.max(limit - Math.max(LEAST_RESERVE, Math.floor(limit / 4)), Math.ceil(limit / 4))
      : Number.POSITIVE_INFINITY
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

/** What is wrong with bytes that were refused. `rawPacket` holds them, from the parser. */
function detailOf({ code, rawPacket }: NodeJS.ErrnoException & { readonly rawPacket?: Buffer }): string {
  if (code === 'HPE_HEADER_OVERFLOW') return 'The request line and headers are too long.'
  const isNot = 'The bytes that arrived are not a proper HTTP/1.1 request'
  if (rawPacket?.[0] === TLS_HANDSHAKE && rawPacket[1] === TLS_MAJOR_VERSION) {
    return `${isNot}, but the start of TLS: write http:// instead of https:// in the address.`
  }
  if (rawPacket?.subarray(0, HTTP2_PREFACE.length).equals(HTTP2_PREFACE)) {
    return `${isNot}, but the start of HTTP/2: let the caller use HTTP/1.1.`
  }
  return `${isNot}.`
}
