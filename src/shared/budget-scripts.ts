// The Lua scripts of the shared budget: one reserves, one settles. Redis runs each as one step.
import {
  FINDING_OUT_MS,
  MOST_BEFORE_A_RESPONSE,
  MOST_WINDOWS,
  SAME_WINDOW_MS,
  SHORTEST_WINDOW_MS,
} from '../forward/rate-windows.ts'
import { script } from './redis-link.ts'

/** A replica that waits keeps its turn for so long after it was told to ask again. */
const GRACE_MS = 250
/** Replicas that were not seen for so long no longer count, and are forgotten. */
const SEEN_MS = 300_000
const KEPT_MS = 7_200_000

/**
 * Keys of one budget. `state`: as JSON the highest turn so far, whether a response came (`asked`), until when callers count as
 * waiting (`waits`), the limit of the window to show, and by limit what each window has left, when it resets (0: unknown), its
 * length, when its counts start anew, and how many requests each caller sent. `flights`: reservations, whose names end with
 * their caller, and their deadlines. `turns`: waiting replicas by their next turn; `waiting`: until when each keeps it;
 * `served`: the turn after each one's last. `seen`: when each replica was seen last. All times are Redis's.
 */
const KEYS = ['state', 'flights', 'turns', 'waiting', 'served', 'seen'] as const

/** Reads the state and starts the windows anew that have ended. `finish` stores it and makes the reply. */
const STATE = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local STATE, FLIGHTS, TURNS, WAITING, SERVED, SEEN = unpack(KEYS)
local replica, hold = ARGV[1], tonumber(ARGV[2])
-- The first write needs memory: after one that needs none, Redis lets a script write although it is full.
redis.call('ZADD', SEEN, now, replica)
local state = cjson.decode(redis.call('GET', STATE) or '{"turn":0,"windows":{}}')
local windows = state.windows

local function caller_of(id)
  return string.match(id, '[^.]*$')
end

-- How many of the requests in flight each caller has sent after that.
local function sent_since(since)
  local sent = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', FLIGHTS, '(' .. since + hold, '+inf')) do
    local caller = caller_of(id)
    sent[caller] = (sent[caller] or 0) + 1
  end
  return sent
end

local function window_of(left, resets, length)
  return { left = left, resets = resets, length = length, counts = now + length, sent = sent_since(0) }
end

-- Begins to count anew, with the requests in flight that the window may already contain, since it began then.
local function restart(w, began)
  w.counts = now + w.length
  w.sent = sent_since(began - ${SAME_WINDOW_MS})
end

for limit, w in pairs(windows) do
  if w.resets == 0 then
    if w.length > 0 and now >= w.counts then restart(w, w.counts) end
  elseif now >= w.resets and limit == '0' then
    windows[limit] = nil
  elseif now >= w.resets then
    w.left = tonumber(limit)
    restart(w, w.resets)
    w.resets = 0
  end
end

-- Until when no request may go; 0 if some may.
local function used_up_until()
  local till = 0
  for _, w in pairs(windows) do
    if w.left <= 0 then till = math.max(till, w.resets) end
  end
  return till
end

local function finish(...)
  redis.call('SET', STATE, cjson.encode(state))
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', SEEN, '-inf', now - ${SEEN_MS})) do
    redis.call('ZREM', SEEN, gone)
    redis.call('HDEL', SERVED, gone)
  end
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ${KEPT_MS}) end
  local replicas = redis.call('ZCARD', SEEN)
  local w = state.shown and windows[state.shown]
  local used_up = math.max(0, used_up_until() - now)
  if not w then return { now, replicas, used_up, -1, -1, -1, ... } end
  return { now, replicas, used_up, tonumber(state.shown), w.left, w.resets == 0 and -1 or w.resets - now, ... }
