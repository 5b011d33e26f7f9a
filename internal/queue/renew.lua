-- Keeps tasks with the worker that has them in hand.
-- KEYS  lease
-- ARGV  lease in seconds, then the tasks' ids
local until_s = redis.call('TIME')[1] + tonumber(ARGV[1])
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', until_s, ARGV[i])
end
