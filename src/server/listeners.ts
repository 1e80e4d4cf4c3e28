// Opens and closes the sockets that callers connect to, and counts the requests that they have under way.
import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { listenText } from '../config/addresses.ts'
import type { Config, ListenAddress } from '../config/config.ts'
import type { Logger } from '../observe/log.ts'
import { CallerConnections } from './connections.ts'

/** Throws if a process listens at `path`, or if something other than a socket is there. */
export async function clearStaleSocket(path: string): Promise<void> {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return
  if (!stats.isSocket()) {
    throw new Error(`unix:${path}: the path exists and is not a socket; choose another path`)
  }
  if (await answers(path)) {
    throw new Error(`unix:${path}: another process listens there; stop it, or choose another path`)
  }
  unlinkSync(path)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false)
      else reject(error)
    })
  })
}

/** One of the addresses that the proxy listens on. */
export interface Listener {
  /** Tells this socket from all others, also after a reload that keeps it. */
  readonly key?: string
  /** The company that this address belongs to; undefined if it is for all companies. */
  company: string | undefined
  /** As configured. */
  address: ListenAddress
  /** Not in force yet: connections are closed at once. */
  readonly isPending?: boolean
  /** Serves health and metrics only (`metrics.listen`). */
  isForMetrics?: boolean
}

interface WantedListener extends Listener {
  /** The listener may be missing if the machine has no such address, as with the IPv6 half of localhost. */
  readonly optional: boolean
}

interface OpenListener extends Listener {
  readonly server: Server
}

