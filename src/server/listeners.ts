// Opens, keeps and closes the sockets that callers connect to.
import { chmodSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { listenText } from '../config/addresses.ts'
import type { Config, ListenAddress } from '../config/config.ts'
import { onClientError, onConnect } from './raw-refusals.ts'
import { clearStaleSocket } from './unix-socket.ts'

/** Where a request came in. */
export interface Listener {
  /** The company whose own address this is. */
  company: string | undefined
  /** As configured. */
  address: ListenAddress
}

type Handle = (request: IncomingMessage, response: ServerResponse, listener: Listener) => void

interface WantedListener extends Listener {
  /** Fine to go without, where the machine has no such address: IPv6's half of localhost. */
  readonly optional: boolean
}

interface OpenListener extends Listener {
  readonly server: Server
}

/** Request line and headers together; Procore's longest filter queries fit, a flood of headers does not. */
const MAX_HEADER_BYTES = 32 * 1024
/** A caller that takes longer to send its headers is no slow network but an attack (slowloris). */
const HEADERS_TIMEOUT_MS = 20_000
/** Longer than the usual 60 s of clients that pool connections, so that they close first. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000
const CHECK_INTERVAL_MS = 2_000

export class Listeners {
  readonly #handle: Handle
  readonly #open = new Map<string, OpenListener>()

  constructor(handle: Handle) {
    this.#handle = handle
  }

  /**
   * Opens what the configuration asks for and is not open yet, closes what it no longer asks for; unchanged addresses
   * keep their connections. Throws, and leaves all as it was, where an address can't be had.
   */
  async apply(config: Config): Promise<void> {
    const wanted = wantedListeners(config)
    const opened: [string, OpenListener][] = []
    try {
      for (const [key, listener] of wanted) {
        const open = this.#open.get(key)
        if (open !== undefined) {
          changeMode(open.address, listener.address)
          continue
        }
        const server = await this.#listen(listener).catch((error: Error) => {
          if (listener.optional && isNoSuchAddress(error)) return undefined
          throw error
        })
        if (server !== undefined) opened.push([key, server])
      }
    } catch (error) {
      for (const [, listener] of opened) listener.server.close()
      throw error
    }
    for (const [key, listener] of opened) this.#open.set(key, listener)
    for (const [key, listener] of this.#open) {
      const still = wanted.get(key)
      if (still !== undefined) {
        listener.company = still.company
        listener.address = still.address
      } else {
        this.#open.delete(key)
        close(listener.server)
      }
    }
  }

  async #listen({ address, company }: Listener): Promise<OpenListener> {
    const server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      // A large upload may take its time; the forwarding watches for one that stalls.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      // Nobody listens for the end of a body that is not there.
      optimizeEmptyRequests: true,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      // The guard answers 400 to a request without Host itself.
      requireHostHeader: false,
    })
    const handle = (request: IncomingMessage, response: ServerResponse) =>
      this.#handle(request, response, listener)
    const listener: OpenListener = { address, company, server }
    server.on('request', handle)
    // Without this listener Node would say 100 Continue before the caller is judged.
    server.on('checkContinue', handle)
    // Nor 417 to an expectation that it does not know.
    server.on('checkExpectation', handle)
    server.on('connect', onConnect)
    server.on('clientError', onClientError)
    if (address.kind === 'unix') await clearStaleSocket(address.path)
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(address, error)))
      server.once('listening', resolve)
      // The socket is made during the call: it is never open to others, not even for a moment.
      const umask = address.kind === 'unix' ? process.umask(0o777 & ~address.mode) : undefined
      server.listen(address.kind === 'unix' ? { path: address.path } : address)
      if (umask !== undefined) process.umask(umask)
    })
    if (address.kind === 'unix') chmodSync(address.path, address.mode)
    return listener
  }

  /** An answer has ended: a listener that was closed meanwhile keeps no connection for longer. */
  answered(listener: Listener): void {
    const { server } = listener as OpenListener
    if (!server.listening) server.closeIdleConnections()
  }

  /** The addresses in use, ports known, as `http://127.0.0.1:8377` or `unix:/run/x.sock`; with the company of each. */
  addresses(): { url: string; company: string | undefined }[] {
    return [...this.#open.values()].map(({ address, company, server }) => ({
      company,
      url: address.kind === 'unix' ? `unix:${address.path}` : tcpUrl(server.address() as AddressInfo | null),
    }))
  }

  /** Takes no more connections, closes idle ones, and resolves when the last one is closed. */
  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map(({ server }) => close(server)))
  }

  /** Cuts every connection. */
  destroy(): void {
    for (const { server } of this.#open.values()) server.closeAllConnections()
  }
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
  })
}

function wantedListeners(config: Config): Map<string, WantedListener> {
  const wanted = new Map<string, WantedListener>()
  const add = (address: ListenAddress, company: string | undefined) => {
    for (const each of loopbackPair(address)) {
      const optional = each !== address && each.kind === 'tcp' && each.host === '::1'
      // Several of port 0 are several sockets.
      let nth = 0
      if (each.kind === 'tcp' && each.port === 0) while (wanted.has(keyOf(each, company, nth))) nth++
      wanted.set(keyOf(each, company, nth), { address: each, company, optional })
    }
  }
  for (const address of config.listen) add(address, undefined)
  for (const company of config.companies) if (company.listen) add(company.listen, company.name)
  return wanted
}

/** Equal for two addresses exactly when one socket can be both. */
function keyOf(address: ListenAddress, company: string | undefined, nth: number): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  // Nobody else may come to stand on a port that was handed out for one company.
  const whose = address.port === 0 ? (company ?? '') : ''
  return `${address.host} ${address.port} ${whose} ${nth}`
}

function changeMode(from: ListenAddress, to: ListenAddress): void {
  if (from.kind === 'unix' && to.kind === 'unix' && from.mode !== to.mode) chmodSync(to.path, to.mode)
}

/** `localhost` means both loopback addresses to callers; with port 0 the two would differ, so there it is IPv4. */
function loopbackPair(address: ListenAddress): ListenAddress[] {
  if (address.kind !== 'tcp' || address.host !== 'localhost') return [address]
  const v4: ListenAddress = { ...address, host: '127.0.0.1' }
  return address.port === 0 ? [v4] : [v4, { ...address, host: '::1' }]
}

function isNoSuchAddress(error: Error): boolean {
  const { code } = (error.cause ?? error) as NodeJS.ErrnoException
  return code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT'
}

/** A server that is closing has no address any more. */
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
