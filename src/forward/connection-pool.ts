// A company's connections to one origin: undici clients that callers share fairly, with a bounded queue.
import type { Socket } from 'node:net'
import { Client } from 'undici'
import { ProxyError } from '../errors.ts'
import type { Connector } from '../network/connect.ts'
import type { Attempt } from './attempt.ts'
import type { Departure } from './call.ts'
import { FairQueue } from './fair-queue.ts'

export interface ConnectionPoolOptions {
  readonly origin: string
  readonly connect: Connector
  /** The most connections. */
  readonly connections: number
  /** The most requests that may wait for a connection. */
  readonly maxQueued: number
  /** The longest that a request waits for a connection. */
  readonly maxWaitMs: number
  /**
   * True if several callers can reach the company. Then no caller gets more than three quarters of the connections or
   * the queue.
   */
  readonly isShared: boolean
}

/**
 * An idle connection is closed after this time, even if the server's Keep-Alive header allows more. Firewalls
 * silently drop connections that are idle for minutes, and then requests are lost.
 */
const KEEP_ALIVE_MS = 15_000
/** A connection is replaced after this time, so that a change of the API's IP address is noticed. */
const LONGEST_AGE_MS = 300_000
/** The longest response head that is accepted. */
const MAX_HEADER_BYTES = 64 * 1024

/** One connection. Its holder sends one request on it and then releases it. */
export class Connection {
  readonly client: Client
  readonly openedAt = performance.now()
  attempt: Attempt | undefined

  constructor(origin: string, connect: Connector) {
    this.client = new Client(origin, {
      connect: (options, callback) => {
        connect(options, (...result) => {
          const [error, socket] = result
          if (error === null) this.#guard(socket)
          callback(...result)
        })
      },
      pipelining: 1,
      // The attempt has its own time limit.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    })
  }

  /** Adds listeners before undici's own, because undici misinterprets two ways in which a connection can end. */
  #guard(socket: Socket): void {
    socket.on('end', () => this.attempt?.connectionEnded())
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Invariant: a reset is never a clean end. undici treats ECONNRESET as one if the response has `Connection:
      // close`.
      if (error.code === 'ECONNRESET') error.code = 'ECONNABORTED'
    })
  }
}

interface Waiter {
  readonly caller: string
  readonly go: (connection: Connection) => void
}

export class ConnectionPool {
  readonly #options: ConnectionPoolOptions
  /** A stack: the most recently used connection is reused first. */
  readonly #idle: Connection[] = []
  readonly #busy = new Set<Connection>()
  readonly #held = new Map<string, number>()
  readonly #queue = new FairQueue<Waiter>()
  #closing: PromiseWithResolvers<void> | undefined

  constructor(options: ConnectionPoolOptions) {
    this.#options = options
  }

  /** The number of requests that wait for a connection. */
  get waiting(): number {
    return this.#queue.size
  }

  /**
   * Acquires a connection for one request of this caller; give it back with {@link release}. Throws `overloaded` if
   * too many requests wait, or if no connection becomes free in time.
   */
  acquire(caller: string, departure: Departure): Connection | Promise<Connection> {
    if (this.#mayHold(caller) && this.#busy.size < this.#options.connections) return this.#take(caller)
    if (this.#isQueueFull(caller)) {
      const detail = `Too many requests of this company wait for a connection (upstream.maxQueued is ${this.#options.maxQueued}).`
      throw new ProxyError('overloaded', detail, { retryAfterSeconds: 1 })
    }
    return this.#wait(caller, departure)
  }

  #wait(caller: string, departure: Departure): Promise<Connection> {
    const { promise, resolve, reject } = Promise.withResolvers<Connection>()
    const { signal } = departure
    const end = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onLeave)
    }
    const waiter: Waiter = {
      caller,
      go: (connection) => {
        end()
        resolve(connection)
      },
    }
    const fail = (error: Error) => {
      end()
      this.#queue.remove(caller, waiter)
      reject(error)
    }
    const onLeave = () => fail(signal.reason as Error)
    const timer = setTimeout(() => {
      const detail = 'No connection to the API became free within upstream.responseTimeout.'
      fail(new ProxyError('overloaded', detail, { retryAfterSeconds: 1 }))
    }, this.#options.maxWaitMs)
    signal.addEventListener('abort', onLeave)
    this.#queue.add(caller, waiter)
    return promise
  }

  /** Gives a connection back after its request has ended. */
  release(connection: Connection, caller: string): void {
    connection.attempt = undefined
    this.#busy.delete(connection)
    const held = (this.#held.get(caller) ?? 1) - 1
    if (held === 0) this.#held.delete(caller)
    else this.#held.set(caller, held)
    const isOld = performance.now() - connection.openedAt > LONGEST_AGE_MS
    if (isOld || this.#closing !== undefined) void connection.client.close().catch(() => {})
    else this.#idle.push(connection)
    if (this.#closing !== undefined && this.#busy.size === 0) this.#closing.resolve()
    const next = this.#queue.take((waiter) => this.#mayHold(waiter.caller))
    next?.go(this.#take(next.caller))
  }

  /** Waits for requests in flight, then closes the connections. */
  async close(): Promise<void> {
    this.#closing ??= Promise.withResolvers()
    if (this.#busy.size === 0) this.#closing.resolve()
    await this.#closing.promise
    await Promise.all(this.#idle.splice(0).map(({ client }) => client.close()))
  }

  /** Closes all connections immediately. */
  async destroy(): Promise<void> {
    await Promise.all([...this.#idle, ...this.#busy].map(({ client }) => client.destroy()))
  }

  #take(caller: string): Connection {
    const connection = this.#idle.pop() ?? new Connection(this.#options.origin, this.#options.connect)
    this.#busy.add(connection)
    this.#held.set(caller, (this.#held.get(caller) ?? 0) + 1)
    return connection
  }

  #mayHold(caller: string): boolean {
    return (this.#held.get(caller) ?? 0) < this.#fairPart(this.#options.connections)
  }

  #isQueueFull(caller: string): boolean {
    const { maxQueued } = this.#options
    return this.#queue.size >= maxQueued || this.#queue.sizeOf(caller) >= this.#fairPart(maxQueued)
  }

  /** The part that one caller may use: everything if it is the only one, else at most three quarters. */
  #fairPart(whole: number): number {
    return this.#options.isShared ? Math.max(1, Math.floor((whole * 3) / 4)) : whole
  }
}
