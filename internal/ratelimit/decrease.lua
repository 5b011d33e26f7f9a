-- Halves the effective rate of a number after Meta refused a message because the number was too fast, and
-- stores the rate at which that was. Refusals within one second count once.
-- KEYS  rate, index of rates
-- ARGV  configured rate, number
-- Reply 1 when the rate was halved, 0 when it was halved a moment ago
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rate, _, pause = effective_rate(KEYS[1], tonumber(ARGV[1]), now)
local last = tonumber(redis.call('HGET', KEYS[1], 'cut_at') or 0)
if now - last < REFUSAL_PAUSE and last <= now + REFUSAL_PAUSE + CLOCK_SET then return 0 end
local us = function(v) return string.format('%.0f', v) end
redis.call('HSET', KEYS[1], 'cut', math.max(rate / 2, 1), 'cut_at', us(now + REFUSAL_PAUSE), 'ceiling', math.floor(rate),
  'pause', us(math.max(pause, now + REFUSAL_PAUSE)), 'pause_at', us(now))
redis.call('SADD', KEYS[2], ARGV[2])
return 1
