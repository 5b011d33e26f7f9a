#!lua flags=allow-oom
local LEAD, HORIZON, CAP, LAG, SLACK, INCREASE, REFUSAL_PAUSE = 2000, 100000, 100000, 150000, 9000, 0.02, 1000000
-- effective_rate returns how many messages a second a number may send now, how many it may send when Meta
-- refused nothing lately (the full rate), and a time before which it may send none. It is put in front of
-- the scripts that need it.
-- The hash has what was learned and set at run time: 'order' (a rate that replaces the configured one),
-- 'level' (what Meta lets the number send, where the configuration leaves that to Meta), 'ramp_from',
-- 'ramp_at', 'ramp_us' (an even increase to that rate), 'cut' and 'cut_at' (the rate after the last refusal,
-- and when it was), 'ceiling' (the rate at that refusal), 'pause', 'probe' (until when the number sends one
-- message a second). Times are microseconds of this node's clock. After a refusal the rate regains a fixed
-- share of the full rate each second.
local function effective_rate(key, configured, now)
  local p = redis.call('HMGET', key, 'order', 'ramp_from', 'ramp_at', 'ramp_us', 'cut', 'cut_at', 'pause', 'probe', 'level')
  local rate = tonumber(p[1] or p[9] or configured)
  if p[2] then
    local done = (now - p[3]) / p[4]
    if done < 1 then rate = math.max(1, p[2] + (rate - p[2]) * math.max(done, 0)) end
  end
  local full = rate
  if p[5] then
    rate = math.min(full, p[5] + full * INCREASE * math.max(now - p[6], 0) / 1000000)
  end
  if p[8] and now < tonumber(p[8]) then rate = 1 end
  return math.max(rate, 1), full, tonumber(p[7] or 0)
end
-- Halves the effective rate of a number after Meta refused a message because the number was too fast, and
-- stores the rate at which that was. Refusals within one second count once.
-- KEYS  rate, index of rates
-- ARGV  configured rate, number
-- Reply 1 when the rate was halved, 0 when it was halved a moment ago
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rate, _, pause = effective_rate(KEYS[1], tonumber(ARGV[1]), now)
local last = redis.call('HGET', KEYS[1], 'cut_at')
if last and now - last < REFUSAL_PAUSE then return 0 end
local us = function(v) return string.format('%.0f', v) end
redis.call('HSET', KEYS[1], 'cut', math.max(rate / 2, 1), 'cut_at', us(now + REFUSAL_PAUSE), 'ceiling', math.floor(rate),
  'pause', us(math.max(pause, now + REFUSAL_PAUSE)))
redis.call('SADD', KEYS[2], ARGV[2])
return 1
