#!lua flags=allow-oom
-- Counts a message to a person, if it is within the caps of the client. A message that is counted already is admitted again.
-- KEYS  messages to the person
-- ARGV  name of the message: the first letter of its class, and its id; the longest time of all caps of the client, ms; for each cap of the
--       class: most messages, time in ms, the first letters of its classes
-- Reply 1: it is admitted, or 0
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local messages, own, longest = KEYS[1], ARGV[1], ARGV[2]
if redis.call('ZSCORE', messages, own) then return 1 end
redis.call('ZREMRANGEBYSCORE', messages, '-inf', now - longest)
local known = redis.call('ZRANGE', messages, 0, -1, 'WITHSCORES')
for i = 3, #ARGV, 3 do
  local left, since, classes = tonumber(ARGV[i]), now - ARGV[i + 1], ARGV[i + 2]
  for k = 1, #known, 2 do
    if tonumber(known[k + 1]) > since and string.find(classes, string.sub(known[k], 1, 1), 1, true) then left = left - 1 end
  end
  if left <= 0 then return 0 end
end
redis.call('ZADD', messages, now, own)
redis.call('PEXPIRE', messages, longest)
return 1
