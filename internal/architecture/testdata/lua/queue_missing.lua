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
local MOST = 1000
-- Finds those of some tasks that would never be sent: that do not exist, exist without their message, are
-- active without a lease, or are in no list. A number that has tasks is in the index of work afterwards.
-- KEYS  leases of the number
-- ARGV  how long a task must have waited to be searched in its queue, s; then for each task: class from 0, id
-- Reply the places of the lost tasks, from 0
-- MOST is set in front of it.
local number, shard, queues = names_of(KEYS[1])
local now = tonumber(redis.call('TIME')[1])
local lost, leases, exists = {}, nil, false

-- oldest is since when the task at the head of a list of a queue has waited, of those that came in their order.
local heads = {}
local function oldest(queue, list)
  if heads[list] then return heads[list] end
  local least = 0
  for i = 0, 12 do
    local id = redis.call('LINDEX', list, -(2 ^ i))
    if not id then break end
    local since = tonumber(redis.call('HGET', queue .. 't:' .. id, 'pending_since') or 0)
    if since > 0 and (least == 0 or since < least) then least = since end
  end
  heads[list] = least == 0 and math.huge or least
  return heads[list]
end
-- kept returns whether a hold has the task, or so many tasks that this may be one of them.
local holds
local function kept(entry)
  holds = holds or redis.call('SMEMBERS', shard .. 'held:' .. number)
  for _, hold in ipairs(holds) do
    local list, refused = shard .. 'held:' .. number .. ':' .. hold, shard .. 'refused:' .. number .. ':' .. hold
    if redis.call('LLEN', list) > MOST or redis.call('LPOS', list, entry) or redis.call('ZSCORE', refused, entry) then return true end
  end
  return false
end
local function leased(id)
  leases = leases or table.concat(redis.call('HVALS', KEYS[1]), ' ')
  return string.find(leases, id, 1, true) ~= nil
end

for i = 2, #ARGV, 2 do
  local class, id = ARGV[i], ARGV[i + 1]
  local queue = queues .. CLASSES[class + 1]
  local task = redis.call('HMGET', queue .. 't:' .. id, 'state', 'msg', 'pending_since', 'wait', 'flow')
  local state, since = task[1], tonumber(task[3] or 0)
  local found = state and task[2]
  if found and (state == 'scheduled' or state == 'retry') then
    found = redis.call('ZSCORE', queue .. state, id)
  elseif found and state == 'pending' then
    if task[4] then
      found = redis.call('ZSCORE', shard .. 'waits:' .. number .. ':' .. task[4], class .. ' ' .. id)
    elseif since / 1000000000 < now - ARGV[1] then
      -- A queue is in the order in which its tasks came: what came long before its head is not in it.
      local list = list_of(shard, number, class, queue, task[5])
      local length = redis.call('LLEN', list)
      if length <= MOST then
        found = redis.call('LPOS', list, id)
      else
        found = since / 1000000000 > oldest(queue, list) / 1000000000 - ARGV[1]
      end
      found = found or leased(id) or kept(class .. ' ' .. id)
    end
  elseif found then
    found = leased(id) -- active, archived or completed are asynq's own states, and no server of asynq runs here
  end
  if found then exists = true else lost[#lost + 1] = (i - 2) / 2 end
end
if exists then redis.call('SADD', shard .. 'work', number) end
return lost
