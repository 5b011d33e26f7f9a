-- Says that a worker lives, by this node's clock, and forgets those long dead.
-- KEYS  workers
-- ARGV  worker, forget after ms
local ms = now()
redis.call('ZADD', KEYS[1], ms, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(ms - ARGV[2]))
return 1
