// Opens connections to Procore, directly or in a tunnel through the outbound proxy, and decides which certificates are trusted.
import type { Duplex } from 'node:stream'
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'
import { buildConnector, Pool } from 'undici'
import { isLoopbackHost } from '../config/addresses.ts'
import type { NetworkSettings, OutboundProxy } from '../config/config.ts'
import { isConnectTimeout, OutboundProxyError, tlsFault } from './connection-error.ts'

/**
 * Node tries a host's addresses one after the other and gives each of them, except the last, this much time. Node's
 * default of 250 ms is too short for a connection over a satellite or around the world.
 */
const ADDRESS_ATTEMPT_MS = 1_000

export type Connector = buildConnector.connector

/**
 * Creates the connector for undici's clients and pools. Each step (the connection to the proxy, the tunnel, TLS) may
 * take `timeoutMs`. undici's own ProxyAgent is not used because it turns flat header lists into an object, which
 * loses repeated headers. This does the same with undici's `connect` and its connector.
 */
export function connector(network: NetworkSettings, timeoutMs: number): Connector {
  const settings = {
    // Invariant: certificates are verified, whatever NODE_TLS_REJECT_UNAUTHORIZED says.
    rejectUnauthorized: true,
    timeout: timeoutMs,
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: Math.max(10, Math.min(ADDRESS_ATTEMPT_MS, timeoutMs / 4)),
  }
  const connectPlain = buildConnector(settings)
  let connectTls: Connector | undefined
  const connect: Connector = (options, callback) => {
    if (options.protocol !== 'https:') connectPlain(options, callback)
    else {
      connectTls ??= buildConnector({ ...settings, ...trusted(network) })
      connectTls(options, (...result) => {
        const [, socket] = result
        // An alert leaves the socket open, and undici would take the end that follows for the reason.
        socket?.once('error', () => socket.destroy())
        callback(...result)
      })
    }
  }
  let tunnels: Pool | undefined
  return (options, callback) => {
    const { origin, hostname, port } = new URL(`${options.protocol}//${options.host}`)
    const proxy = proxyFor(origin, network)
    if (proxy === undefined) {
      connect(options, callback)
      return
    }
    tunnels ??= new Pool(proxy.origin, { connect })
    openTunnel(tunnels, proxy, `${hostname}:${port || 443}`, timeoutMs).then(
      // undici's types allow net.Socket only, but TLS works on any stream.
      (socket) => connect({ ...options, httpSocket: socket as never }, callback),
      (error: Error) => callback(error, null),
    )
  }
}

/** Opens a stream to `authority` (HOST:PORT) through the proxy (CONNECT, RFC 9110 section 9.3.6). */
async function openTunnel(
  pool: Pool,
  proxy: OutboundProxy,
  authority: string,
  timeoutMs: number,
): Promise<Duplex> {
  const signal = AbortSignal.timeout(timeoutMs)
  const headers = {
    host: authority,
    // Invariant: the proxy's credentials go here and nowhere else. Token and secret go into the tunnel only.
    ...(proxy.authorization && { 'proxy-authorization': proxy.authorization.reveal() }),
  }
  const { statusCode, socket } = await pool
    .connect({ path: authority, headers, signal })
    .catch((error: unknown) => {
      throw new OutboundProxyError(proxy, authority, reasonOf(error, signal), error)
    })
  if (statusCode >= 200 && statusCode <= 299) return socket
  socket.on('error', () => {}).destroy()
  throw new OutboundProxyError(proxy, authority, statusCode)
}

function reasonOf(error: unknown, timeout: AbortSignal): OutboundProxyError['reason'] {
  if (timeout.aborted || isConnectTimeout(error)) return 'timeout'
  if (tlsFault(error)) return 'tls'
  const { code = '', syscall } = error as NodeJS.ErrnoException
  // A failed connect or DNS look-up. Anything that breaks later is a protocol failure.
  return syscall === 'connect' || syscall === 'getaddrinfo' || code === 'ENOTFOUND'
    ? 'unreachable'
    : 'protocol'
}

/** Trusts Node's certificates and those of `network.caFile`. Called at the first TLS connection, because it takes time. */
function trusted({ certificates }: NetworkSettings): { readonly secureContext?: SecureContext } {
  if (certificates.length === 0) return {}
  return { secureContext: createSecureContext({ ca: [...getCACertificates('default'), ...certificates] }) }
}

/** The proxy for an origin; undefined if it is reached directly. */
export function proxyFor(
  origin: string,
  { proxy, noProxy }: Pick<NetworkSettings, 'proxy' | 'noProxy'>,
): OutboundProxy | undefined {
  const { protocol, hostname, port } = new URL(origin)
  const host = hostname.replace(/\.$/, '')
  // Invariant: plain HTTP, which is used for loopback only, never goes to a proxy.
  if (protocol !== 'https:' || isLoopbackHost(host) || host.endsWith('.localhost')) return undefined
  const isExempt = noProxy.some((entry) => {
    if (entry.port !== undefined && entry.port !== Number(port || 443)) return false
    return entry.host === '*' || host === entry.host || host.endsWith(`.${entry.host}`)
  })
  return isExempt ? undefined : proxy
}
