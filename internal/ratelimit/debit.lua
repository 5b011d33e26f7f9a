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
