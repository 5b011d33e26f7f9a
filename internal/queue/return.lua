-- Puts tasks that a worker has in hand back to the heads of their queues, in their order: once,
-- whoever asks for it. A task that was finished, or is to come later, stays as it is.
-- KEYS  send schedule of the number
-- ARGV  fields of hands, the latest first
-- Reply how many tasks were put back
local number, shard, queues = names_of(KEYS[1])
local hands, n = shard .. 'hands:' .. number, 0
for _, field in ipairs(ARGV) do
  local hand = redis.call('HGET', hands, field)
  for class, line in string.gmatch((hand or '') .. '\n', '(%d) ([^\n]*)\n') do
    local queue, ids = queues .. CLASSES[class + 1], {}
    for id in string.gmatch(line, '%S+') do ids[#ids + 1] = id end
    for i = #ids, 1, -1 do
      if redis.call('HGET', queue .. 't:' .. ids[i], 'state') == 'pending' then
        redis.call('RPUSH', queue .. 'pending', ids[i])
        n = n + 1
      end
    end
  end
  redis.call('HDEL', hands, field)
end
return n
