// How connections to Procore are made: directly or in a tunnel through the outbound proxy, and whose certificates count.
import { type ClientRequest, request } from 'node:http'
import type { Socket } from 'node:net'
import tls from 'node:tls'
import { buildConnector, errors } from 'undici'
import type { NetworkSettings, OutboundProxy } from '../config/config.ts'
import { isTlsError, OutboundProxyError } from './connection-error.ts'
import { proxyFor } from './outbound-proxy.ts'

/**
 * Node tries a host's addresses one after the other, and gives each but the last this long. Its own 250 ms are less than
 * a connection over a satellite or around the world takes.
 */
const ADDRESS_ATTEMPT_MS = 1_000

/**
 * The `connect` of a Client, Pool or Agent. `timeoutMs` is for all of it: the way to the proxy, the tunnel and TLS.
 * With `http2` the server may choose it.
 */
export function connector(
  network: NetworkSettings,
  timeoutMs: number,
  http2 = false,
): buildConnector.connector {
  const options = {
    allowH2: http2,
    // Invariant: certificates are verified, whatever NODE_TLS_REJECT_UNAUTHORIZED says.
    rejectUnauthorized: true,
    ...trusted(network),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: Math.max(10, Math.min(ADDRESS_ATTEMPT_MS, timeoutMs / 4)),
  }
  const direct = buildConnector({ ...options, timeout: timeoutMs })
  const inside = buildConnector({ ...options, timeout: 0 })
  return (target, callback) => {
    const { origin, hostname, port } = new URL(`${target.protocol}//${target.host}`)
    const proxy = proxyFor(origin, network)
    const connected = ((...result: Parameters<buildConnector.Callback>) => {
      result[1]?.on('error', namePlainly)
      callback(...result)
    }) as buildConnector.Callback
    if (proxy === undefined) direct(target, connected)
    else {
      const authority = `${hostname}:${port || 443}`
      new Tunnel({ proxy, authority, target, timeoutMs, direct, inside }, connected).start()
    }
  }
}

/**
 * undici takes an ECONNRESET for the end of an answer that is delimited by the connection's end: a broken answer would
 * look whole, and where the answer is paused undici asserts and takes the process along. Under another name it is what it
 * is, a failure. This listener was there before undici's.
 */
function namePlainly(error: NodeJS.ErrnoException): void {
  if (error.code === 'ECONNRESET') error.code = 'UND_ERR_SOCKET'
}

const contexts = new WeakMap<NetworkSettings, tls.SecureContext>()

/** Made once for all pools of a configuration: to read all of the machine's certificates takes a while. */
function trusted(network: NetworkSettings): { readonly secureContext?: tls.SecureContext } {
  if (network.certificates.length === 0) return {}
  let secureContext = contexts.get(network)
  if (secureContext === undefined) {
    secureContext = tls.createSecureContext({
      ca: [...tls.getCACertificates('default'), ...network.certificates],
    })
    contexts.set(network, secureContext)
  }
  return { secureContext }
}

interface TunnelOptions {
  readonly proxy: OutboundProxy
  /** `HOST:PORT` of the target. */
  readonly authority: string
  readonly target: buildConnector.Options
  readonly timeoutMs: number
  /** Connects to the proxy. */
  readonly direct: buildConnector.connector
  /** Begins TLS with the target on a socket that leads there. */
  readonly inside: buildConnector.connector
}

/** One connection through the proxy: to it, CONNECT (RFC 9110 section 9.3.6), then TLS with the target. */
class Tunnel {
  readonly #options: TunnelOptions
  readonly #callback: buildConnector.Callback
  readonly #timer: NodeJS.Timeout
  #socket: Socket | undefined
  #isOpen = false
  #ended = false

  constructor(options: TunnelOptions, callback: buildConnector.Callback) {
    this.#options = options
    this.#callback = callback
    this.#timer = setTimeout(() => this.#timeout(), options.timeoutMs).unref()
  }

  start(): void {
    const { protocol, host, hostname, port } = new URL(this.#options.proxy.origin)
    const address = { protocol, host, hostname: hostname.replace(/^\[|\]$/g, ''), port }
    this.#options.direct(address, (error, socket) => {
      if (error !== null) {
        if (error instanceof errors.ConnectTimeoutError) this.#fail('timeout', error)
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
      this.#end([new errors.ConnectTimeoutError(message), null])
    }
  }

  #fail(reason: OutboundProxyError['reason'], cause?: unknown): void {
    this.#end([new OutboundProxyError(this.#options.proxy, this.#options.authority, reason, cause), null])
  }

  #end(result: Parameters<buildConnector.Callback>): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#timer)
    if (result[0] !== null) this.#socket?.destroy()
    this.#callback(...result)
  }
}
