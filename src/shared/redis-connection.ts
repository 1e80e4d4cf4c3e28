// Opens one connection to Redis or Valkey with the client library, which is loaded with the first connection.
import { isIP } from 'node:net'
import { getCACertificates } from 'node:tls'

/** A connection that is open. */
export type RedisConnection = Awaited<ReturnType<typeof connectRedis>>

/**
 * Opens a connection; rejects if that takes longer than `timeoutMs`.
 * @param url `redis://` or `rediss://`, with user and password where needed.
 * @param certificates in PEM; trusted besides those that Node trusts.
 */
export async function connectRedis({
  url,
  certificates,
  timeoutMs,
}: Readonly<{ url: string; certificates: readonly string[]; timeoutMs: number }>) {
  const { createClient } = await import('@redis/client')
  const client = createClient({
    url,
    // Every Redis and Valkey supports version 2, and we need no more.
    RESP: 2,
    disableOfflineQueue: true,
    // CLIENT SETINFO would need another permission.
    disableClientInfo: true,
    maintNotifications: 'disabled',
    // The link has its own time limit.
    commandOptions: { timeout: 0 },
    // The link itself reconnects, so that the name is looked up again after a failover.
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
    /** Sends one command; rejects with Redis's error or that of the connection. */
    send: (command: readonly string[]): Promise<unknown> => client.sendCommand([...command]),
    /** Calls back once the connection is lost without `destroy`. */
    onLost: (listener: (error: unknown) => void) => {
      lost = listener
    },
    /** Closes it immediately; commands in progress are rejected. */
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
