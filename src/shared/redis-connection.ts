// One connection to Redis or Valkey, through the client library, which is loaded with the first one.
import { isIP } from 'node:net'
import { getCACertificates } from 'node:tls'

/** A connection that is open. */
export interface RedisConnection {
  /** Sends one command; rejects with Redis's error or that of the connection. */
  send(command: readonly string[]): Promise<unknown>
  /** Calls back once the connection is lost without `destroy`. */
  onLost(listener: (error: unknown) => void): void
  /** Ends it at once; commands under way are rejected. */
  destroy(): void
}

export interface RedisConnectOptions {
  /** `redis://` or `rediss://`, with user and password where needed. */
  readonly url: string
  /** In PEM; trusted besides those that Node trusts. */
  readonly certificates: readonly string[]
  readonly timeoutMs: number
}

/** Opens a connection; rejects where that takes longer than `timeoutMs`. */
export async function connectRedis(options: RedisConnectOptions): Promise<RedisConnection> {
  const { createClient } = await import('@redis/client')
  const { url, certificates, timeoutMs } = options
  const client = createClient({
    url,
    // Two is what every Redis and Valkey speaks; what we send has no use for more.
    RESP: 2,
    disableOfflineQueue: true,
    // CLIENT SETINFO would be one more right to grant.
    disableClientInfo: true,
    maintNotifications: 'disabled',
    // The link has a time limit of its own.
    commandOptions: { timeout: 0 },
    // The link makes a new connection itself, so that a failed-over name is looked up again.
    socket: { connectTimeout: timeoutMs, reconnectStrategy: false, ...tlsOptions(url, certificates) },
  })
  let lost: ((error: unknown) => void) | undefined
  let cause: unknown
  client.on('error', (error) => {
    cause = error
    lost?.(error)
  })
  client.on('end', () => lost?.(cause))
  let timer: NodeJS.Timeout | undefined
  const tooSlow = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no connection within ${timeoutMs} ms`)), timeoutMs)
  })
  const destroy = () => {
    lost = undefined
    if (client.isOpen) client.destroy()
  }
  try {
    // Connecting includes the greeting, for which the library has no limit.
    await Promise.race([client.connect(), tooSlow])
  } catch (error) {
    destroy()
    throw error
  } finally {
    clearTimeout(timer)
  }
  return {
    send: (command) => client.sendCommand([...command]),
    onLost: (listener) => {
      lost = listener
    },
    destroy,
  }
}

function tlsOptions(url: string, certificates: readonly string[]) {
  const { protocol, hostname } = new URL(url)
  if (protocol !== 'rediss:') return {}
  const host = hostname.replace(/^\[|\]$/g, '')
  return {
    tls: true,
    // Invariant: certificates are verified, whatever NODE_TLS_REJECT_UNAUTHORIZED says.
    rejectUnauthorized: true,
    ...(isIP(host) === 0 && { servername: host }),
    ...(certificates.length > 0 && { ca: [...getCACertificates('default'), ...certificates] }),
  } as const
}
