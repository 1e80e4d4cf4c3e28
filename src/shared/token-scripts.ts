// The Lua scripts of shared tokens: read and lock in one step, store, and release the lock.
import { type Script, script } from './redis-link.ts'

/** Keys of one account: the sealed token, who logs in now, the last fencing number, the last failure, renewals after a 401. */
export const TOKEN_KEYS = ['token', 'lock', 'fence', 'failure', 'forced'] as const

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** Replies: Redis's time, the sealed token, the sealed failure (both empty if there is none). */
export const READ: Script = script(`${NOW}
return { now, redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[4]) or '' }
`)

/**
 * Takes the lock, unless the token is no longer the one that was found to be stale. ARGV: owner, ms until the lock ends by
 * itself, the sealed token that was read, ms for which no other renewal after a 401 may follow (0: this is none).
 * Replies: the fencing number; 0 if another replica holds the lock or there is a new token; -1 if a renewal after a
 * 401 was made just before.
 */
export const LOCK: Script = script(`${NOW}
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
`)

/**
 * Stores a token or a failure, if no replica has taken the lock since, and gives the lock back. ARGV: owner, fencing
 * number, sealed text, ms to keep it, 'token' or 'failure'. Replies: 1 if it was stored.
 */
export const STORE: Script = script(`
local owner = string.match(redis.call('GET', KEYS[2]) or '', '^(.*) %d+$')
if owner == ARGV[1] then redis.call('DEL', KEYS[2]) end
if redis.call('GET', KEYS[3]) ~= ARGV[2] then return 0 end
if ARGV[5] == 'token' then
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
  redis.call('DEL', KEYS[4])
else
  redis.call('SET', KEYS[4], ARGV[3], 'PX', ARGV[4])
end
return 1
`)
