-- Puts tasks that a worker has in hand back to the heads of their queues, in their order: once,
-- whoever asks for it. A task that was finished, or is to come later, stays as it is.
-- KEYS  send schedule of the number
-- ARGV  fields of hands, the latest first
-- Reply how many tasks were put back
local name = names_of(KEYS[1])
local n = 0
for _, field in ipairs(ARGV) do
  local hand = redis.call('HGET', name.own('hands'), field)
  for class, line in string.gmatch((hand or '') .. '\n', '(%d) ([^\n]*)\n') do
    local ids = {}
    for id in string.gmatch(line, '%S+') do ids[#ids + 1] = id end
    for i = #ids, 1, -1 do
      if redis.call('HGET', name.asynq(class + 1, 't:') .. ids[i], 'state') == 'pending' then
        redis.call('RPUSH', name.asynq(class + 1, 'pending'), ids[i])
        n = n + 1
      end
    end
  end
  redis.call('HDEL', name.own('hands'), field)
end
return n
