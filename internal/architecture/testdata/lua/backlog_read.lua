#!lua flags=allow-oom
local LEAD, HORIZON, CAP, LAG, SLACK, INCREASE, REFUSAL_PAUSE, CLOCK_SET = 2000, 100000, 100000, 150000, 9000, 0.02, 1000000, 5000000
-- effective_rate returns how many messages a second a number may send now, how many it may send when Meta
-- refused nothing lately (the full rate), and a time before which it may send none. It is put in front of
-- the scripts that need it.
-- The hash has what was learned and set at run time: 'order' (a rate that replaces the configured one),
-- 'level' (what Meta lets the number send, where the configuration leaves that to Meta), 'ramp_from',
-- 'ramp_at', 'ramp_us' (an even increase to that rate), 'cut' and 'cut_at' (the rate after the last refusal,
-- and when it was), 'ceiling' (the rate at that refusal), 'pause' (until when the number sends nothing),
-- 'probe' (until when it sends one message a second, if Meta does not answer before), 'probe_status' (the
-- same, if Meta does not report a message as sent before), and of each of these three <name>_at, when it was
-- set. Times are microseconds of this node's clock. After a refusal the rate regains a fixed share of the
-- full rate each second. What was set more than CLOCK_SET ahead of now is from before the clock was set back:
-- it does not apply.
local function effective_rate(key, configured, now)
  local p = redis.call('HMGET', key, 'order', 'level', 'ramp_from', 'ramp_at', 'ramp_us', 'cut', 'cut_at',
    'pause', 'pause_at', 'probe', 'probe_at', 'probe_status', 'probe_status_at')
  -- ends returns when the one of the three at a place in p ends.
  local function ends(i)
    if tonumber(p[i + 1] or 0) > now + CLOCK_SET then return 0 end
    return tonumber(p[i] or 0)
  end
  local rate = tonumber(p[1] or p[2] or configured)
  if p[3] then
    local done = (now - p[4]) / p[5]
    if done < 1 then rate = math.max(1, p[3] + (rate - p[3]) * math.max(done, 0)) end
  end
  local full = rate
  if p[6] and tonumber(p[7]) <= now + REFUSAL_PAUSE + CLOCK_SET then
    rate = math.min(full, p[6] + full * INCREASE * math.max(now - p[7], 0) / 1000000)
  end
  if now < math.max(ends(10), ends(12)) then rate = 1 end
  return math.max(rate, 1), full, ends(8)
end
-- Returns how fast a number sends and what waits for it. Of a number without work it returns only the rate:
-- there may be thousands.
-- KEYS  rate, index of work; then for each class: pending, paused, scheduled, retry, active, processed
-- ARGV  configured rate, number; then for each class the prefix of its task keys
-- Reply {rate, full rate, rate set at run time (0: none), end of the ramp us, ceiling, pause us, then for
--       each class: pending, paused, delayed, active, done, since when the oldest pending one waits ns}
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rate, full, pause = effective_rate(KEYS[1], tonumber(ARGV[1]), now)
local p = redis.call('HMGET', KEYS[1], 'order', 'ramp_at', 'ramp_us', 'ceiling')
local us = function(v) return string.format('%.0f', v) end
local reply = {tostring(rate), tostring(full), p[1] or '0', us(p[2] and p[2] + p[3] or 0), p[4] or '0', us(pause)}
local function add(v) reply[#reply + 1] = tostring(v) end

-- oldest reads the 1st, 2nd, 4th, 8th ... place from the head: what comes again goes to the
-- head and counts from then, so the one that waits longest may be behind hundreds of those.
local function oldest(pending, task)
  local least = 0
  for i = 0, 12 do
    local id = redis.call('LINDEX', pending, -(2 ^ i))
    if not id then break end
    local since = tonumber(redis.call('HGET', task .. id, 'pending_since') or 0)
    if since > 0 and (least == 0 or since < least) then least = since end
  end
  return us(least)
end

-- waiting is how many tasks of a class wait for their recipients: of the 20 recipients that are next. To
-- read all would keep others from Redis, and one recipient is the usual case.
local waits = string.gsub(KEYS[1], ':pace:', ':waits:', 1)
local recipients = redis.call('ZRANGE', waits, 0, 19)
local function waiting(c)
  local n = 0
  for _, r in ipairs(recipients) do
    n = n + redis.call('ZCOUNT', waits .. ':' .. r, us(c * 2 ^ 51), '(' .. us((c + 1) * 2 ^ 51))
  end
  return n
end

if redis.call('SISMEMBER', KEYS[2], ARGV[2]) == 0 then return reply end
for c = 0, (#KEYS - 2) / 6 - 1 do
  local k = 3 + c * 6
  add(redis.call('LLEN', KEYS[k]))
  add(redis.call('EXISTS', KEYS[k + 1]))
  add(redis.call('ZCARD', KEYS[k + 2]) + redis.call('ZCARD', KEYS[k + 3]) + waiting(c))
  add(redis.call('LLEN', KEYS[k + 4]))
  add(redis.call('GET', KEYS[k + 5]) or 0)
  add(oldest(KEYS[k], ARGV[3 + c]))
end
return reply
