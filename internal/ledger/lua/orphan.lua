-- Keeps a receipt whose wamid no record has yet, until one has (see move.lua).
-- KEYS  wamid index, orphans of that wamid
-- ARGV  event JSON, life in ms
-- Reply the id that has the wamid meanwhile, or ''
local id = redis.call('GET', KEYS[1])
if id then return id end
for _, event in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  if event == ARGV[1] then return '' end
end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return ''
