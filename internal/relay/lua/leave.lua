-- Gives the lease of a shard back.
-- KEYS  lease
-- ARGV  worker
-- Reply 1 if the worker had it, else 0
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
