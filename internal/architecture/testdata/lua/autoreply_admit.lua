#!lua flags=allow-oom
-- Counts an answer to a person, if the person got fewer than the most within a time. An answer that is counted already is admitted again.
-- KEYS  answers to the person
-- ARGV  name of the answer; the time, ms; most answers in it; 1: count the answer, 0: only look
-- Reply 1: it is admitted, or 0
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local answers, own, within = KEYS[1], ARGV[1], tonumber(ARGV[2])
if redis.call('ZSCORE', answers, own) then return 1 end
if redis.call('ZCOUNT', answers, '(' .. (now - within), '+inf') >= tonumber(ARGV[3]) then return 0 end
if ARGV[4] == '1' then
  redis.call('ZREMRANGEBYSCORE', answers, '-inf', now - within)
  redis.call('ZADD', answers, now, own)
  redis.call('PEXPIRE', answers, within)
end
return 1
