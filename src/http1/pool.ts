// The connections to one origin over HTTP/1.1: kept alive, one request at a time on each, as many as the settings allow.
import type { Socket } from 'node:net'
import { ConnectionError } from '../network/connection-error.ts'
import { Connection, type ConnectionOwner } from './connection.ts'
import { type Handler, NEVER_SENT, type OutgoingRequest, tellError } from './handler.ts'
import { Intake, type OnRead } from './intake.ts'

/** Makes a connection: TCP, a tunnel where there has to be one, TLS. */
export type Connect = (onread: OnRead, callback: (error: Error | null, socket: Socket | null) => void) => void

export interface PoolSettings {
  readonly connect: Connect
  /** At most. */
  readonly connections: number
  /** An idle connection is closed after this time, or sooner where the server says so. */
  readonly keepAliveMs: number
}

/** A server that closes idle connections after so many seconds is believed to do so this much earlier. */
const EARLIER_MS = 1_000

interface Waiting {
  readonly request: OutgoingRequest
  readonly handler: Handler
}

export class Pool implements ConnectionOwner {
  readonly #settings: PoolSettings
  readonly #all = new Set<Connection>()
  /** The last used is the last, and the first to be used again: the others may run out. */
  readonly #idle: Connection[] = []
  /** Answered just now, and in the turn of the event loop before. */
  #resting: Connection[] = []
  #rested: Connection[] = []
  #isTurning = false
  readonly #connecting = new Set<Waiting>()
  /** For a connection that rests. */
  readonly #waiting = new Set<Waiting>()
  #sweep: NodeJS.Timeout | undefined
  #sweepAt = Number.POSITIVE_INFINITY
  #isClosed = false
  #isDestroyed = false
  readonly #gone = Promise.withResolvers<void>()

  constructor(settings: PoolSettings) {
    this.#settings = settings
  }

  get destroyed(): boolean {
    return this.#isDestroyed
  }

  /** Sends a request as soon as there is a connection; whatever comes of it, the handler is told. */
  dispatch(request: OutgoingRequest, handler: Handler): void {
    if (this.#isClosed) {
      tellError(handler, NEVER_SENT, this.#isDestroyed ? destroyed() : closed())
      return
    }
    const idle = this.#takeIdle()
    if (idle !== undefined) idle.send(request, handler)
    else if (this.#all.size + this.#connecting.size < this.#settings.connections)
      this.#open({ request, handler })
    else this.#waiting.add({ request, handler })
  }

  /** Takes no more requests; resolves when those under way have ended and all connections are closed. */
  close(): Promise<void> {
    this.#isClosed = true
    for (const connection of this.#idle.splice(0)) connection.destroy()
    this.#settle()
    return this.#gone.promise
  }

  /** Closes all connections at once; requests under way get an error. Resolves when they are closed. */
  destroy(): Promise<void> {
    this.#isClosed = true
    this.#isDestroyed = true
    clearTimeout(this.#sweep)
    for (const waiting of [...this.#waiting, ...this.#connecting]) {
      this.#waiting.delete(waiting)
      tellError(waiting.handler, NEVER_SENT, destroyed())
    }
    this.#connecting.clear()
    for (const connection of this.#all) connection.destroy(destroyed())
    this.#settle()
    return this.#gone.promise
  }

  /**
   * A connection is used again only after a whole turn of the event loop, in which anything that the server sent behind its
   * answer, or its close, has been read: it could be taken for the next answer (GHSA-35p6-xmwp-9g52).
   */
  onFree(connection: Connection): void {
    if (this.#isClosed) {
      connection.destroy()
      return
    }
    this.#resting.push(connection)
    if (this.#isTurning) return
    this.#isTurning = true
    setImmediate(this.#turn)
  }

  onClosed(connection: Connection): void {
    this.#all.delete(connection)
    const place = this.#idle.indexOf(connection)
    if (place !== -1) this.#idle.splice(place, 1)
    this.#openForWaiting()
    this.#settle()
  }

  readonly #turn = (): void => {
    const ready = this.#rested
    this.#rested = this.#resting
    this.#resting = []
    this.#isTurning = this.#rested.length > 0
    if (this.#isTurning) setImmediate(this.#turn)
    for (const connection of ready) this.#reuse(connection)
  }

  #reuse(connection: Connection): void {
    const { promisedSeconds } = connection
    const promisedMs = promisedSeconds === undefined ? Number.POSITIVE_INFINITY : promisedSeconds * 1000
    const keepMs = Math.min(this.#settings.keepAliveMs, promisedMs - EARLIER_MS)
    if (!connection.isUsable || this.#isClosed || keepMs <= 0) {
      connection.destroy()
      return
    }
    const [waiting] = this.#waiting
    if (waiting !== undefined) {
      this.#waiting.delete(waiting)
      connection.send(waiting.request, waiting.handler)
      return
    }
    connection.idleUntil = performance.now() + keepMs
    this.#idle.push(connection)
    if (connection.idleUntil < this.#sweepAt) this.#sweepIn(keepMs)
  }

  #takeIdle(): Connection | undefined {
    for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
      if (connection.isUsable && connection.idleUntil > performance.now()) return connection
      connection.destroy()
    }
    return undefined
  }

  #sweepIn(ms: number): void {
    clearTimeout(this.#sweep)
    this.#sweepAt = performance.now() + ms
    this.#sweep = setTimeout(this.#closeIdle, ms)
    this.#sweep.unref()
  }

  readonly #closeIdle = (): void => {
    this.#sweepAt = Number.POSITIVE_INFINITY
    const now = performance.now()
    let next = Number.POSITIVE_INFINITY
    for (const connection of this.#idle.splice(0)) {
      if (connection.idleUntil <= now) connection.destroy()
      else {
        this.#idle.push(connection)
        next = Math.min(next, connection.idleUntil)
      }
    }
    if (Number.isFinite(next)) this.#sweepIn(next - now)
  }

  #open(waiting: Waiting): void {
    this.#connecting.add(waiting)
    const intake = new Intake()
    this.#settings.connect(intake.onread, (error, socket) => {
      const isWanted = this.#connecting.delete(waiting)
      if (socket === null) {
        if (isWanted) tellError(waiting.handler, NEVER_SENT, error ?? destroyed())
        this.#openForWaiting()
      } else if (isWanted) {
        const connection = new Connection(socket, this, intake)
        this.#all.add(connection)
        connection.send(waiting.request, waiting.handler)
      } else socket.on('error', () => {}).destroy()
      this.#settle()
    })
  }

  /** A connection that rested is gone, or one that was tried did not come about: there is room for another. */
  #openForWaiting(): void {
    const [waiting] = this.#waiting
    if (waiting === undefined || this.#all.size + this.#connecting.size >= this.#settings.connections) return
    this.#waiting.delete(waiting)
    this.#open(waiting)
  }

  #settle(): void {
    if (this.#isClosed && this.#all.size + this.#connecting.size + this.#waiting.size === 0)
      this.#gone.resolve()
  }
}

function closed(): ConnectionError {
  return new ConnectionError('UND_ERR_CLOSED', 'the connections to the API are being closed')
}

function destroyed(): ConnectionError {
  return new ConnectionError('UND_ERR_DESTROYED', 'the connections to the API were closed')
}
