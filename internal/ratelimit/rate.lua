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
