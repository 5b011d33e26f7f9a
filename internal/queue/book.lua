-- Books further slots of a number for tasks that were taken before and missed theirs.
-- KEYS  line, pace
-- ARGV  owner, configured rate, climb, slack us, horizon us, lead us, cap us, end of the owner's
--       own last booking us, how many
-- Reply {now us, time of the first slot us, time between slots us, how many were booked}
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rate, _, pause = pace(KEYS[2], tonumber(ARGV[2]), now, tonumber(ARGV[3]))
local T = math.ceil((1000000 + tonumber(ARGV[4])) / rate)
local book, first = slots(KEYS[1], ARGV[1], now, T, tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]),
  math.max(tonumber(ARGV[8]), pause))
local us = function(v) return string.format('%.0f', v) end
return {us(now), us(first), us(T), book(tonumber(ARGV[9]))}