/** Request line and headers together. Long filter queries fit, a flood of headers does not. */
export const MAX_HEADER_BYTES = 32 * 1024
/** Even on a slow network, headers do not take longer than this, so it must be an attack (slowloris). */
const HEADERS_TIMEOUT_MS = 20_000
/** Longer than the usual 60 s of clients with connection pools, so that the client closes first. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000
const CHECK_INTERVAL_MS = 2_000

export class Listeners {
  readonly connections: CallerConnections
  readonly #log: Logger
  readonly #open = new Map<string, OpenListener>()

  constructor(log: Logger) {
    this.#log = log
    this.connections = new CallerConnections(log)
  }

  /**
   * Opens the addresses that are new in this configuration and closes those that are gone. Unchanged addresses keep
   * their connections. If an address cannot be opened, throws and changes nothing. `swap` puts the rest of the
   * configuration in force.
   */
  async apply(config: Config, swap?: () => void): Promise<void> {
    const wanted = wantedListeners(config)
    // The configuration now names the port that the system chose for port 0.
    for (const [key, open] of this.#open) {
      const named = keyOf(boundAddress(open), undefined, 0)
      const listener = wanted.has(key) ? undefined : wanted.get(named)
      if (listener !== undefined && wanted.delete(named)) wanted.set(key, listener)
    }
    const missing = [...wanted].filter(([key]) => !this.#open.has(key))
    // An open address may block another one on the same port, as 127.0.0.1:80 blocks 0.0.0.0:80.
    const ports = new Set(missing.flatMap(([, { address }]) => (address.kind === 'tcp' ? address.port : [])))
    const inTheWay = [...this.#open]
      .map(([key, open]) => [key, { ...open, address: boundAddress(open) }] as const)
      .filter(([key, { address }]) => !wanted.has(key) && address.kind === 'tcp' && ports.has(address.port))
    for (const [key] of inTheWay) this.#retire(key)
    const opened = new Map<string, OpenListener>()
    try {
      for (const [key, listener] of missing) {
        // Until the swap, the old configuration would answer there.
        const open = await this.#listen({ ...listener, key, isPending: swap !== undefined }).catch(
          (error: Error) => {
            if (listener.optional && isNoSuchAddress(error)) return undefined
            throw error
          },
        )
        if (open !== undefined) opened.set(key, open)
      }
      for (const key of this.#open.keys()) changeMode(wanted.get(key)?.address)
    } catch (error) {
      for (const listener of opened.values()) this.#shut(listener)
      for (const [key, listener] of inTheWay) {
        const again = await this.#listen(listener).catch((error) => this.#onError(error))
        if (again) this.#open.set(key, again)
      }
      for (const { address } of this.#open.values()) changeMode(address)
      throw error
    }
    // Invariant: no address serves a configuration that is not its own, so all of this happens in one turn.
    swap?.()
    for (const [key, listener] of this.#open) this.#keep(key, listener, wanted.get(key))
    for (const [key, listener] of opened) this.#open.set(key, Object.assign(listener, { isPending: false }))
  }

  #keep(key: string, listener: OpenListener, wanted: Listener | undefined): void {
    if (wanted === undefined) {
      this.#retire(key)
      return
    }
    const isAnother = wanted.company !== listener.company || wanted.isForMetrics !== listener.isForMetrics
    if (isAnother) this.connections.condemn(listener)
    const { address, company, isForMetrics } = wanted
    Object.assign(listener, { address, company, isForMetrics })
  }

  async #listen(wanted: Listener): Promise<OpenListener> {
    const { key = '', address, company, isForMetrics = false, isPending = false } = wanted
    const server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      // A large upload may take long. The attempt notices one that stalls.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      optimizeEmptyRequests: true,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      // The guard itself answers a request without Host with 400.
      requireHostHeader: false,
    })
    // The guard counts the header lines. Node would silently drop those beyond its own limit.
    server.maxHeadersCount = 0
    const listener: OpenListener = { key, address, company, isForMetrics, isPending, server }
    this.connections.acceptFrom(server, listener)
    if (address.kind === 'unix') await clearStaleSocket(address.path)
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(address, error)))
      server.once('listening', resolve)
      // The socket is created synchronously, so it is never accessible to other users.
      const umask = address.kind === 'unix' ? process.umask(0o777 & ~address.mode) : undefined
      server.listen(address.kind === 'unix' ? { path: address.path } : address)
      if (umask !== undefined) process.umask(umask)
    })
    server.on('error', (error) => this.#onError(error))
    try {
      if (address.kind === 'unix') chmodSync(address.path, address.mode)
    } catch (error) {
      this.#shut(listener)
      throw error
    }
    return listener
  }

  /** Node reports here that it could not accept a connection. The listener continues. */
  #onError(error: Error): void {
    this.#log.error({ error }, 'a listener failed to accept a connection')
  }

  /**
   * The open addresses with their real ports, as `http://127.0.0.1:8377` or `unix:/run/x.sock`, each with its
   * company.
   */
  addresses(): { url: string; company: string | undefined }[] {
    return [...this.#open.values()].map(({ address, company, server }) => ({
      company,
      url: address.kind === 'unix' ? `unix:${address.path}` : tcpUrl(server.address() as AddressInfo | null),
    }))
  }

  /** Closes an address immediately, and its connections when their current requests have ended. */
  #retire(key: string): void {
    this.#shut(this.#open.get(key) as OpenListener)
    this.#open.delete(key)
  }

  #shut(listener: OpenListener): void {
    // Node closes neither a connection on which nothing has arrived yet, nor one with half a head.
    this.connections.retire(listener)
    listener.server.close()
  }

  /** Accepts no more connections, closes idle ones, and resolves when the last one has closed. */
  async close(): Promise<void> {
    const closed = ({ server }: OpenListener) => new Promise((resolve) => void server.close(resolve))
    await Promise.all([...this.#open.values()].map(closed))
  }

  /** Closes every connection immediately. */
  destroy(): void {
    this.connections.destroy()
  }
}

/** The time limit for closing everything else once no request is in flight. */
const LONGEST_CLOSE_MS = 5_000

/** Shuts the server down gracefully: lets requests in flight finish, within a time limit. */
export class Drain {
  /** Set this before `run`: new requests are refused from then on. */
  isDraining = false
  #inFlight = 0
  #onIdle: (() => void) | undefined
  readonly #listeners: Pick<Listeners, 'close' | 'destroy'>

  constructor(listeners: Pick<Listeners, 'close' | 'destroy'>) {
    this.#listeners = listeners
  }

  /** Call this when a request begins. */
  entered(): void {
    this.#inFlight++
  }

  /** Call this when its response has ended or broken off. */
  left(): void {
    this.#inFlight--
    if (this.#inFlight === 0) this.#onIdle?.()
  }

  /** The number of requests that have begun and not ended, including those for the proxy's own pages. */
  get inFlight(): number {
    return this.#inFlight
  }

  /**
   * Waits for requests in flight, at most `timeoutMs`, then closes the listeners and calls `closeRest`. Until then
   * the listeners stay open, so that the health check fails and new requests get `shutting_down`. Resolves with false
   * if requests were cut off.
   */
  async run(timeoutMs: number, closeRest: () => Promise<void>): Promise<boolean> {
    const listeners = this.#listeners
    const isClean = await this.#isIdleWithin(timeoutMs)
    const close = async () => {
      const closed = listeners.close()
      if (!isClean) listeners.destroy()
      await closeRest()
      // Closes connections that have become idle.
      listeners.destroy()
      await closed
    }
    const { promise: tooLong, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, LONGEST_CLOSE_MS)
    try {
      // If only closing takes long, no request is cut off.
      await Promise.race([close(), tooLong])
    } finally {
      clearTimeout(timer)
    }
    return isClean
  }

  #isIdleWithin(timeoutMs: number): Promise<boolean> {
    if (this.#inFlight === 0) return Promise.resolve(true)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => resolve(false), timeoutMs)
    this.#onIdle = () => {
      clearTimeout(timer)
      resolve(true)
    }
    return promise
  }
}

function wantedListeners(config: Config): Map<string, WantedListener> {
  const wanted = new Map<string, WantedListener>()
  const add = (address: ListenAddress, company: string | undefined, isForMetrics = false) => {
    for (const each of loopbackPair(address)) {
      const optional = each !== address && each.kind === 'tcp' && each.host === '::1'
      // Each port 0 is a separate socket.
      let nth = 0
      const owner = isForMetrics ? 'metrics only' : company
      if (each.kind === 'tcp' && each.port === 0) while (wanted.has(keyOf(each, owner, nth))) nth++
      wanted.set(keyOf(each, owner, nth), { address: each, company, optional, isForMetrics })
    }
  }
  for (const address of config.listen) add(address, undefined)
  for (const company of config.companies) if (company.listen) add(company.listen, company.name)
  if (config.metricsListen !== undefined) add(config.metricsListen, undefined, true)
  return wanted
}

/** Equal for two addresses exactly if one socket can serve both. */
function keyOf(address: ListenAddress, owner: string | undefined, nth: number): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  // A random port that was given to one company must not be reused for another one, nor for metrics.
  const whose = address.port === 0 ? (owner ?? '') : ''
  return `${address.host} ${address.port} ${whose} ${nth}`
}

