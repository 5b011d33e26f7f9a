-- Counts what waits for numbers of a shard, in their queues and apart for holds.
-- KEYS  index of work of the shard
-- ARGV  numbers
-- Reply for each number {tasks in its queues, then for each hold that keeps tasks: its name, how many}
-- FLOWS is set in front of it.
local all = {}
for _, number in ipairs(ARGV) do
  local _, shard, queues = names_of((string.gsub(KEYS[1], 'work$', 'held:' .. number)))
  local held, refused, pending = shard .. 'held:' .. number, shard .. 'refused:' .. number, 0
  for _, class in ipairs(CLASSES) do pending = pending + redis.call('LLEN', queues .. class .. 'pending') end
  for _, class in ipairs(redis.call('SMEMBERS', shard .. 'flows:' .. number)) do
    each_flow(shard, number, class, FLOWS, function(flow) pending = pending + redis.call('LLEN', list_of(shard, number, class, '', flow)) end)
  end
  local reply = {tostring(pending)}
  for _, hold in ipairs(redis.call('SMEMBERS', held)) do
    reply[#reply + 1] = hold
    reply[#reply + 1] = tostring(redis.call('LLEN', held .. ':' .. hold) + redis.call('ZCARD', refused .. ':' .. hold))
  end
  all[#all + 1] = reply
end
return all
