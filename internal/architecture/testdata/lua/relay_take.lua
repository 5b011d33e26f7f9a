#!lua flags=allow-oom
-- Takes or renews the lease of a shard.
-- KEYS  lease
-- ARGV  worker, ms until the lease ends, 1 if the worker wants the shard
-- Reply 1 if the worker has the lease, else 0
local owner = redis.call('GET', KEYS[1])
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
end
if owner or ARGV[3] ~= '1' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
