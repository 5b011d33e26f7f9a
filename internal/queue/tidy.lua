-- Moves the tasks of one number whose time has come to the head of their pending lists:
-- delayed ones, retries, and those whose worker let the lease run out. A number that has no
-- task left goes off the index of work.
-- KEYS  index of work; then for each class: pending, active, lease, scheduled, retry
-- ARGV  number, most to move of each kind; then for each class the prefix of its task keys
-- Reply 1 when there may be more of them, else 0
local now = redis.call('TIME')
local more, left = 0, false
for c = 0, (#KEYS - 1) / 5 - 1 do
  local k = 2 + c * 5
  local pending, prefix = KEYS[k], ARGV[3 + c]
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
if not left then redis.call('SREM', KEYS[1], ARGV[1]) end
return more
