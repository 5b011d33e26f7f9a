-- Takes n slots off a number's send schedule for traffic that was not ours to pace: what people write
-- to the number counts against its throughput too. However much that is, the schedule goes no further
-- ahead than the given time.
-- KEYS  send schedule, pace
-- ARGV  configured rate, climb, slack us, n, furthest us
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rate = pace(KEYS[2], tonumber(ARGV[1]), now, tonumber(ARGV[2]))
local T = math.ceil((1000000 + tonumber(ARGV[3])) / rate)
local tat = math.max(tonumber(redis.call('HGET', KEYS[1], 'tat') or 0), now)
tat = math.max(tat, math.min(tat + ARGV[4] * T, now + ARGV[5]))
redis.call('HSET', KEYS[1], 'tat', string.format('%.0f', tat))
return 1
