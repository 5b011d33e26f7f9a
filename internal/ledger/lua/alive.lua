-- Returns the live workers, by this node's clock. A heartbeat in the future is from before the clock was
-- set back: a live worker soon has a newer one.
-- KEYS  workers
-- ARGV  age in ms at which a heartbeat is too old, ms by which one may be in the future
-- Reply now in ms, the names of the live workers
local ms = now()
local names = redis.call('ZRANGEBYSCORE', KEYS[1], int(ms - ARGV[1]), int(ms + ARGV[2]))
table.insert(names, 1, ms)
return names
