#!lua flags=allow-oom
local AUDIT = 'entry' -- the field of an entry
-- Sets a hold, unless there is one that lasts as long, and appends an audit entry.
-- KEYS  holds, audit log
-- ARGV  field, end in ms (0: none) and perhaps a plus and for how long to probe, hold as JSON, audit entry as
--       JSON (empty: none)
-- Reply the hold that is there then, as JSON
-- AUDIT is set in front of it.
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old then
  local ends, about = string.match(old, '^(%d+)%+?%d* (.*)$')
  local mine = tonumber(string.match(ARGV[2], '^%d+'))
  if ends and (ends == '0' or mine ~= 0 and mine <= tonumber(ends)) then return about end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. ARGV[3])
if ARGV[4] ~= '' then redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', AUDIT, ARGV[4]) end
return ARGV[3]
