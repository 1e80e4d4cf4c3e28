// The Lua scripts of the shared budget: one reserves, one settles. Redis runs each as one step.
import { MOST_BEFORE_A_RESPONSE, MOST_WINDOWS, SAME_WINDOW_MS } from '../forward/rate-windows.ts'
import { type Script, script } from './redis-link.ts'

/** A replica that waits keeps its turn for so long after it was told to ask again. */
const GRACE_MS = 250
/** Replicas that were not seen for so long no longer count. */
const SEEN_MS = 300_000
const KEPT_MS = 7_200_000

/**
 * Keys of one budget. `windows`: by limit what is left, when it resets (0: unknown), its length, and when its counts start
 * anew. `flights`: reservations and their deadlines. `sent`: requests by window and caller. `turns`: waiting replicas by
 * their next turn; `waiting`: until when each keeps it; `served`: the turn after each one's last.
 * `seen`: when each replica was seen last. All times are Redis's.
 */
export const BUDGET_KEYS = ['windows', 'flights', 'sent', 'turns', 'waiting', 'served', 'seen'] as const

const WINDOWS = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local WINDOWS, FLIGHTS, SENT, TURNS, WAITING, SERVED, SEEN = unpack(KEYS)
local replica = ARGV[1]

local windows, meta = {}, {}
local stored = redis.call('HGETALL', WINDOWS)
for i = 1, #stored, 2 do
  local limit = tonumber(stored[i])
  if limit then
    local left, resets, length, counts = string.match(stored[i + 1], '^(%d+) (%d+) (%d+) (%d+)$')
    windows[limit] = { left = tonumber(left), resets = tonumber(resets), length = tonumber(length), counts = tonumber(counts) }
  else
    meta[stored[i]] = stored[i + 1]
  end
end

local function save(limit)
  local w = windows[limit]
  if w then
    redis.call('HSET', WINDOWS, limit, string.format('%d %d %d %d', w.left, w.resets, w.length, w.counts))
  else
    redis.call('HDEL', WINDOWS, limit)
  end
end

