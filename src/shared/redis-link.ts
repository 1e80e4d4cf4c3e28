// Keeps a connection to Redis or Valkey, knows whether it works, and runs scripts within a time limit.
import { hash, randomBytes } from 'node:crypto'
import { isIP } from 'node:net'
import { getCACertificates } from 'node:tls'
import type { SharedSettings } from '../config/config.ts'

/**
 * A Lua script that Redis runs as one step. Its first argument is the name of the replica. `keys` are named after what they
 * hold; `sha` is the SHA-1 in hexadecimal, for EVALSHA. What `isReply` denies comes from something that is no Redis.
 */
export const script = (keys: readonly string[], isReply: (reply: unknown) => boolean, text: string) => ({
  keys,
  isReply,
  text,
  sha: hash('sha1', text),
})
export type Script = Readonly<ReturnType<typeof script>>

/** What an error of Redis begins with, and why Redis could not be used. `refused`: user, password or rights. */
const REASONS = [
  [/^no reply within/, 'timeout'],
  [/^OOM/, 'full'],
  [/^(READONLY|MISCONF|NOREPLICAS)/, 'read-only'],
  [/^(NOAUTH|WRONGPASS|NOPERM|ERR AUTH)/, 'refused'],
  [/^(LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK) ?/, 'busy'],
  [/^(ERR|WRONGTYPE|NOPROTO|UNKILLABLE|unexpected)/, 'script'],
] as const

type SharedErrorReason = (typeof REASONS)[number][1] | 'connection'

/** Redis cannot be used now. */
export class SharedDownError extends Error {
  override readonly name = 'SharedDownError'
  readonly reason: SharedErrorReason

  constructor(cause: unknown) {
    const message = cause instanceof Error ? cause.message : ''
    const reason = REASONS.find(([pattern]) => pattern.test(message))?.[1] ?? 'connection'
    super(`Redis cannot be used (${reason})`, { cause })
    this.reason = reason
  }
}

/** The part of a logger that is used. */
export type Log = Record<'info' | 'warn', (fields: object, message: string) => void>

/** The interface for the users of Redis. */
export type Link = Pick<RedisLink, 'isUp' | 'run'>

interface LinkOptions {
  readonly settings: SharedSettings
  /** In PEM; trusted besides those that Node trusts. */
  readonly certificates: readonly string[]
  readonly log: Log
  /** The wait before the first new attempt to connect, ms. It doubles up to fourfold. */
  readonly retryMs: number
}

/**
 * A reply that is late on a busy machine is not the end: Redis is used again as soon as it comes. It is the end if it takes
 * this long, or if so many replies in a row are late.
 */
const LATEST_MS = 500
const MOST_LATE = 3
/** After this long without an error, the retries start from the beginning. */
const STABLE_MS = 30_000
const CONNECT_MS = 2_000
/** How long a start waits for a reply: no request can be sent without a token anyway, and the machine may be busy. */
export const PATIENCE_MS = 1_000

const GOES_ON = {
  split: 'each replica uses its part of the last known rate budget',
  local: 'each replica uses the rate budget as if it were alone',
  reject: 'requests are refused',
} as const

export class RedisLink {
  readonly #options: LinkOptions
  /** This process's name in Redis. */
  readonly #replica = randomBytes(6).toString('base64url')
  /** How often each kind of error occurred, for metrics. */
  readonly errors = new Map<SharedErrorReason, number>()
  /** Undefined while Redis is not used. */
  #connection: RedisConnection | undefined
  #isClosed = false
  /** The connection is open, but a reply is late. */
  #isLate = false
  /** Late replies since the last one that came in time. */
  #lateReplies = 0
  #changedAt = performance.now()
  #isWarned = false
  #retryMs: number
  #timer: NodeJS.Timeout | undefined

  constructor(options: LinkOptions) {
    this.#options = options
    this.#retryMs = options.retryMs
  }

  /** False while Redis is not used; `run` then rejects immediately, unless it has patience and only a reply is late. */
  get isUp(): boolean {
    return this.#connection !== undefined && !this.#isLate
  }

