-- Stores or removes a schedule, if the one that was read still is the stored one.
-- KEYS  the schedules, their next ticks
-- ARGV  name; the text that was read, the new text: empty if there is none; the next tick in Unix ms: empty if there is none
-- Reply 1: the change is stored, or 0
local now = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if now ~= ARGV[2] and now ~= ARGV[3] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
if ARGV[4] == '' then redis.call('ZREM', KEYS[2], ARGV[1]) else redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1]) end
return 1
