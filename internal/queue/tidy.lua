-- Moves the tasks of one number whose time has come to the head of their pending lists: delayed
-- ones, retries, and those no longer held. A number that has no task left goes off the index of work.
-- KEYS  send schedule of the number
-- ARGV  most to move of each kind
-- Reply 1 when there may be more to move, else 0; then for each class 1 when tasks are pending that
--       may go, else 0
local name = names_of(KEYS[1])
local most = tonumber(ARGV[1])
local now = redis.call('TIME')
local more, left = '0', false

-- due moves the tasks of a sorted set whose time has come: the latest first, so that the earliest
-- ends up foremost.
local function due(c, set)
  local ids = redis.call('ZREVRANGEBYSCORE', set, now[1], '-inf', 'LIMIT', 0, ARGV[1])
  for _, id in ipairs(ids) do
    local task = name.asynq(c, 't:') .. id
    redis.call('ZREM', set, id)
    if redis.call('EXISTS', task) == 1 then
      redis.call('RPUSH', name.asynq(c, 'pending'), id)
      redis.call('HSET', task, 'state', 'pending', 'pending_since', string.format('%.0f', now[1] * 1000000000))
    end
  end
  if #ids == most then more = '1' end
end

local sets = {}
for c = 1, 4 do
  sets[#sets + 1] = name.asynq(c, 'scheduled')
  sets[#sets + 1] = name.asynq(c, 'retry')
end
if redis.call('EXISTS', unpack(sets)) > 0 then
  for c = 1, 4 do
    due(c, sets[2 * c - 1])
    due(c, sets[2 * c])
  end
  left = redis.call('EXISTS', unpack(sets)) > 0
end

local holds, kept = name.shared('holds'), name.own('held')
for _, hold in ipairs(redis.call('SMEMBERS', kept)) do
  left = true
  if not held(holds, hold, now[1] * 1000) then
    for i = 1, most do -- the latest first here too
      local class, id = string.match(redis.call('RPOP', kept .. ':' .. hold) or '', '^(%d+) (.*)$')
      if not id then
        redis.call('SREM', kept, hold)
        break
      end
      redis.call('RPUSH', name.asynq(class + 1, 'pending'), id)
    end
    more = '1'
  end
end

local pending = ''
for c = 1, 4 do
  local some = redis.call('EXISTS', name.asynq(c, 'pending')) == 1
  left = left or some
  pending = pending .. (some and redis.call('EXISTS', name.asynq(c, 'paused')) == 0 and '1' or '0')
end
if not left and redis.call('EXISTS', name.own('hands')) == 0 then redis.call('SREM', name.shared('work'), name.number) end
return more .. pending
