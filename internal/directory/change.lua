-- Changes entries, all of them or none, and appends audit entries.
-- KEYS  revision, audit log, then the hash of each kind
-- ARGV  for each change: index in KEYS of the hash, id, expected revision (0: none), document ("-": remove), audit entry as JSON
--       (empty: none)
-- Reply the new revision as text, that of the last entry if nothing changes; or, when an entry has another revision than expected:
--       index of the change (from 1), revision of the entry as text
-- AUDIT is set in front of it. A revision is the time of Redis in microseconds, so that it never comes twice, even if Redis lost writes.
local now = redis.call('TIME')
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
local revision = string.format('%.0f', math.max(now[1] * 1000000 + now[2], last + 1))
local latest, changes = '0', {}
for i = 1, #ARGV, 5 do
  local stored = redis.call('HGET', KEYS[tonumber(ARGV[i])], ARGV[i + 1])
  local current, document = string.match(stored or '0 -', '^(%d+) (.*)$')
  if document == '-' then current = '0' end
  if stored and document == ARGV[i + 3] then -- it is so already: perhaps the answer to this call was lost
    latest = current
  elseif ARGV[i + 2] == current then
    changes[#changes + 1] = i
  else
    return { (i + 4) / 5, current }
  end
end
if #changes == 0 then return latest end
for _, i in ipairs(changes) do
  redis.call('HSET', KEYS[tonumber(ARGV[i])], ARGV[i + 1], revision .. ' ' .. ARGV[i + 3])
  if ARGV[i + 4] ~= '' then redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', AUDIT, ARGV[i + 4]) end
end
redis.call('SET', KEYS[1], revision)
return revision
