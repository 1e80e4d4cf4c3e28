// How connections to Procore are made: directly or in a tunnel through the outbound proxy, and whose certificates count.
import { type ClientRequest, request } from 'node:http'
import { connect, isIP, type Socket, type SocketConstructorOpts } from 'node:net'
import type { ConnectionOptions, SecureContext } from 'node:tls'
import type { NetworkSettings, OutboundProxy } from '../config/config.ts'
import { ConnectionError, isConnectTimeout, isTlsError, OutboundProxyError } from './connection-error.ts'
import { proxyFor } from './outbound-proxy.ts'

/**
 * Node tries a host's addresses one after the other, and gives each but the last this long. Its own 250 ms are less than
 * a connection over a satellite or around the world takes.
 */
const ADDRESS_ATTEMPT_MS = 1_000

/** Where to; undici's own shape. */
export interface ConnectTarget {
  /** With its colon. */
  readonly protocol: string
  /** Host and port as a URL has them. */
  readonly host?: string | undefined
  /** Without brackets. */
  readonly hostname: string
  readonly port: string
  readonly servername?: string | undefined
  /** TLS is spoken inside of it. */
  readonly httpSocket?: Socket | undefined
  /** Where what is read lands, if not in memory of its own; not heeded in a tunnel. */
  readonly onread?: SocketConstructorOpts['onread']
}

export type Connected = (...result: [error: Error, socket: null] | [error: null, socket: Socket]) => void
export type Connector = (target: ConnectTarget, callback: Connected) => void

/**
 * Makes connections, also for undici's pools. `timeoutMs` is for all of it: the way to the proxy, the tunnel and TLS.
 * With `http2` the server may choose it.
 */
export function connector(network: NetworkSettings, timeoutMs: number, http2 = false): Connector {
  const options = {
    ALPNProtocols: http2 ? ['http/1.1', 'h2'] : ['http/1.1'],
    // Invariant: certificates are verified, whatever NODE_TLS_REJECT_UNAUTHORIZED says.
    rejectUnauthorized: true,
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: Math.max(10, Math.min(ADDRESS_ATTEMPT_MS, timeoutMs / 4)),
  }
  const sessions = new Map<string, Buffer>()
  const opening = { network, options, sessions }
  const direct: Connector = (target, callback) => open({ ...opening, target, timeoutMs }, callback)
  const inside: Connector = (target, callback) => open({ ...opening, target, timeoutMs: 0 }, callback)
  return (target, callback) => {
    const { origin, hostname, port } = new URL(`${target.protocol}//${target.host}`)
    const proxy = proxyFor(origin, network)
    if (proxy === undefined) direct(target, callback)
    else {
      const authority = `${hostname}:${port || 443}`
      new Tunnel({ proxy, authority, target, timeoutMs, direct, inside }, callback).start()
    }
  }
}

/** Loaded with the first connection that speaks it. */
const tls = () => process.getBuiltinModule('node:tls')

interface Opening {
  readonly network: NetworkSettings
  readonly target: ConnectTarget
  readonly options: ConnectionOptions
  /** The last TLS session by server name, so that the next handshake is shorter. */
  readonly sessions: Map<string, Buffer>
  /** 0: somebody else looks at the clock. */
  readonly timeoutMs: number
}

/** TCP probes an idle connection this often: firewalls forget what is silent. */
const PROBE_AFTER_MS = 60_000

/** One connection over TCP, with TLS for https. */
function open({ network, target, options, sessions, timeoutMs }: Opening, callback: Connected): void {
  const { protocol, hostname, httpSocket, onread } = target
  const isTls = protocol === 'https:'
  const port = Number(target.port || (isTls ? 443 : 80))
  const servername = target.servername || (isIP(hostname) ? '' : hostname)
  const socket = isTls
    ? tls().connect({
        ...options,
        ...trusted(network),
        ...(httpSocket === undefined ? { host: hostname, port, onread } : { socket: httpSocket }),
        servername,
        session: sessions.get(servername || hostname),
      })
    : connect({ ...options, host: hostname, port, onread })
  if (isTls) socket.on('session', (session: Buffer) => sessions.set(servername || hostname, session))
  const timer =
    timeoutMs === 0
      ? undefined
      : setTimeout(() => {
          const message = `No connection to ${hostname}:${port} within ${timeoutMs} ms`
          socket.destroy(new ConnectionError('UND_ERR_CONNECT_TIMEOUT', message))
        }, timeoutMs).unref()
  const onError = (error: Error) => {
    clearTimeout(timer)
    callback(error, null)
  }
  const onClose = () => onError(new ConnectionError('UND_ERR_SOCKET', 'the connection was closed at once'))
  socket.once('error', onError)
  socket.once('close', onClose)
  socket.once(isTls ? 'secureConnect' : 'connect', () => {
    clearTimeout(timer)
    socket.off('error', onError)
    socket.off('close', onClose)
    callback(null, socket)
  })
  socket.setNoDelay(true)
  socket.setKeepAlive(true, PROBE_AFTER_MS)
}

