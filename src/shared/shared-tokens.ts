// Shares token requests between replicas: one asks the login server, and the others read the token, encrypted, from Redis.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { IssuedToken } from '../auth/request-token.ts'
import { TokenFailure } from '../auth/request-token.ts'
import { RENEW_AFTER, type RequestToken, type TokenRequest } from '../auth/token-source.ts'
import type { ServiceAccount } from '../config/config.ts'
import { type Link, PATIENCE_MS, type Script, SharedDownError, script } from './redis-link.ts'

/** The lock of a replica that died ends this soon. One that lives takes it again while its token request is under way. */
const LOCK_MS = 3_000
/** After a 401, all replicas together renew once in this time. */
const FORCED_INTERVAL_MS = 60_000
const POLL_MS = 100
/** Replicas that waited for a failed request share its failure. */
const FAILURE_MS = 5_000
/** While Redis is away, this is how often a replica that has a token for the others looks whether it is back. */
const AWAY_MS = 1_000

/** `issuedAt` is by Redis's clock. */
type StoredToken = Readonly<{ value: string; lifetimeMs: number; issuedAt: number }>
/** `at` is by Redis's clock. */
type StoredFailure = Pick<TokenFailure, 'reason' | 'message' | 'retryAfterMs' | 'help' | 'proxyStatus'> &
  Readonly<{ at: number }>

/** Makes token requests through Redis. If that does not work, acts as if the replica were alone. */
export function shareTokens(request: RequestToken, link: Link): RequestToken {
  return (asked) => new SharedTokenRequest(request, asked, link).token()
}

/** One replica's request for one token. */
class SharedTokenRequest {
  readonly #request: RequestToken
  readonly #asked: TokenRequest
  readonly #link: Link
  readonly #seal: ReturnType<typeof sealOf>
  /** The sealed token that was read last. */
  #sealed = ''

  constructor(request: RequestToken, asked: TokenRequest, link: Link) {
    this.#request = request
    this.#asked = asked
    this.#link = link
    this.#seal = sealOf(asked.account)
  }

  async token(): Promise<IssuedToken> {
    return (await this.#fromOthers().catch(unlessDown)) ?? this.#logIn()
  }

  /** The token of another replica; undefined once this one has the lock, and has to log in. */
  async #fromOthers(): Promise<IssuedToken | undefined> {
    let since: number | undefined
    for (;;) {
      const { now, stored, failure, isFresh, isUsable } = await this.#read()
      since ??= now
      if (stored !== undefined && isUsable) return issued(stored, now)
      if (failure !== undefined && failure.at >= since) {
        throw new TokenFailure(failure.reason, failure.message, failure)
      }
      const locked = await this.#lock(isFresh)
      if (locked > 0) return undefined
      // The 401 that this token causes then reaches the caller.
      if (locked < 0 && stored !== undefined) return issued(stored, now)
      await new Promise((resolve) => void setTimeout(resolve, POLL_MS * (0.75 + Math.random() / 2)))
      this.#asked.signal.throwIfAborted()
    }
  }

  async #read() {
    const [now, sealed, failed] = await this.#run<[number, string, string]>(READ)
    this.#sealed = sealed
    const stored = this.#seal.open<StoredToken>(sealed)
    const isFresh = stored !== undefined && now < stored.issuedAt + stored.lifetimeMs * RENEW_AFTER
    const isUsable = isFresh && stored.value !== this.#asked.refused
    return { now, stored, failure: this.#seal.open<StoredFailure>(failed), isFresh, isUsable }
  }

  #lock(isForced: boolean): Promise<number> {
    return this.#run(LOCK, LOCK_MS, this.#sealed, isForced ? 1 : 0)
  }

  /** Holds the lock meanwhile; without Redis, takes it as soon as that is back. */
  async #logIn(): Promise<IssuedToken> {
    const askedAt = performance.now()
    const renewal = setInterval(() => void this.#lock(false).catch(unlessDown), LOCK_MS / 3)
    try {
      const token = await this.#request(this.#asked)
      void this.#publish(token, askedAt)
      return token
    } catch (error) {
      if (error instanceof TokenFailure) void this.#share(error).catch(unlessDown)
      throw error
    } finally {
      clearInterval(renewal)
    }
  }

  /** Gives the token to the others, once Redis can be used, unless the API has refused it by then. */
  async #publish({ value, lifetimeMs }: IssuedToken, askedAt: number): Promise<void> {
    const ageMs = () => Math.ceil(performance.now() - askedAt)
    const { refused } = this.#asked
    const isRefused = () => this.#asked.refused !== refused && this.#asked.refused === value
    while (ageMs() < lifetimeMs * RENEW_AFTER && !isRefused()) {
      try {
        const { now, isFresh, isUsable } = await this.#read()
        if (isUsable) return
        const sealed = this.#seal.close({ value, lifetimeMs, issuedAt: now - ageMs() } satisfies StoredToken)
        await this.#run(STORE, sealed, Math.ceil(lifetimeMs - ageMs()), isFresh ? FORCED_INTERVAL_MS : 0)
        return
      } catch (error) {
        unlessDown(error)
      }
      await new Promise((resolve) => void setTimeout(resolve, AWAY_MS).unref())
    }
  }

  /** Those who came before now share the failure; those who come later try again. */
  async #share({ reason, message, retryAfterMs, help, proxyStatus }: TokenFailure): Promise<void> {
    const { now } = await this.#read()
    const failure: StoredFailure = { reason, message, retryAfterMs, help, proxyStatus, at: now }
    await this.#run(FAIL, this.#seal.close(failure), FAILURE_MS)
  }

  #run<T>(script: Script, ...args: (string | number)[]): Promise<T> {
    return this.#link.run(script, this.#seal.name, args, PATIENCE_MS)
  }
}

