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
-- slots books send slots on a number's send schedule. It is put in front of the scripts that need it.
-- The schedule is a hash {tat, own, turn}: the time of the next free slot in microseconds of this
-- node's clock, the worker that booked last (the owner), and how many slots were booked (the class that
-- comes next follows from it). Slots are T apart. Nothing is booked further ahead than the horizon. When
-- the owner changes, the schedule is shifted by cap: that is how late the former owner may still use a
-- slot of its own, so no second has too many. While its owner keeps up, another worker finds nothing free;
-- when it dies, the schedule is free after about the horizon. So this is the ownership of a number, with
-- no lease that expires.
-- Floor is a time before which nothing is booked: a pause, or the end of the worker's own last booking,
-- which a failover may have lost. A schedule that is more than CLOCK_SET ahead is from before the clock was
-- set back: it starts anew.
--
-- slots(schedule, worker, now, T, horizon, lead, cap, floor) returns book(n, turn), which books up to n
-- slots, sets the turn unless it is nil, and returns how many were booked; the time of the first
-- slot; how many are free; whether the worker is the owner; and the turn.
local function slots(schedule, worker, now, T, horizon, lead, cap, floor)
  local st = redis.call('HMGET', schedule, 'tat', 'own', 'turn')
  local owns = st[2] == worker
  local tat = tonumber(st[1] or 0)
  if tat > now + CLOCK_SET then tat = 0 end
  if not owns then tat = tat + cap end
  tat = math.max(tat, floor, now + lead)
  local free = math.max(math.floor((now + horizon - tat) / T) + 1, 0)
  local function book(n, turn)
    n = math.min(n, free)
    if n > 0 then
      redis.call('HSET', schedule, 'tat', tat + n * T, 'own', worker, 'turn', turn or st[3] or '0')
    end
    return n
  end
  return book, tat, free, owns, tonumber(st[3] or 0)
end
-- Books further slots of a number for tasks that were fetched before and missed theirs.
-- KEYS  send schedule of the number
-- ARGV  worker, configured rate, end of the worker's own last booking us, how many, 1 when the worker
--       serves the number or 0 when it stands by, how much further than usual slots are booked us
-- Reply seconds, us: now; until the first slot us, time between slots us, how many were booked
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rate_key = string.gsub(KEYS[1], ':line:', ':pace:', 1)
local rate, _, pause = effective_rate(rate_key, tonumber(ARGV[2]), now)
local own = tonumber(ARGV[3])
if own > now + CLOCK_SET then own = 0 end -- booked before the clock was set back
local T = math.ceil((1000000 + SLACK) / rate)
local further = tonumber(ARGV[6])
local shift = math.max(CAP, HORIZON + further)
if ARGV[5] == '0' then shift = shift + LAG end
local book, first = slots(KEYS[1], ARGV[1], now, T, HORIZON + further, LEAD + further, shift,
  math.max(own, pause))
return {t[1], t[2], first - now, T, book(tonumber(ARGV[4]))}
