#!lua flags=allow-oom
local AUDIT = 'entry' -- the field of an entry
-- Releases a hold, and appends an audit entry.
-- KEYS  holds, audit log
-- ARGV  field, audit entry as JSON (empty: none)
-- Reply 1, or 0 when there was no such hold
-- AUDIT is set in front of it.
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
if ARGV[2] ~= '' then redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', AUDIT, ARGV[2]) end
return 1
