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
-- Takes n slots off a number's send schedule for messages that it received: they count against its
-- throughput at Meta too. However many they are, the end of the schedule is no further ahead than the given time.
-- KEYS  send schedule, rate
-- ARGV  configured rate, n, furthest us
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rate = effective_rate(KEYS[2], tonumber(ARGV[1]), now)
local T = math.ceil((1000000 + SLACK) / rate)
local tat = math.max(tonumber(redis.call('HGET', KEYS[1], 'tat') or 0), now)
tat = math.max(tat, math.min(tat + ARGV[2] * T, now + ARGV[3]))
redis.call('HSET', KEYS[1], 'tat', string.format('%.0f', tat))
return 1