end
`

const isNumbers = (reply: unknown) => Array.isArray(reply) && reply.every(Number.isInteger)

/**
 * Reserves for as many of the given requests as may go. ARGV: replica, ms until a reservation ends by itself, then for
 * each request: id, which ends with the caller, and share (empty for none).
 * Replies: Redis's time, replicas, ms for which the budget is used up, limit, left, ms to the reset (-1 for unknown), ms to wait
 * until the next attempt (0: none is needed; -1: soon), then for each request 1 (go), 0 (wait), or minus the ms for which its caller's share is used up.
 */
export const RESERVE = script(
  KEYS,
  isNumbers,
  `${STATE}
redis.call('ZREMRANGEBYSCORE', FLIGHTS, '-inf', now)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', WAITING, '-inf', now)) do
  redis.call('ZREM', WAITING, gone)
  redis.call('ZREM', TURNS, gone)
end

-- How many may go, and until when none may.
local flights = redis.call('ZCARD', FLIGHTS)
local free, till = 1e9, used_up_until()
local finding_out, in_flight = {}, {}
if not state.asked then
  local part = math.ceil(${MOST_BEFORE_A_RESPONSE} / redis.call('ZCARD', SEEN))
  finding_out, in_flight = sent_since(now - ${FINDING_OUT_MS}), sent_since(0)
  free = ${MOST_BEFORE_A_RESPONSE}
  for _, sent in pairs(finding_out) do free = free - sent end
  free = math.min(part, free)
end
for _, w in pairs(windows) do
  local rest = w.left - flights
  -- If nothing says when the window starts anew, one request at a time finds out.
  if rest < 1 then rest = (flights > 0 or (w.left <= 0 and w.resets > 0)) and 0 or 1 end
  free = math.min(free, rest)
end

-- Waiting replicas take turns: each has a number that grows with every reservation, and the lowest goes first. What a
-- replica does not want after all is there for the others as soon as it has asked.
local mine = redis.call('ZSCORE', TURNS, replica)
mine = tonumber(mine or math.max(state.turn, tonumber(redis.call('HGET', SERVED, replica) or 0)))
local others = free > 0 and redis.call('ZRANGE', TURNS, 0, math.min(free, 1000), 'WITHSCORES') or {}
local function kept_for_others()
  local kept = 0
  for i = 1, #others, 2 do
    local before = mine - tonumber(others[i + 1])
    if others[i] < replica then before = before + 1 end
    if others[i] ~= replica then kept = kept + math.max(0, before) end
  end
  return kept
end

local pause = till > now and till - now or -1
local waits = state.waits or {}
state.waits = waits
for caller, ends in pairs(waits) do
  if ends <= now then waits[caller] = nil end
end

local function has_others(counts, caller)
  for other in pairs(counts) do
    if other ~= caller then return true end
  end
  return false
end

-- Whether a caller may use more than its share, and if not, for how long; 0 if that depends on what others do.
local function judge_share(caller, share)
  if not share then return true, 0 end
  local others_wait = has_others(waits, caller)
  -- Before the first response a share may be any number of requests, so one a second is sent.
  local may = not (finding_out[caller] and (others_wait or has_others(in_flight, caller)))
  local wait = 0
  for limit, w in pairs(windows) do
    local rest = (w.resets > 0 and w.resets or w.counts) - now
    -- A window without a known end has no share: its counts would never begin anew.
    if limit ~= '0' and rest > 0 and (w.sent[caller] or 0) >= math.max(1, math.floor(share * limit)) then
      if has_others(w.sent, caller) then wait = math.max(wait, rest) end
      may = may and not others_wait
    end
  end
  return may, wait
end

