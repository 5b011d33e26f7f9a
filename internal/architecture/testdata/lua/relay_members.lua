#!lua flags=allow-oom
-- Writes the heartbeat of a worker that relays, and removes workers without one.
-- KEYS  workers
-- ARGV  worker, ms until it counts as dead (0: it ends)
-- Reply the living workers
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], 60000)
return redis.call('ZRANGE', KEYS[1], 0, -1)
