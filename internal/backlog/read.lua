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
