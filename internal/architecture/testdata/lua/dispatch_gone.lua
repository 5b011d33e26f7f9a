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
-- Removes tasks that do not exist any more from a part of a list. It is for numbers that no worker serves:
-- where one does, the ids are removed when they are fetched.
-- KEYS  send schedule of the number
-- ARGV  a class from 0: its pending tasks; or a class, a tab and a flow: the tasks of the flow; or the name of a
--       hold: the tasks that it has; where to begin, how many to look at
-- Reply how many of them stay, and how long the list is then
local number, shard, queues = names_of(KEYS[1])
local class, flow = string.match(ARGV[1], '^(%d)\t?(.*)$')
local list = class and list_of(shard, number, class, queues .. CLASSES[class + 1], flow) or shard .. 'held:' .. number .. ':' .. ARGV[1]
local entries = redis.call('LRANGE', list, ARGV[2], ARGV[2] + ARGV[3] - 1)
local stay = #entries
for i, entry in ipairs(entries) do
  local of, id = class, entry
  if not class then of, id = string.match(entry, '^(%d) (.*)$') end
  if not id or redis.call('EXISTS', queues .. CLASSES[of + 1] .. 't:' .. id) == 0 then
    redis.call('LSET', list, ARGV[2] + i - 1, 'gone')
    stay = stay - 1
  end
end
if stay < #entries then redis.call('LREM', list, 0, 'gone') end
local length = redis.call('LLEN', list)
if length == 0 and not class then redis.call('SREM', shard .. 'held:' .. number, ARGV[1]) end
if length == 0 and class and flow ~= '' then
  local clients, client, campaigns, campaign = sets_of(shard, number, class, flow)
  redis.call('ZREM', campaigns, campaign)
  if redis.call('EXISTS', campaigns) == 0 then redis.call('ZREM', clients, client, '') end
  if redis.call('EXISTS', clients) == 0 then redis.call('SREM', shard .. 'flows:' .. number, class) end
end
return {stay, length}
