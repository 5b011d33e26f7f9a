-- Changes entries, all of them or none, and appends an audit entry for each.
-- KEYS  revision, audit log, then the hash of each kind
-- ARGV  for each change: index in KEYS of the hash, id, expected revision (0: none, -1: any), document ("-": remove), audit entry as JSON
--       (empty: none)
-- Reply the new revision as text; or, when an entry has another revision: index of the change (from 1), revision of the entry as text
-- AUDIT is set in front of it. A revision is the time of Redis in microseconds, so that it never comes twice, even if Redis lost writes.
local now = redis.call('TIME')
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
local revision = string.format('%.0f', math.max(now[1] * 1000000 + now[2], last + 1))
for i = 1, #ARGV, 5 do
  local stored = redis.call('HGET', KEYS[tonumber(ARGV[i])], ARGV[i + 1]) or '0 -'
  local current, document = string.match(stored, '^(%d+) (.*)$')
  if document == '-' then current = '0' end
  -- Other than expected is all right if the entry is already as it would be: the answer to this call was lost.
  if ARGV[i + 2] ~= '-1' and ARGV[i + 2] ~= current and document ~= ARGV[i + 3] then
    return { (i + 4) / 5, current }
  end
end
for i = 1, #ARGV, 5 do
  redis.call('HSET', KEYS[tonumber(ARGV[i])], ARGV[i + 1], revision .. ' ' .. ARGV[i + 3])
  if ARGV[i + 4] ~= '' then redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', AUDIT, ARGV[i + 4]) end
end
redis.call('SET', KEYS[1], revision)
return revision
