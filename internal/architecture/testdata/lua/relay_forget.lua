#!lua flags=allow-oom
-- Removes what was stored for a target that was removed, if the worker still has the lease.
-- KEYS  lease, hash of progress, hash of events set aside, stream of dead letters
-- ARGV  worker, target
-- Reply 1, or 0 if another worker has the lease
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[3], KEYS[4])
return 1
