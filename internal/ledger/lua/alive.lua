-- Tells which workers live, by this node's clock. A heartbeat from the future is from before the clock
-- was set back: a worker that lives soon has another.
-- KEYS  workers
-- ARGV  age in ms at which a heartbeat is too old, ms by which one may lie in the future
-- Reply now ms, their names
local ms = now()
local names = redis.call('ZRANGEBYSCORE', KEYS[1], int(ms - ARGV[1]), int(ms + ARGV[2]))
table.insert(names, 1, ms)
return names
