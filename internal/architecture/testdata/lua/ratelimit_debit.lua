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
