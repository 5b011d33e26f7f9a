-- Changes the definition of a target, unless it was changed since it was read.
-- KEYS  targets
-- ARGV  target, its definition as it was read (empty: there is none), the new definition (empty: remove it)
-- Reply 1, or 0 if it was changed since
local old = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if old ~= ARGV[2] and old ~= ARGV[3] then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
