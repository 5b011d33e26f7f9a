-- Moves the tasks of one queue whose time has come to the head of its pending list: delayed
-- ones, retries, and those whose worker let the lease run out.
-- KEYS  pending, active, lease, scheduled, retry
-- ARGV  prefix of task keys, most to move of each kind
-- Reply 1 when there may be more of them, else 0
local now = redis.call('TIME')
local more = 0
local function head(id)
  if redis.call('EXISTS', ARGV[1] .. id) == 0 then return end
  redis.call('RPUSH', KEYS[1], id)
  redis.call('HSET', ARGV[1] .. id, 'state', 'pending', 'pending_since', string.format('%.0f', now[1] * 1000000000))
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
each_due(KEYS[4], head)
each_due(KEYS[5], head)
each_due(KEYS[3], function(id)
  if redis.call('LREM', KEYS[2], 1, id) > 0 then head(id) end
end)
return more
