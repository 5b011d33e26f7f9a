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
