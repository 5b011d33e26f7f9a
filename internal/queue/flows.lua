-- list_of is the list with the waiting tasks of a flow; without a flow, the pending tasks of the queue.
local function list_of(shard, number, class, queue, flow)
  if not flow or flow == '' then return queue .. 'pending' end
  return shard .. 'flow:' .. number .. ':' .. class .. ':' .. flow
end
-- to_head puts a task at the head of its flow, or of its queue if it has none. Class counts from 0.
local function to_head(shard, number, class, queue, flow, id)
  redis.call('RPUSH', list_of(shard, number, class, queue, flow), id)
  if flow then
    redis.call('SADD', shard .. 'flows:' .. number, class)
    redis.call('ZADD', shard .. 'flows:' .. number .. ':' .. class, 'NX', 0, flow)
  end
end
