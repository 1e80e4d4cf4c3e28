// Keeps a connection to Redis or Valkey, knows whether it works, and runs scripts within a time limit.
import { hash } from 'node:crypto'
import type { SharedSettings } from '../config/config.ts'
import { connectRedis, type RedisConnection } from './redis-connection.ts'

/** A Lua script that Redis runs as one step. */
export interface Script {
  readonly text: string
  /** SHA-1 in hexadecimal, for EVALSHA. */
  readonly sha: string
}

export function script(text: string): Script {
  return { text, sha: hash('sha1', text) }
}

/** Why Redis could not be used. `full`: out of memory. `refused`: user, password or rights. `script`: any other error. */
export type SharedErrorReason =
  | 'connection'
  | 'timeout'
  | 'full'
  | 'read-only'
  | 'refused'
  | 'busy'
  | 'script'

/** Redis cannot be used now. */
export class SharedDownError extends Error {
  override readonly name = 'SharedDownError'
  readonly reason: SharedErrorReason

  constructor(reason: SharedErrorReason, cause?: unknown) {
    super(`Redis cannot be used (${reason})`, cause === undefined ? undefined : { cause })
    this.reason = reason
  }
}

/** Redis became unavailable, or is back after `downMs`. */
export type LinkEvent =
  | { readonly type: 'down'; readonly error: SharedDownError }
  | { readonly type: 'up'; readonly downMs: number }

/** The interface for the users of Redis. */
export type Link = Pick<RedisLink, 'isUp' | 'run'>

export interface LinkOptions {
  readonly settings: SharedSettings
  /** In PEM; trusted besides those that Node trusts. */
  readonly certificates: readonly string[]
  /** This process's name in Redis. */
  readonly replica: string
  readonly report: (event: LinkEvent) => void
  /** The wait before the first new attempt to connect, ms; default 1000. It doubles up to fourfold. */
  readonly retryMs?: number
}

const RETRY_MS = 1_000
/** After this long without an error, the retries start from the beginning. */
const STABLE_MS = 30_000
const CONNECT_MS = 2_000

export class RedisLink {
  readonly #options: LinkOptions
  /** How often each kind of error occurred, for metrics. */
  readonly errors = new Map<SharedErrorReason, number>()
  #connection: RedisConnection | undefined
  #isUp = false
  #isClosed = false
  #changedAt = performance.now()
  /** The warning was logged, or is not due before the first attempt. */
  #isKnownDown = false
  readonly #firstRetryMs: number
  #retryMs: number
  #timer: NodeJS.Timeout | undefined

  constructor(options: LinkOptions) {
    this.#options = options
    this.#firstRetryMs = options.retryMs ?? RETRY_MS
    this.#retryMs = this.#firstRetryMs
  }

  /** False while Redis is not used; `run` then rejects immediately. */
  get isUp(): boolean {
    return this.#isUp
  }

  /** Connects for the first time; resolves when that worked or failed, after about two seconds at the latest. */
  async start(): Promise<void> {
    await this.#attempt()
  }

  /** Runs a script; rejects with {@link SharedDownError}, after the time limit at the latest. */
  async run(script: Script, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const connection = this.#connection
    if (!this.#isUp || connection === undefined) throw new SharedDownError('connection')
    const rest = [String(keys.length), ...keys, ...args.map(String)]
    try {
      return await within(this.#options.settings.timeoutMs, evaluate(connection, script, rest))
    } catch (cause) {
      const error = new SharedDownError(reasonOf(cause), cause)
      // An error of an abandoned connection says nothing about the current one.
      if (connection === this.#connection) this.#fail(error)
      throw error
    }
  }

  /** Ends the connection and all attempts to open one. */
  close(): void {
    this.#isClosed = true
    this.#isUp = false
    clearTimeout(this.#timer)
    this.#connection?.destroy()
    this.#connection = undefined
  }

  async #attempt(): Promise<void> {
    const { settings, certificates, replica } = this.#options
    let connection: RedisConnection | undefined
    try {
      connection = await connectRedis({ url: settings.url.reveal(), certificates, timeoutMs: CONNECT_MS })
      // The test is a write, because a Redis that is full or read-only answers everything else.
      const probe = ['SET', `${settings.prefix}:v1:probe:${replica}`, '1', 'PX', '1000']
      await within(settings.timeoutMs, connection.send(probe))
      if (this.#isClosed) connection.destroy()
      else this.#succeed(connection)
    } catch (cause) {
      connection?.destroy()
      if (!this.#isClosed) this.#fail(new SharedDownError(reasonOf(cause), cause))
    }
  }

  #succeed(connection: RedisConnection): void {
    this.#connection = connection
    connection.onLost((cause) => {
      if (connection === this.#connection) this.#fail(new SharedDownError('connection', cause))
    })
    const downMs = performance.now() - this.#changedAt
    this.#changedAt = performance.now()
    this.#isUp = true
    if (this.#isKnownDown) this.#options.report({ type: 'up', downMs })
    this.#isKnownDown = false
  }

  #fail(error: SharedDownError): void {
    this.errors.set(error.reason, (this.errors.get(error.reason) ?? 0) + 1)
    this.#connection?.destroy()
    this.#connection = undefined
    const now = performance.now()
    if (this.#isUp && now - this.#changedAt > STABLE_MS) this.#retryMs = this.#firstRetryMs
    if (this.#isUp) this.#changedAt = now
    this.#isUp = false
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#attempt(), this.#retryMs * (0.75 + Math.random() / 4))
    this.#timer.unref()
    this.#retryMs = Math.min(4 * this.#firstRetryMs, this.#retryMs * 2)
    if (!this.#isKnownDown) this.#options.report({ type: 'down', error })
    this.#isKnownDown = true
  }
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

class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
}

/** Rejects after this many ms. A reply that has arrived but was not read yet still counts. */
function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const expire = () => void setImmediate(() => reject(new TimeoutError(`no reply within ${ms} ms`)))
    const timer = setTimeout(expire, ms)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

const REASONS: readonly [RegExp, SharedErrorReason][] = [
  [/^OOM/, 'full'],
  [/^(READONLY|MISCONF|NOREPLICAS)/, 'read-only'],
  [/^(NOAUTH|WRONGPASS|NOPERM|ERR AUTH)/, 'refused'],
  [/^(LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK) ?/, 'busy'],
  [/^(ERR|WRONGTYPE|NOPROTO|UNKILLABLE)/, 'script'],
]

function reasonOf(error: unknown): SharedErrorReason {
  if (error instanceof TimeoutError) return 'timeout'
  const message = error instanceof Error ? error.message : ''
  // Redis puts its own errors before those of a script that it ran.
  return REASONS.find(([pattern]) => pattern.test(message))?.[1] ?? 'connection'
}
