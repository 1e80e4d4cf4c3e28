// Shares token requests between replicas: one asks the login server, and the others read the token, encrypted, from Redis.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { IssuedToken } from '../auth/request-token.ts'
import { TokenFailure } from '../auth/request-token.ts'
import { RENEW_AFTER, type RequestToken, type TokenRequest } from '../auth/token-source.ts'
import type { ServiceAccount } from '../config/config.ts'
import { type Link, type Script, SharedDownError, script } from './redis-link.ts'

/** A token request takes ten seconds at most; a lock whose owner died ends soon after. */
const LOCK_MS = 12_000
/** After a 401, all replicas together renew once in this time. */
const FORCED_INTERVAL_MS = 60_000
const POLL_MS = 100
/** Replicas that waited for a failed request share its failure. */
const FAILURE_MS = 5_000

/** `issuedAt` is by Redis's clock. */
type StoredToken = Readonly<{ value: string; lifetimeMs: number; issuedAt: number }>
/** `at` is by Redis's clock. */
type StoredFailure = Pick<TokenFailure, 'reason' | 'message' | 'retryAfterMs'> & Readonly<{ at: number }>

/** Makes token requests through Redis. If that does not work, acts as if the replica were alone. */
export function shareTokens(request: RequestToken, link: Link): RequestToken {
  return async (asked) => {
    try {
      return await new Exchange(request, asked, link).token()
    } catch (error) {
      if (error instanceof SharedDownError) return request(asked)
      throw error
    }
  }
}

/** One replica's request for one token. */
class Exchange {
  readonly #request: RequestToken
  readonly #asked: TokenRequest
  readonly #link: Link
  readonly #seal: ReturnType<typeof sealOf>
  readonly #startedAt = performance.now()

  constructor(request: RequestToken, asked: TokenRequest, link: Link) {
    this.#request = request
    this.#asked = asked
    this.#link = link
    this.#seal = sealOf(asked.account)
  }

  async token(): Promise<IssuedToken> {
    const { refused, signal } = this.#asked
    let since: number | undefined
    for (;;) {
      const [now, sealed, failed] = await this.#run<[number, string, string]>(READ)
      since ??= now
      const stored = this.#seal.open<StoredToken>(sealed)
      const isFresh = stored !== undefined && now < stored.issuedAt + stored.lifetimeMs * RENEW_AFTER
      const isRefused = stored?.value === refused
      if (isFresh && !isRefused) return issued(stored, now)
      const failure = this.#seal.open<StoredFailure>(failed)
      if (failure !== undefined && failure.at >= since) {
        throw new TokenFailure(failure.reason, failure.message, failure)
      }
      const forcedMs = isFresh ? FORCED_INTERVAL_MS : 0
      const fence = await this.#run<number>(LOCK, LOCK_MS, sealed, forcedMs)
      if (fence > 0) return this.#logIn(fence, now)
      // The 401 that this token causes then reaches the caller.
      if (fence < 0 && stored !== undefined) return issued(stored, now)
      await new Promise((resolve) => void setTimeout(resolve, POLL_MS * (0.75 + Math.random() / 2)))
      signal.throwIfAborted()
    }
  }

  async #logIn(fence: number, now: number): Promise<IssuedToken> {
    try {
      const token = await this.#request(this.#asked)
      const { value, lifetimeMs } = token
      await this.#store(fence, { value, lifetimeMs, issuedAt: now }, lifetimeMs)
      return token
    } catch (error) {
      if (error instanceof TokenFailure) {
        const { reason, message, retryAfterMs } = error
        // By the time it began, so that those who came meanwhile share it, and those who come later try again.
        const at = now + Math.ceil(performance.now() - this.#startedAt)
        await this.#store(fence, { reason, message, retryAfterMs, at }, FAILURE_MS)
      }
      throw error
    }
  }

  /** What Redis can't keep, others have to ask for themselves. */
  async #store(fence: number, what: StoredToken | StoredFailure, keepMs: number): Promise<void> {
    const kind = 'value' in what ? 'token' : 'failure'
    const args = [fence, this.#seal.close(what), Math.max(1, Math.floor(keepMs)), kind]
    await this.#run(STORE, ...args).catch(() => {})
  }

  #run<T>(script: Script, ...args: (string | number)[]): Promise<T> {
    return this.#link.run(script, this.#seal.name, args)
  }
}

function issued({ value, lifetimeMs, issuedAt }: StoredToken, now: number): IssuedToken {
  return { value, lifetimeMs, ageMs: Math.max(0, now - issuedAt) }
}

/** Keys of one account: the sealed token, who logs in now, the last fencing number, the last failure, renewals after a 401. */
const KEYS = ['token', 'lock', 'fence', 'failure', 'forced'] as const

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** Replies: Redis's time, the sealed token, the sealed failure (both empty if there is none). */
const READ = script(
  KEYS,
  `${NOW}
return { now, redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[4]) or '' }
`,
)

/**
 * Takes the lock, unless the token is no longer the one that was found to be stale. ARGV: owner, ms until the lock ends by
 * itself, the sealed token that was read, ms for which no other renewal after a 401 may follow (0: this is none).
 * Replies: the fencing number; 0 if another replica holds the lock or there is a new token; -1 if a renewal after a
 * 401 was made just before.
 */
const LOCK = script(
  KEYS,
  `${NOW}
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[3] then return 0 end
local locked = string.match(redis.call('GET', KEYS[2]) or '', ' (%d+)$')
if locked and tonumber(locked) > now then return 0 end
local forced = tonumber(ARGV[4])
if forced > 0 then
  if tonumber(redis.call('GET', KEYS[5]) or '0') > now then return -1 end
  redis.call('SET', KEYS[5], string.format('%d', now + forced), 'PX', forced)
end
redis.call('SET', KEYS[2], string.format('%s %d', ARGV[1], now + ARGV[2]), 'PX', ARGV[2])
local fence = redis.call('INCR', KEYS[3])
redis.call('PEXPIRE', KEYS[3], 86400000)
return fence
`,
)

/**
 * Stores a token or a failure, if no replica has taken the lock since, and gives the lock back. ARGV: owner, fencing
 * number, sealed text, ms to keep it, 'token' or 'failure'.
 */
const STORE = script(
  KEYS,
  `
local owner = string.match(redis.call('GET', KEYS[2]) or '', '^(.*) %d+$')
if owner == ARGV[1] then redis.call('DEL', KEYS[2]) end
if redis.call('GET', KEYS[3]) ~= ARGV[2] then return end
if ARGV[5] == 'token' then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
  redis.call('DEL', KEYS[4])
else
  redis.call('SET', KEYS[4], ARGV[3], 'PX', ARGV[4])
end
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
