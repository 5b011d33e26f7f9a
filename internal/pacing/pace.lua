-- pace returns how many messages a second a number may send now, how many it may when nothing
-- was refused lately, and a time before which it may send none. It goes in front of scripts
-- that need it.
-- The hash holds what was learned and ordered at run time: 'order' (a rate that stands for the
-- configured one), 'level' (what Meta lets the number send, where the configuration leaves that
-- to Meta), 'ramp_from', 'ramp_at', 'ramp_us' (a climb to that rate), 'cut' and 'cut_at'
-- (the pace that a refusal left us, and when), 'ceiling' (the pace at that refusal), 'pause'.
-- 'probe' (until when one message a second has to do). Times are microseconds of this node's clock.
-- After a refusal the pace climbs back by a fixed share of the full rate each second.
local function pace(key, configured, now, climb)
  local p = redis.call('HMGET', key, 'order', 'ramp_from', 'ramp_at', 'ramp_us', 'cut', 'cut_at', 'pause', 'probe', 'level')
  local rate = tonumber(p[1] or p[9] or configured)
  if p[2] then
    local done = (now - p[3]) / p[4]
    if done < 1 then rate = math.max(1, p[2] + (rate - p[2]) * math.max(done, 0)) end
  end
  local full = rate
  if p[5] then
    rate = math.min(full, p[5] + full * climb * math.max(now - p[6], 0) / 1000000)
  end
  if p[8] and now < tonumber(p[8]) then rate = 1 end
  return math.max(rate, 1), full, tonumber(p[7] or 0)
end
