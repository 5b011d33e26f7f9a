-- Returns leased tasks to the heads of their queues, in their order: once, whichever workers ask for
-- it. A task that is finished, or that waits for its time, is not changed.
-- KEYS  leases of the number
-- ARGV  fields of leases, the latest first
-- Reply how many tasks were returned
local leases = KEYS[1]
local number, shard, queues = names_of(leases)
local n = 0
for _, field in ipairs(ARGV) do
  local fetch = redis.call('HGET', leases, field)
  for class, line in string.gmatch((fetch or '') .. '\n', '(%d) ([^\n]*)\n') do
    local queue, ids = queues .. CLASSES[class + 1], {}
    for id in string.gmatch(line, '%S+') do ids[#ids + 1] = id end
    for i = #ids, 1, -1 do
      local task = redis.call('HMGET', queue .. 't:' .. ids[i], 'state', 'flow')
      if task[1] == 'pending' then
        to_head(shard, number, class, queue, task[2], ids[i])
        n = n + 1
      end
    end
  end
  redis.call('HDEL', leases, field)
end
return n
