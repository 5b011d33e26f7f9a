#!lua flags=allow-oom
-- Counts a registration of a number at Meta, unless there were too many within a time.
-- KEYS  a sorted set of the times of the registrations
-- ARGV  how many may be within the time, the time ms, a unique name of this one
-- Reply 0: it is counted; otherwise after how many ms the next one may be
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return oldest[2] + ARGV[2] - now
end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 0
