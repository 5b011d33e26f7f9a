-- Moves the tasks of one number whose time has come to the head of their pending lists:
-- delayed ones, retries, those whose worker let the lease run out, and those no longer
-- held. A number that has no task left goes off the index of work.
-- KEYS  index of work, holds, names of what is held and has tasks set aside; then for each class: pending, active,
--       lease, scheduled, retry
-- ARGV  number, most to move of each kind, prefix of lists of held tasks; then for each class
--       the prefix of its task keys
-- Reply 1 when there may be more of them, else 0
local now = redis.call('TIME')
local more, left = 0, false
for c = 0, (#KEYS - 3) / 5 - 1 do
  local k = 4 + c * 5
  local pending, prefix = KEYS[k], ARGV[4 + c]
  local function head(id)
    if redis.call('EXISTS', prefix .. id) == 0 then return end
    redis.call('RPUSH', pending, id)
    redis.call('HSET', prefix .. id, 'state', 'pending', 'pending_since', string.format('%.0f', now[1] * 1000000000))
  end
  -- The latest first, so that the earliest ends up foremost.
  local function each_due(key, move)
    local ids = redis.call('ZREVRANGEBYSCORE', key, now[1], '-inf', 'LIMIT', 0, ARGV[2])
    for _, id in ipairs(ids) do
      redis.call('ZREM', key, id)
      move(id)
    end
    if #ids == tonumber(ARGV[2]) then more = 1 end
  end
  each_due(KEYS[k + 3], head)
  each_due(KEYS[k + 4], head)
  each_due(KEYS[k + 2], function(id)
    if redis.call('LREM', KEYS[k + 1], 1, id) > 0 then head(id) end
  end)
  for i = 0, 4 do
    if redis.call('EXISTS', KEYS[k + i]) == 1 then left = true end
  end
end
for _, hold in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  left = true
  if not held(KEYS[2], hold, now[1] * 1000) then
    -- The latest first here too.
    for i = 1, tonumber(ARGV[2]) do
      local class, id = string.match(redis.call('RPOP', ARGV[3] .. hold) or '', '^(%d+) (.*)$')
      if not id then
        redis.call('SREM', KEYS[3], hold)
        break
      end
      redis.call('RPUSH', KEYS[4 + class * 5], id)
    end
    more = 1
  end
end
if not left then redis.call('SREM', KEYS[1], ARGV[1]) end
return more
