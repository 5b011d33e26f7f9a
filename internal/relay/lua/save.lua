-- Stores what a target has got of a shard, if the worker still has the lease.
-- KEYS  lease, hash of progress, hash of events set aside, stream of dead letters
-- ARGV  worker, target, progress as JSON, 1 to remove the old dead letters, number of events to set aside, a field and a
--       value of each, number of events that are no longer set aside, the field of each, then the new dead letters
-- Reply 1, or 0 if another worker has the lease
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
if ARGV[4] == '1' then redis.call('DEL', KEYS[4]) end
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
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', 1000, '*', 'event', ARGV[n])
end
return 1
