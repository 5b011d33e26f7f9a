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
local PAIR, BURST, PROBE = 6000000, 45, 5000
-- held returns whether there is a hold, by its field in the hash of holds, that has not ended: true, or
-- 'probe' when one task at a time may go. It is put in front of the scripts that need it.
local function held(holds, field, now_ms)
  local v = redis.call('HGET', holds, field)
  if not v then return false end
  local ends, probes = string.match(v, '^(%d+)%+?(%d*)')
  ends = tonumber(ends or 0) -- a hold that cannot be read stays in force, and affects no other hold
  if ends == 0 or ends > now_ms then return true end
  if probes ~= '' and ends + probes > now_ms then return 'probe' end
  redis.call('HDEL', holds, field)
  return false
end
-- release_some returns the first tasks of a sorted set, up to so many of those with a score up to most_score, to the heads of
-- their queues. It returns how many.
local function release_some(shard, number, tasks, queues, now_s, count, most_score)
  local released = {}
  while #released < count do -- some tasks may not exist any more: their messages ended meanwhile
    local entries = redis.call('ZRANGEBYSCORE', tasks, '-inf', most_score, 'LIMIT', 0, count - #released)
    if #entries == 0 then break end
    redis.call('ZREM', tasks, unpack(entries))
    for _, entry in ipairs(entries) do
      local class, id = string.match(entry, '^(%d) (.*)$')
      local queue = queues .. CLASSES[class + 1]
      local task = redis.call('HMGET', queue .. 't:' .. id, 'state', 'flow')
      if task[1] then
        redis.call('HDEL', queue .. 't:' .. id, 'wait')
        redis.call('HSET', queue .. 't:' .. id, 'state', 'pending', 'pending_since', now_s .. '000000000')
        released[#released + 1] = {class, queue, task[2], id}
      end
    end
  end
  for j = #released, 1, -1 do to_head(shard, number, unpack(released[j])) end
  return #released
end

-- release_waits returns tasks whose recipients may get another message to the heads of their queues: of
-- each recipient as many as it may get by now, the most urgent first, and of those the oldest. It looks
-- at no other recipients, so the cost depends on the recipients, not on the tasks that wait. index has the
-- recipients by when they are due. It returns whether any wait, and whether more may be due.
-- PAIR (us from one message to a recipient to the next) and BURST (most messages at once) are set in
-- front of it.
local function release_waits(shard, number, queues, now_us, now_s, most, index)
  local waits = shard .. 'waits:' .. number
  local due = redis.call('ZRANGEBYSCORE', index, '-inf', now_us, 'WITHSCORES', 'LIMIT', 0, most)
  for i = 1, #due, 2 do
    local tasks, at = waits .. ':' .. due[i], tonumber(due[i + 1])
    local may = math.min(math.floor((now_us - at) / PAIR) + 1, BURST)
    local released = release_some(shard, number, tasks, queues, now_s, may, '+inf')
    if redis.call('EXISTS', tasks) == 0 then
      redis.call('ZREM', index, due[i])
    elseif released > 0 then
      redis.call('ZADD', index, string.format('%.0f', at + released * PAIR), due[i])
    end
  end
  return redis.call('EXISTS', index) == 1, #due == 2 * most
end
-- Moves the tasks of one number whose time has come to the head of their pending lists: delayed
-- ones, retries, those no longer held, those whose recipients may get another message, and those to try again that
-- wait because another app owns a conversation. Of those on a hold that probes it moves one. A number that has no task left is removed from the index of work.
-- KEYS  send schedule of the number
-- ARGV  most to move of each kind; how many may try again of those that wait for the messaging limit, and how many urgent ones
-- Reply 1 when there may be more to move, else 0; classes in which tasks are pending that may go, as
--       bits
-- PROBE is set in front of it.
local number, shard, queues = names_of(KEYS[1])
local most = tonumber(ARGV[1])
local now = redis.call('TIME')
local more, left, pending = 0, false, 0

-- due moves the tasks of a sorted set whose time has come: the latest first, so that the earliest
-- is at the head then.
local function due(class, queue, set)
  local ids = redis.call('ZREVRANGEBYSCORE', set, now[1], '-inf', 'LIMIT', 0, ARGV[1])
  for _, id in ipairs(ids) do
    local key = queue .. 't:' .. id
    redis.call('ZREM', set, id)
    local task = redis.call('HMGET', key, 'state', 'flow')
    if task[1] then
      to_head(shard, number, class, queue, task[2], id)
      redis.call('HSET', key, 'state', 'pending', 'pending_since', now[1] .. '000000000')
    end
  end
  if #ids == most then more = 1 end
end

local queue, sets = {}, {}
for c = 1, 4 do
  queue[c] = queues .. CLASSES[c]
  sets[2 * c - 1], sets[2 * c] = queue[c] .. 'scheduled', queue[c] .. 'retry'
end
local limited = shard .. 'waits:' .. number .. ':limit'
local conversations = shard .. 'conversations:' .. number
sets[9], sets[10] = limited, conversations
if redis.call('EXISTS', unpack(sets)) > 0 then
  for c = 1, 4 do
    due(c - 1, queue[c], sets[2 * c - 1])
    due(c - 1, queue[c], sets[2 * c])
  end
  local function again(count, most_score)
    if count > 0 and release_some(shard, number, limited, queues, now[1], math.min(count, most), most_score) == most then more = 1 end
  end
  if tonumber(ARGV[3]) > tonumber(ARGV[2]) then again(tonumber(ARGV[3]), '(2251799813685248') end -- 2^51: the most urgent class, see queue.orderOf
  again(tonumber(ARGV[2]), '+inf')
  local _, due_again = release_waits(shard, number, queues, now[1] * 1000000 + now[2], now[1], most, conversations)
  if due_again then more = 1 end
  left = redis.call('EXISTS', unpack(sets)) > 0
end

-- What a hold keeps are a list and, before it, a sorted set of the tasks whose messages Meta refused, which
-- caused the hold.
local kept, holds, now_ms = shard .. 'held:' .. number, shard .. 'holds', now[1] * 1000 + math.floor(now[2] / 1000)
local function go(entry)
  local class, id = string.match(entry, '^(%d+) (.*)$')
  local tasks = queue[class + 1]
  to_head(shard, number, class, tasks, redis.call('HGET', tasks .. 't:' .. id, 'flow'), id)
  return id
end
for _, hold in ipairs(redis.call('SMEMBERS', kept)) do
  left = true
  local list, refused = kept .. ':' .. hold, shard .. 'refused:' .. number .. ':' .. hold
  local state = held(holds, hold, now_ms)
  if not state then
    local moved = 0
    while moved < most do -- the latest first here too
      local entry = redis.call('RPOP', list)
      if not entry then
        for _, cause in ipairs(redis.call('ZREVRANGE', refused, 0, most - 1)) do
          redis.call('ZREM', refused, cause)
          go(cause)
        end
        if redis.call('EXISTS', refused) == 0 then redis.call('SREM', kept, hold) end
        break
      end
      go(entry)
      moved = moved + 1
    end
    more = 1
  elseif state == 'probe' then
    -- The first one goes, past this hold. Without a report of its outcome the next one goes after PROBE.
    local entry = redis.call('ZRANGE', refused, 0, 0)[1]
    if entry then redis.call('ZREM', refused, entry) else entry = redis.call('LPOP', list) end
    if entry then
      local next_ms = now_ms + PROBE
      redis.call('HSET', holds, 'probe:' .. number .. ':' .. go(entry), string.format('%.0f {}', next_ms))
      local ends, probes, about = string.match(redis.call('HGET', holds, hold), '^(%d+)%+(%d+) (.*)$')
      redis.call('HSET', holds, hold, string.format('%.0f+%.0f %s', next_ms, math.max(ends + probes - next_ms, 0), about))
    end
  end
end

local waiting, due_too = release_waits(shard, number, queues, now[1] * 1000000 + now[2], now[1], most, shard .. 'waits:' .. number)
left = left or waiting
if due_too then more = 1 end

local lists = {}
for c = 1, 4 do lists[c] = queue[c] .. 'pending' end
lists[5] = shard .. 'flows:' .. number
if redis.call('EXISTS', unpack(lists)) > 0 then
  left = true
  local named = {}
  for _, class in ipairs(redis.call('SMEMBERS', lists[5])) do named[class + 1] = true end
  for c = 4, 1, -1 do
    pending = 2 * pending
    if (named[c] or redis.call('EXISTS', lists[c]) == 1) and redis.call('EXISTS', queue[c] .. 'paused') == 0 then pending = pending + 1 end
  end
end
if not left and redis.call('EXISTS', shard .. 'hands:' .. number) == 0 then
  redis.call('SREM', shard .. 'work', number)
end
return {more, pending}