/** The address with the real port where port 0 was configured. A server that is closing no longer has one. */
function boundAddress({ address, server }: OpenListener): ListenAddress {
  const bound = server.address() as AddressInfo | null
  return address.kind === 'unix' || bound === null ? address : { ...address, port: bound.port }
}

/** Sets the mode of a unix socket; does nothing for other addresses. */
function changeMode(address?: ListenAddress): void {
  if (address?.kind === 'unix' && lstatSync(address.path, { throwIfNoEntry: false })) {
    chmodSync(address.path, address.mode)
  }
}

/**
 * To callers, `localhost` means both loopback addresses. With port 0 their ports would differ, so only IPv4 is used.
 */
function loopbackPair(address: ListenAddress): ListenAddress[] {
  if (address.kind !== 'tcp' || address.host !== 'localhost') return [address]
  const v4: ListenAddress = { ...address, host: '127.0.0.1' }
  return address.port === 0 ? [v4] : [v4, { ...address, host: '::1' }]
}

function isNoSuchAddress(error: Error): boolean {
  const { code } = (error.cause ?? error) as NodeJS.ErrnoException
  return code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT'
}

/** A server that is closing no longer has an address. */
function tcpUrl(info: AddressInfo | null): string {
  if (info === null) return 'closing'
  const { address, port, family } = info
  return family === 'IPv6' ? `http://[${address}]:${port}` : `http://${address}:${port}`
}

function listenError(address: ListenAddress, error: NodeJS.ErrnoException): Error {
  const why: Record<string, string> = {
    EADDRINUSE:
      'another program listens there; stop it, or choose another address (port 0 takes any free one)',
    EACCES:
      address.kind === 'unix'
        ? 'the folder does not exist, or this user may not write to it'
        : 'this user may not listen there; choose a port above 1023',
    EADDRNOTAVAIL: 'this machine has no such address',
  }
  return new Error(`cannot listen on ${listenText(address)}: ${why[error.code ?? ''] ?? error.message}`, {
    cause: error,
  })
}
