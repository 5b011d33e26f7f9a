#!lua flags=allow-oom
-- Counts messages of a campaign in a day, up to its cap. A message that is counted already is admitted again, and not counted again.
-- KEYS  the messages that are counted
-- ARGV  most messages; when to forget them, Unix ms; the ids of messages
-- Reply for each message 1: it is admitted, or 0
local sent, most = KEYS[1], tonumber(ARGV[1])
local counted, may = redis.call('SCARD', sent), {}
for i = 3, #ARGV do
  if counted < most and redis.call('SADD', sent, ARGV[i]) == 1 then
    counted, may[i - 2] = counted + 1, 1
  else
    may[i - 2] = redis.call('SISMEMBER', sent, ARGV[i])
  end
end
redis.call('PEXPIREAT', sent, ARGV[2])
return may
