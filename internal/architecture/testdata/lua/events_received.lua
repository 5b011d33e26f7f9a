#!lua flags=allow-oom
-- Stores when the last webhooks were received. A stored time never decreases. A time ahead of Redis's clock
-- counts as now.
-- KEYS: heard. ARGV: pairs of a field and Unix milliseconds.

local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
for i = 1, #ARGV, 2 do
  local at = math.min(tonumber(ARGV[i + 1]), now)
  if at > tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or 0) then
    redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f', at))
  end
end
return 1
