-- list_of is the list with the waiting tasks of a flow; without a flow, the pending tasks of the queue.
local function list_of(shard, number, class, queue, flow)
  if not flow or flow == '' then return queue .. 'pending' end
  return shard .. 'flow:' .. number .. ':' .. class .. ':' .. flow
end
-- sets_of are the sorted sets of a flow by virtual time, with their members: that of the clients of its class, and that of the
-- campaigns of its client. Class counts from 0.
local function sets_of(shard, number, class, flow)
  local client, campaign = string.match(flow, '^([^/]*)/?(.*)$')
  local clients = shard .. 'flows:' .. number .. ':' .. class
  return clients, client, clients .. ':' .. client, campaign
end
-- to_head puts a task at the head of its flow, or of its queue if it has none. Class counts from 0.
local function to_head(shard, number, class, queue, flow, id)
  redis.call('RPUSH', list_of(shard, number, class, queue, flow), id)
  if flow then
    local clients, client, campaigns, campaign = sets_of(shard, number, class, flow)
    redis.call('SADD', shard .. 'flows:' .. number, class)
    redis.call('ZADD', clients, 'NX', 0, client)
    redis.call('ZADD', campaigns, 'NX', 0, campaign)
  end
end
-- each_flow calls f with the names of some flows of a class, those that have sent the least, without the one that has no name.
local function each_flow(shard, number, class, most, f)
  local clients = shard .. 'flows:' .. number .. ':' .. class
  for _, client in ipairs(redis.call('ZRANGE', clients, 0, most - 1)) do
    for _, campaign in ipairs(most > 0 and redis.call('ZRANGE', clients .. ':' .. client, 0, most - 1) or {}) do
      most = most - 1
      if client ~= '' or campaign ~= '' then f(client .. '/' .. campaign) end
    end
  end
end