local function restart(limit)
  local w = windows[limit]
  w.counts = now + w.length
  local prefix = limit .. ':'
  for _, field in ipairs(redis.call('HKEYS', SENT)) do
    if string.sub(field, 1, #prefix) == prefix then redis.call('HDEL', SENT, field) end
  end
end

local function renew(limit)
  local w = windows[limit]
  if w.resets == 0 then
    if w.length > 0 and now >= w.counts then
      restart(limit)
      save(limit)
    end
  elseif now >= w.resets then
    if limit == 0 then
      windows[0] = nil
    else
      w.left = limit
      w.resets = 0
      restart(limit)
    end
    save(limit)
  end
end

local function renew_all()
  local limits = {}
  for limit in pairs(windows) do limits[#limits + 1] = limit end
  for _, limit in ipairs(limits) do renew(limit) end
end

local function keep()
  redis.call('ZADD', SEEN, now, replica)
  redis.call('ZREMRANGEBYSCORE', SEEN, '-inf', now - ${SEEN_MS})
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ${KEPT_MS}) end
  return redis.call('ZCARD', SEEN)
end

local function shown()
  local limit = tonumber(meta.shown or '')
  local w = limit and windows[limit]
  if not w then return -1, -1, -1 end
  return limit, w.left, w.resets == 0 and -1 or w.resets - now
end
`

/**
 * Reserves for as many of the given requests as may go. ARGV: replica, ms until a reservation ends by itself, then for
 * each request: id, caller, share (empty for none).
 * Replies: Redis's time, replicas, limit, left, ms to the reset (-1 for unknown), ms to wait until the next attempt (0: none
 * is needed; -1: soon), then for each request 1 (go), 0 (wait), or minus the ms for which its caller's share is used up.
 */
export const RESERVE: Script = script(`${WINDOWS}
redis.call('ZREMRANGEBYSCORE', FLIGHTS, '-inf', now)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', WAITING, '-inf', now)) do
  redis.call('ZREM', WAITING, gone)
  redis.call('ZREM', TURNS, gone)
end
renew_all()

-- How many may go, and until when none may.
local flights = redis.call('ZCARD', FLIGHTS)
local free, till = 1e9, 0
if not meta.asked then
  local part = math.ceil(${MOST_BEFORE_A_RESPONSE} / math.max(1, redis.call('ZCARD', SEEN)))
  free = math.max(0, math.min(part, ${MOST_BEFORE_A_RESPONSE} - flights))
end
for limit, w in pairs(windows) do
  local rest = w.left - flights
  if rest < 1 then
    if w.left <= 0 and w.resets > 0 then
      till = math.max(till, w.resets)
      rest = 0
    else
      -- Nothing says when the window starts anew: one request at a time finds out.
      rest = flights > 0 and 0 or 1
    end
  end
  free = math.min(free, rest)
end

-- Waiting replicas take turns: each has a number that grows with every reservation, and the lowest goes first. What a
-- replica does not want after all is there for the others as soon as it has asked.
local turn = tonumber(meta.turn or '0')
local mine = tonumber(redis.call('ZSCORE', TURNS, replica) or math.max(turn, tonumber(redis.call('HGET', SERVED, replica) or '0')))
local others = {}
if free > 0 then
  local found = redis.call('ZRANGE', TURNS, 0, math.min(free, 1000), 'WITHSCORES')
  for i = 1, #found, 2 do
    if found[i] ~= replica then
      others[#others + 1] = { name = found[i], turn = tonumber(found[i + 1]) }
    end
  end
end
local function kept_for_others()
  local kept = 0
  for _, other in ipairs(others) do
    local before = mine - other.turn
    if before >= 0 and other.name < replica then before = before + 1 end
    kept = kept + math.max(0, before)
  end
  return kept
end

local function wait_for_share(caller, share)
  local wait = 0
  for limit, w in pairs(windows) do
    if limit > 0 then
      local field = limit .. ':' .. caller
      if redis.call('HSETNX', SENT, field, 0) == 1 then redis.call('HINCRBY', SENT, limit .. ':', 1) end
      local sent = tonumber(redis.call('HGET', SENT, field))
      local callers = tonumber(redis.call('HGET', SENT, limit .. ':') or '1')
      if share and callers > 1 and sent >= math.max(1, math.floor(share * limit)) then
        wait = math.max(wait, (w.resets > 0 and w.resets or w.counts) - now)
      end
    end
  end
  return wait
end

local results, granted, behind = {}, 0, false
for i = 3, #ARGV, 3 do
  local id, caller, share = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local held = caller ~= '' and wait_for_share(caller, share) or 0
  if held > 0 then
    results[#results + 1] = -held
  elseif free - granted >= 1 and not behind and kept_for_others() < free - granted then
    granted = granted + 1
    turn = math.max(turn, mine)
    mine = mine + 1
    redis.call('ZADD', FLIGHTS, now + tonumber(ARGV[2]), id)
    if caller ~= '' then
      for limit in pairs(windows) do
        if limit > 0 then redis.call('HINCRBY', SENT, limit .. ':' .. caller, 1) end
      end
    end
    results[#results + 1] = 1
  else
    behind = true
    results[#results + 1] = 0
  end
end

local wait = 0
if behind then wait = till > now and till - now or -1 end
if behind then
  redis.call('ZADD', TURNS, mine, replica)
  redis.call('ZADD', WAITING, now + math.max(wait, 0) + ${GRACE_MS}, replica)
else
  redis.call('ZREM', TURNS, replica)
  redis.call('ZREM', WAITING, replica)
end
if granted > 0 then
  redis.call('HSET', SERVED, replica, mine)
  redis.call('HSET', WINDOWS, 'turn', turn)
end
local replicas = keep()
local limit, left, resets = shown()
return { now, replicas, limit, left, resets, wait, unpack(results) }
`)

/**
 * Ends a reservation and learns from its response. ARGV: replica, the reservation's id (empty for none), limit and
 * remaining (empty for none), ms to the reset (empty for unknown), ms to wait after a 429 of the whole budget (empty for
 * none), 1 if the response's request counts in the other windows too.
 * Replies: Redis's time, replicas, limit, left, ms to the reset (-1 for unknown).
 */
export const SETTLE: Script = script(`${WINDOWS}
local id, limit, remaining = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local reset_in, asked_ms, counts = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
if id ~= '' then redis.call('ZREM', FLIGHTS, id) end
renew_all()
if counts and not meta.asked then redis.call('HSET', WINDOWS, 'asked', 1) end

local function learn()
  local resets = reset_in and now + reset_in or 0
  for other, w in pairs(windows) do
    if counts and other ~= limit then
      w.left = math.max(0, w.left - 1)
      if w.left == 0 and w.resets == 0 then windows[other] = nil end
      save(other)
    end
  end
  local w = windows[limit]
  if not w then
    local size = 0
    for other, known in pairs(windows) do
      size = size + 1
      if other ~= 0 and resets > 0 and known.resets > 0 and math.abs(known.resets - resets) <= ${SAME_WINDOW_MS} then
        windows[other] = nil
        save(other)
      end
    end
    if size >= ${MOST_WINDOWS} then
      redis.call('DEL', WINDOWS, SENT)
      redis.call('HSET', WINDOWS, 'asked', 1, 'turn', meta.turn or 0)
    end
    windows[limit] = { left = remaining, resets = resets, length = reset_in or 0, counts = now + (reset_in or 0) }
    return
  end
  local begins = resets > 0 and (w.resets == 0 or resets > w.resets + ${SAME_WINDOW_MS})
  local past = resets > 0 and not begins and resets < w.resets - ${SAME_WINDOW_MS}
  if past or reset_in == 0 then return end
  if begins then
    if w.resets > 0 then restart(limit) end
    w.resets = resets
    w.length = math.max(w.length, reset_in)
  end
  w.left = (begins or resets == 0) and remaining or math.min(w.left, remaining)
end

if limit and remaining then
  learn()
  save(limit)
  meta.shown = tostring(limit)
  redis.call('HSET', WINDOWS, 'shown', limit)
end
if asked_ms then
  local used_up = limit or 0
  local w = windows[used_up] or { left = 0, resets = 0, length = 0, counts = 0 }
  w.left = 0
  w.resets = math.max(w.resets, now + asked_ms)
  windows[used_up] = w
  save(used_up)
end
local replicas = keep()
local shown_limit, left, resets = shown()
return { now, replicas, shown_limit, left, resets }
`)