local results, granted, behind, short = {}, 0, false, false
for i = 3, #ARGV, 2 do
  local id, share = ARGV[i], tonumber(ARGV[i + 1])
  local caller = caller_of(id)
  local may, held = judge_share(caller, share)
  if held > 0 then
    results[#results + 1] = -held
  elseif may and not behind and kept_for_others() < free - granted then
    granted = granted + 1
    state.turn = math.max(state.turn, mine)
    mine = mine + 1
    redis.call('ZADD', FLIGHTS, now + hold, replica .. '.' .. id)
    if not state.asked then
      finding_out[caller] = 1
      in_flight[caller] = in_flight[caller] or 1
    end
    for _, w in pairs(windows) do w.sent[caller] = (w.sent[caller] or 0) + 1 end
    results[#results + 1] = 1
  else
    behind, short = behind or may, true
    waits[caller] = now + math.max(pause, 0) + ${GRACE_MS}
    results[#results + 1] = 0
  end
end

if behind then
  redis.call('ZADD', TURNS, mine, replica)
  redis.call('ZADD', WAITING, now + math.max(pause, 0) + ${GRACE_MS}, replica)
else
  redis.call('ZREM', TURNS, replica)
  redis.call('ZREM', WAITING, replica)
end
if granted > 0 then redis.call('HSET', SERVED, replica, mine) end
return finish(short and pause or 0, unpack(results))
`,
)

/**
 * Ends a reservation and learns from its response. ARGV: replica, ms until a reservation ends by itself, the reservation's id
 * (empty for none), limit and remaining (empty for none), ms to the reset (empty for unknown), ms to wait after a 429 of the
 * whole budget (empty for none), 1 if the response's request counts in the other windows too, the ids of other reservations
 * that end.
 * Replies: Redis's time, replicas, ms for which the budget is used up, limit, left, ms to the reset (-1 for unknown).
 */
export const SETTLE = script(
  KEYS,
  isNumbers,
  `${STATE}
local flight, limit, remaining = replica .. '.' .. ARGV[3], ARGV[4], tonumber(ARGV[5])
local reset_in, asked_ms, counts = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8] == '1'
if counts then state.asked = true end

-- Who has called in a window that ends earlier, or just now, has called in the new one too, as a rule. One that ends at the same
-- time is the same, but its limit has been changed in the meantime. Of too many windows none is kept.
local function discover(resets)
  local new, size = window_of(remaining, resets, reset_in or 0), 0
  for other, known in pairs(windows) do
    size = size + 1
    local later = resets > 0 and known.resets > 0 and resets - known.resets or -1e9
    if later >= -${SAME_WINDOW_MS} or known.counts - known.length > now - ${SHORTEST_WINDOW_MS} then
      for caller, sent in pairs(known.sent) do new.sent[caller] = math.max(sent, new.sent[caller] or 0) end
    end
    if other ~= '0' and math.abs(later) <= ${SAME_WINDOW_MS} then windows[other] = nil end
  end
  if size >= ${MOST_WINDOWS} then
    windows = {}
    state.windows = windows
  end
  windows[limit] = new
end

local function learn()
  local resets = reset_in and now + reset_in or 0
  for other, w in pairs(windows) do
    if counts and other ~= limit then
      w.left = math.max(0, w.left - 1)
      if w.left == 0 and w.resets == 0 then windows[other] = nil end
    end
  end
  local w = windows[limit]
  if not w then
    discover(resets)
    return
  end
  local begins = resets > 0 and (w.resets == 0 or resets > w.resets + ${SAME_WINDOW_MS})
  local past = resets > 0 and not begins and resets < w.resets - ${SAME_WINDOW_MS}
  if past or reset_in == 0 then return end
  if begins then
    if w.resets > 0 then restart(w, (redis.call('ZSCORE', FLIGHTS, flight) or now + hold) - hold) end
    w.resets = resets
    w.length = math.max(w.length, reset_in)
  end
  w.left = (begins or resets == 0) and remaining or math.min(w.left, remaining)
end

if limit ~= '' and remaining then
  learn()
  state.shown = limit
end
if asked_ms then
  local used_up = limit == '' and '0' or limit
  windows[used_up] = windows[used_up] or window_of(0, 0, 0)
  windows[used_up].left = 0
  windows[used_up].resets = math.max(windows[used_up].resets, now + asked_ms)
end
redis.call('ZREM', FLIGHTS, flight)
for i = 9, #ARGV do redis.call('ZREM', FLIGHTS, replica .. '.' .. ARGV[i]) end
return finish()
`,
)
