#!lua flags=allow-oom
-- names_of reads the number in one of its keys, and returns it and what the keys of its shard and of its
-- queues begin with: a key that is passed costs a script more than one that is made here. A queue's own
-- part begins with its class, the most urgent first. It is put in front of the scripts that need it.
local CLASSES = {'authentication}:', 'service}:', 'utility}:', 'marketing}:'}
local function names_of(key)
  local tag, number = string.match(key, '^sluice:({s%d+}):%a+:(.*)$')
  return number, 'sluice:' .. tag .. ':', 'asynq:' .. tag .. ':' .. number .. ':'
end
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
local FLOWS = 100
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