function unlessDown(error: unknown): undefined {
  if (!(error instanceof SharedDownError)) throw error
}

function issued({ value, lifetimeMs, issuedAt }: StoredToken, now: number): IssuedToken {
  return { value, lifetimeMs, ageMs: Math.max(0, now - issuedAt) }
}

/** Keys of one account: the sealed token, who logs in now, the last failure, until when no renewal may follow a 401. */
const KEYS = ['token', 'lock', 'failure', 'forced'] as const

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** Replies: Redis's time, the sealed token, the sealed failure (both empty if there is none). */
const READ = script(
  KEYS,
  (reply) =>
    Array.isArray(reply) && ['number', 'string', 'string'].every((type, at) => typeof reply[at] === type),
  `${NOW}
return { now, redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[3]) or '' }
`,
)

/**
 * Takes the lock, or keeps it, unless the token is no longer the one that was found to be stale. ARGV: owner, ms until the lock
 * ends by itself, the sealed token that was read, 1 if it is renewed after a 401.
 * Replies: 1 if this replica has the lock; 0 if another has it or there is a new token; -1 if a renewal after a 401 was made
 * just before.
 */
const LOCK = script(
  KEYS,
  Number.isInteger,
  `${NOW}
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[3] then return 0 end
local owner, ends = string.match(redis.call('GET', KEYS[2]) or '', '^(.*) (%d+)$')
if owner and owner ~= ARGV[1] and tonumber(ends) > now then return 0 end
if ARGV[4] == '1' and tonumber(redis.call('GET', KEYS[4]) or '0') > now then return -1 end
redis.call('SET', KEYS[2], string.format('%s %d', ARGV[1], now + ARGV[2]), 'PX', ARGV[2])
return 1
`,
)

/** Gives the lock back if this replica has it. */
const UNLOCK = `
local had_lock = string.match(redis.call('GET', KEYS[2]) or '', '^(.*) %d+$') == ARGV[1]
if had_lock then redis.call('DEL', KEYS[2]) end
`

/** ARGV: owner, sealed token, ms to keep it, ms for which no renewal after a 401 may follow (0: this is none). */
const STORE = script(
  KEYS,
  (reply) => reply === null,
  `${NOW} ${UNLOCK}
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local forced = tonumber(ARGV[4])
if forced > 0 then redis.call('SET', KEYS[4], string.format('%d', now + forced), 'PX', forced) end
`,
)

/** No replica waits for one without the lock, so its failure is its own. ARGV: owner, sealed failure, ms to keep it. */
const FAIL = script(
  KEYS,
  (reply) => reply === null,
  `${UNLOCK}
if had_lock then redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3]) end
`,
)

const IV_BYTES = 12
const TAG_BYTES = 16

/**
 * Encrypts and decrypts the data of one service account. Its name and its key can only be derived from the client
 * secret (HKDF-SHA256, RFC 5869).
 */
export function sealOf({ environment, clientId, clientSecret }: ServiceAccount) {
  const account = JSON.stringify([environment.loginUrl, clientId])
  const derive = (use: string, bytes: number) =>
    Buffer.from(hkdfSync('sha256', clientSecret.reveal(), account, `procore-proxy v1 ${use}`, bytes))
  const key = derive('token key', 32)
  const name = derive('token name', 16).toString('base64url')
  return {
    /** The account's name in Redis. Another secret gives another name, and neither reveals anything about the secret. */
    name,
    /** AES-256-GCM, in base64. */
    close: (data: unknown) => {
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(name))
      const sealed = Buffer.concat([cipher.update(JSON.stringify(data), 'utf8'), cipher.final()])
      return Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64')
    },
    /** Undefined if there is none, another secret sealed it, or the text was changed. */
    open: <T>(sealed: string): T | undefined => {
      const bytes = Buffer.from(sealed, 'base64')
      try {
        const options = { authTagLength: TAG_BYTES }
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), options)
          .setAAD(Buffer.from(name))
          .setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES))
        const text = decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES))
        return JSON.parse(Buffer.concat([text, decipher.final()]).toString('utf8')) as T
      } catch {
        return undefined
      }
    },
  }
}
