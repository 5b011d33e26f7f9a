-- Stores the settings of a campaign, if those that were read still are the stored ones.
-- KEYS  the settings of all campaigns, their revision
-- ARGV  name of the campaign; the text that was read, the new text: empty if there is none; the new revision
-- Reply 1: the new text is stored, or 0
local now = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if now ~= ARGV[2] and now ~= ARGV[3] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
redis.call('SET', KEYS[2], ARGV[4])
return 1
