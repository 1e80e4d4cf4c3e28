// A company's connections to one origin: undici clients, shared out fairly between callers, with a bounded wait for one.
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
  /** Most connections. */
  readonly connections: number
  /** Most requests that wait for one. */
  readonly maxQueued: number
  /** A request waits no longer than this. */
  readonly maxWaitMs: number
  /** Several callers can reach the company: none of them gets more than three quarters of the connections or the queue. */
  readonly isShared: boolean
}

/**
 * An idle connection is closed after this time, whatever the server's Keep-Alive allows: firewalls forget connections that
 * are idle for minutes without telling, and what is then written is lost.
 */
const KEEP_ALIVE_MS = 15_000
/** A busy connection is replaced after this time, so that a changed address of the API is noticed. */
const LONGEST_AGE_MS = 300_000
/** Longer response heads are refused. */
const MAX_HEADER_BYTES = 64 * 1024

/** One connection, which its holder uses for one request and then gives back by ending it. */
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
      // The attempt looks after its own time.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    })
  }

  /** Listens before undici does, which takes two kinds of end for something else. */
  #guard(socket: Socket): void {
    socket.on('end', () => this.attempt?.connectionEnded())
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Invariant: undici takes ECONNRESET on a `Connection: close` response for its clean end; a reset is never one.
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
  /** The one that was used last comes first. */
  readonly #idle: Connection[] = []
  readonly #busy = new Set<Connection>()
  readonly #held = new Map<string, number>()
  readonly #queue = new FairQueue<Waiter>()
  #closing: PromiseWithResolvers<void> | undefined

  constructor(options: ConnectionPoolOptions) {
    this.#options = options
  }

  /** Requests that wait for a connection. */
  get waiting(): number {
    return this.#queue.size
  }

  /**
   * A connection for one request of this caller; {@link release} gives it back. Throws `overloaded` where too many wait, or
   * where none becomes free in time.
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

  /** The request on this connection is over. */
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

  /** Waits for the requests under way, then closes the connections. */
  async close(): Promise<void> {
    this.#closing ??= Promise.withResolvers()
    if (this.#busy.size === 0) this.#closing.resolve()
    await this.#closing.promise
    await Promise.all(this.#idle.splice(0).map(({ client }) => client.close()))
  }

  /** Closes the connections at once. */
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

  /** All of it for the only caller; of several, each gets at most three quarters. */
  #fairPart(whole: number): number {
    return this.#options.isShared ? Math.max(1, Math.floor((whole * 3) / 4)) : whole
  }
}