  /**
   * Runs a script with the keys of one budget or account. Rejects with {@link SharedDownError}, after the time limit at the
   * latest, or after `patienceMs` if that is longer.
   */
  async run<T>(
    script: Script,
    owner: string,
    args: readonly (string | number)[],
    patienceMs = 0,
  ): Promise<T> {
    const connection = this.#connection
    if (connection === undefined || (this.#isLate && patienceMs === 0)) throw new SharedDownError(undefined)
    const { settings } = this.#options
    // What is in braces keeps them in one slot of a cluster.
    const keys = script.keys.map((name) => `${settings.prefix}:v1:{${owner}}:${name}`)
    const rest = [String(keys.length), ...keys, this.#replica, ...args.map(String)]
    const mostMs = Math.max(settings.timeoutMs, patienceMs)
    const evaluated = evaluate(connection, script, rest)
    try {
      const reply = await within(mostMs, 'reply', evaluated)
      if (!script.isReply(reply)) throw new Error('unexpected reply')
      this.#lateReplies = 0
      return reply as T
    } catch (cause) {
      const error = new SharedDownError(cause)
      // An error of an abandoned connection says nothing about the current one.
      if (connection !== this.#connection) throw error
      if (error.reason !== 'timeout' || mostMs >= LATEST_MS) this.#fail(error)
      else if (!this.#isLate) void this.#awaitLate(evaluated, error)
      throw error
    }
  }

  /** Does without Redis until this reply comes, and gives the connection up if it does not come soon. */
  async #awaitLate(reply: Promise<unknown>, error: SharedDownError): Promise<void> {
    const connection = this.#connection
    this.#isLate = true
    const hasCome = await within(LATEST_MS, 'reply', reply).then(
      () => true,
      () => false,
    )
    if (connection !== this.#connection) return
    this.#isLate = false
    if (hasCome && ++this.#lateReplies < MOST_LATE) this.#count(error)
    else this.#fail(error)
  }

  #count({ reason }: SharedDownError): void {
    this.errors.set(reason, (this.errors.get(reason) ?? 0) + 1)
  }

  /** Ends the connection and all attempts to open one. */
  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#connection?.destroy()
    this.#connection = undefined
  }

  /** Tries to connect; resolves when that worked or failed, after about three seconds at the latest. */
  async connect(patienceMs = 0): Promise<void> {
    const { settings, certificates } = this.#options
    let connection: RedisConnection | undefined
    const onLost = (cause: unknown) => {
      if (connection !== undefined && connection === this.#connection) this.#fail(new SharedDownError(cause))
    }
    try {
      const url = settings.url.reveal()
      connection = await connectRedis({ url, certificates, timeoutMs: CONNECT_MS, onLost })
      const probe = probed(connection, `${settings.prefix}:v1:probe:${this.#replica}`)
      await within(Math.max(settings.timeoutMs, patienceMs), 'reply', probe)
      if (this.#isClosed) connection.destroy()
      else this.#succeed(connection)
    } catch (cause) {
      connection?.destroy()
      if (!this.#isClosed) this.#fail(new SharedDownError(cause))
    }
  }

  #succeed(connection: RedisConnection): void {
    this.#connection = connection
    const downMs = Math.round(performance.now() - this.#changedAt)
    this.#changedAt = performance.now()
    if (this.#isWarned) {
      const { log, settings } = this.#options
      log.info({ host: hostOf(settings), downMs }, 'Redis is back: replicas share the rate budget again')
    }
    this.#isWarned = false
  }

  #fail(error: SharedDownError): void {
    const { log, retryMs, settings } = this.#options
    const { reason, cause } = error
    this.#count(error)
    if (this.#connection !== undefined) {
      const now = performance.now()
      if (now - this.#changedAt > STABLE_MS) this.#retryMs = retryMs
      this.#changedAt = now
    }
    this.#connection?.destroy()
    this.#connection = undefined
    this.#isLate = false
    this.#lateReplies = 0
    this.#timer = setTimeout(() => void this.connect(), this.#retryMs * (0.75 + Math.random() / 4)).unref()
    this.#retryMs = Math.min(4 * retryMs, this.#retryMs * 2)
    if (this.#isWarned) return
    this.#isWarned = true
    const detail = cause instanceof Error ? cause.message : undefined
    const message = `Redis cannot be used (${reason}): ${GOES_ON[settings.whenDown]} until it is back`
    log.warn({ host: hostOf(settings), reason, detail }, message)
  }
}

/** Host and port, without the password. */
const hostOf = ({ url }: SharedSettings) => new URL(url.reveal()).host

/** A connection that is open. */
export type RedisConnection = Awaited<ReturnType<typeof connectRedis>>

interface ConnectOptions {
  /** `redis://` or `rediss://`, with user and password where needed. */
  readonly url: string
  readonly certificates: readonly string[]
  readonly timeoutMs: number
  /** Called when the connection breaks or cannot be opened. */
  readonly onLost?: (cause: unknown) => void
}

/** Opens a connection; rejects if that takes longer than `timeoutMs`. The client library is loaded with the first one. */
export async function connectRedis({ url, certificates, timeoutMs, onLost = () => {} }: ConnectOptions) {
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
  client.on('error', onLost)
  /** Closes it immediately; commands in progress are rejected. */
  const destroy = () => {
    if (client.isOpen) client.destroy()
  }
  try {
    // Connecting includes the greeting, for which the library has no limit.
    await within(timeoutMs, 'connection', client.connect())
  } catch (error) {
    // It may open nonetheless, if the look-up of the name took most of the time.
    client.on('connect', () => client.destroy())
    destroy()
    throw error
  }
  /** Sends one command; rejects with Redis's error or that of the connection. */
  const send = (command: readonly string[]): Promise<unknown> => client.sendCommand([...command])
  return { send, destroy }
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

/** The test is a write, because a Redis that is full or read-only answers everything else; what is no Redis can't read it back. */
async function probed({ send }: RedisConnection, key: string): Promise<void> {
  const replies = await Promise.all([send(['SET', key, key, 'PX', '1000']), send(['GET', key])])
  if (replies[1] !== key) throw new Error('unexpected reply')
}

async function evaluate(connection: RedisConnection, script: Script, rest: string[]): Promise<unknown> {
  try {
    return await connection.send(['EVALSHA', script.sha, ...rest])
  } catch (error) {
    // The scripts were flushed, or this server never had them.
    if (!/^NOSCRIPT/.test((error as Error).message)) throw error
    return connection.send(['EVAL', script.text, ...rest])
  }
}

/** Rejects after this many ms. A reply that has arrived but was not read yet still counts. */
function within<T>(ms: number, what: 'reply' | 'connection', promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const expire = () => void setImmediate(() => reject(new Error(`no ${what} within ${ms} ms`)))
    const timer = setTimeout(expire, ms)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
