-- Stores what a target has got of a shard, if the worker still has the lease.
-- KEYS  lease, hash of progress, hash of events set aside, stream of dead letters
-- ARGV  worker, target, progress as JSON, the first dead letter to keep (empty: all), number of events to set aside, a field
--       and a value of each, number of events that are no longer set aside, the field of each, then the new dead letters
-- Reply how many dead letters were removed because there were too many, or -1 if another worker has the lease
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
if ARGV[4] ~= '' then redis.call('XTRIM', KEYS[4], 'MINID', ARGV[4]) end
local i = 6
for _ = 1, tonumber(ARGV[5]) do
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
  i = i + 2
end
local gone = tonumber(ARGV[i])
for _ = 1, gone do
  i = i + 1
  redis.call('HDEL', KEYS[3], ARGV[i])
end
for n = i + 1, #ARGV do
  redis.call('XADD', KEYS[4], '*', 'event', ARGV[n])
end
return redis.call('XTRIM', KEYS[4], 'MAXLEN', 1000)
