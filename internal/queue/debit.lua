-- Takes n slots off a number's line for traffic that was not ours to pace: what people write
-- to the number counts against its throughput too.
-- KEYS  line, pace
-- ARGV  configured rate, climb, slack us, n
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rate = pace(KEYS[2], tonumber(ARGV[1]), now, tonumber(ARGV[2]))
local T = math.ceil((1000000 + tonumber(ARGV[3])) / rate)
local tat = math.max(tonumber(redis.call('HGET', KEYS[1], 'tat') or 0), now) + ARGV[4] * T
redis.call('HSET', KEYS[1], 'tat', string.format('%.0f', tat))
return 1
