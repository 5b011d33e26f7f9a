-- Ends a hold, and notes who did so and why.
-- KEYS  holds, trail of deeds
-- ARGV  field, deed as JSON
-- Reply 1, or 0 when there was none
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
if ARGV[2] ~= '' then redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', 'deed', ARGV[2]) end
return 1
