-- Halves a number's pace after Meta refused a message as too fast, and remembers at which
-- pace that was. Refusals of one and the same second count once.
-- KEYS  pace, index of what was learned
-- ARGV  configured rate, climb, breath us, number
-- Reply 1 when the pace was cut, 0 when it was cut a moment ago
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rate, _, pause = pace(KEYS[1], tonumber(ARGV[1]), now, tonumber(ARGV[2]))
local last = redis.call('HGET', KEYS[1], 'cut_at')
if last and now - last < tonumber(ARGV[3]) then return 0 end
local us = function(v) return string.format('%.0f', v) end
redis.call('HSET', KEYS[1], 'cut', math.max(rate / 2, 1), 'cut_at', us(now + ARGV[3]), 'ceiling', math.floor(rate),
  'pause', us(math.max(pause, now + ARGV[3])))
redis.call('SADD', KEYS[2], ARGV[4])
return 1
