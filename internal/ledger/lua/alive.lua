-- Tells which workers live, by this node's clock.
-- KEYS  workers
-- ARGV  age in ms at which a beat is too old
-- Reply their names
return redis.call('ZRANGEBYSCORE', KEYS[1], int(now() - ARGV[1]), '+inf')