const contexts = new WeakMap<NetworkSettings, SecureContext>()

/** Made once for all pools of a configuration, and when the first connection wants it: to read all of the machine's certificates takes a while. */
function trusted(network: NetworkSettings): { readonly secureContext?: SecureContext } {
  if (network.certificates.length === 0) return {}
  let secureContext = contexts.get(network)
  if (secureContext === undefined) {
    secureContext = tls().createSecureContext({
      ca: [...tls().getCACertificates('default'), ...network.certificates],
    })
    contexts.set(network, secureContext)
  }
  return { secureContext }
}

interface TunnelOptions {
  readonly proxy: OutboundProxy
  /** `HOST:PORT` of the target. */
  readonly authority: string
  readonly target: ConnectTarget
  readonly timeoutMs: number
  /** Connects to the proxy. */
  readonly direct: Connector
  /** Begins TLS with the target on a socket that leads there. */
  readonly inside: Connector
}

/** One connection through the proxy: to it, CONNECT (RFC 9110 section 9.3.6), then TLS with the target. */
class Tunnel {
  readonly #options: TunnelOptions
  readonly #callback: Connected
  readonly #timer: NodeJS.Timeout
  #socket: Socket | undefined
  #isOpen = false
  #ended = false

  constructor(options: TunnelOptions, callback: Connected) {
    this.#options = options
    this.#callback = callback
    this.#timer = setTimeout(() => this.#timeout(), options.timeoutMs).unref()
  }

  start(): void {
    const { protocol, host, hostname, port } = new URL(this.#options.proxy.origin)
    const address = { protocol, host, hostname: hostname.replace(/^\[|\]$/g, ''), port }
    this.#options.direct(address, (error, socket) => {
      if (error !== null) {
        if (isConnectTimeout(error)) this.#fail('timeout', error)
        else this.#fail(isTlsError(error) ? 'tls' : 'unreachable', error)
        return
      }
      this.#socket = socket
      /* c8 ignore next -- both timers run out in the same millisecond, or nearly */
      if (this.#ended) socket.destroy()
      else this.#ask(socket)
    })
  }

  #ask(socket: Socket): void {
    const { proxy, authority, target, inside } = this.#options
    const headers = {
      host: authority,
      // Invariant: the proxy's credentials stand here and nowhere else; bearer and secret only go into the tunnel.
      ...(proxy.authorization && { 'proxy-authorization': proxy.authorization.reveal() }),
    }
    const asking: ClientRequest = request({
      method: 'CONNECT',
      path: authority,
      headers,
      createConnection: () => socket,
    })
    // Node would say `close`, and there are proxies that then do.
    asking.removeHeader('connection')
    asking.on('error', (error) => this.#fail('protocol', error))
    asking.once('connect', ({ statusCode = 0 }, tunnel: Socket, head) => {
      if (statusCode < 200 || statusCode > 299) {
        this.#fail(statusCode)
        return
      }
      this.#isOpen = true
      if (head.length > 0) tunnel.unshift(head)
      inside({ ...target, httpSocket: tunnel }, (...result) => this.#end(result))
    })
    asking.end()
  }

  #timeout(): void {
    if (!this.#isOpen) this.#fail('timeout')
    else {
      const message = `No TLS with ${this.#options.authority} within ${this.#options.timeoutMs} ms`
      this.#end([new ConnectionError('UND_ERR_CONNECT_TIMEOUT', message), null])
    }
  }

  #fail(reason: OutboundProxyError['reason'], cause?: unknown): void {
    this.#end([new OutboundProxyError(this.#options.proxy, this.#options.authority, reason, cause), null])
  }

  #end(result: Parameters<Connected>): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#timer)
    if (result[0] !== null) this.#socket?.destroy()
    this.#callback(...result)
  }
}
