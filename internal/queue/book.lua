-- Books further slots of a number for tasks that were taken before and missed theirs.
-- KEYS  line
-- ARGV  owner, spacing us, horizon us, lead us, cap us, how many
-- Reply {now us, time of the first slot us, how many were booked}
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local book, first = slots(KEYS[1], ARGV[1], now, tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
return {string.format('%.0f', now), string.format('%.0f', first), book(tonumber(ARGV[6]))}
