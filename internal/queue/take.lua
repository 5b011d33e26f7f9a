-- Takes tasks of one number together with the send slots they leave on, the most urgent class
-- first: asynq's dequeue, for several queues and several tasks at once.
-- KEYS  line; then for each class, the most urgent first: pending, paused, active, lease
-- ARGV  owner, spacing us, horizon us, lead us, cap us, most tasks to take, lease in seconds,
--       then for each class the prefix of its task keys
-- Reply {now us, time of the first slot us, us until a further look is worth it (-1: nothing
--       waits), then for each task: class (from 0), id, asynq's message}
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local T, horizon = tonumber(ARGV[2]), tonumber(ARGV[3])
local book, first, free = slots(KEYS[1], ARGV[1], now, T, horizon, tonumber(ARGV[4]), tonumber(ARGV[5]))
local most = math.min(free, tonumber(ARGV[6]))
local until_s = t[1] + tonumber(ARGV[7])
local reply, n, waits = {string.format('%.0f', now), string.format('%.0f', first), 0}, 0, false
for class = 0, (#KEYS - 1) / 4 - 1 do
  local k = 2 + class * 4
  if redis.call('EXISTS', KEYS[k + 1]) == 0 then
    while n < most do
      local id = redis.call('RPOPLPUSH', KEYS[k], KEYS[k + 2])
      if not id then break end
      local task = ARGV[8 + class] .. id
      local msg = redis.call('HGET', task, 'msg')
      if msg then
        redis.call('HSET', task, 'state', 'active')
        redis.call('HDEL', task, 'pending_since')
        redis.call('ZADD', KEYS[k + 3], until_s, id)
        n = n + 1
        reply[#reply + 1] = class
        reply[#reply + 1] = id
        reply[#reply + 1] = msg
      else
        redis.call('LREM', KEYS[k + 2], 1, id) -- a task without its message is nothing
      end
    end
    if n >= most and redis.call('EXISTS', KEYS[k]) == 1 then waits = true end
  end
end
book(n)
if waits then
  reply[3] = string.format('%.0f', math.max(first + n * T - now - horizon / 2, 1000))
else
  reply[3] = '-1'
end
return reply
