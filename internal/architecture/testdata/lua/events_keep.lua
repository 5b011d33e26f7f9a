#!lua flags=allow-oom
-- Appends updates of Meta to those of a shard that are not applied yet.
-- KEYS  updates
-- ARGV  the updates as JSON
-- Reply how many there are
return redis.call('RPUSH', KEYS[1], unpack(ARGV))
