-- Tells how fast a number goes and what waits for it.
-- KEYS  pace; then for each class: pending, scheduled, retry, active
-- ARGV  configured rate, climb; then for each class the prefix of its task keys
-- Reply {rate, full rate, ceiling, pause us, then for each class: pending, delayed, active, since
--       when the first pending one waits in ns}
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rate, full, pause = pace(KEYS[1], tonumber(ARGV[1]), now, tonumber(ARGV[2]))
local reply = {tostring(rate), tostring(full), redis.call('HGET', KEYS[1], 'ceiling') or '0', string.format('%.0f', pause)}
for c = 0, (#KEYS - 1) / 4 - 1 do
  local k = 2 + c * 4
  reply[#reply + 1] = tostring(redis.call('LLEN', KEYS[k]))
  reply[#reply + 1] = tostring(redis.call('ZCARD', KEYS[k + 1]) + redis.call('ZCARD', KEYS[k + 2]))
  reply[#reply + 1] = tostring(redis.call('LLEN', KEYS[k + 3]))
  local first = redis.call('LINDEX', KEYS[k], -1)
  reply[#reply + 1] = first and redis.call('HGET', ARGV[3 + c] .. first, 'pending_since') or '0'
end
return reply
