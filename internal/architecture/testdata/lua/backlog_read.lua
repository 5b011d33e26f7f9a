#!lua flags=allow-oom
local LEAD, HORIZON, CAP, LAG, SLACK, INCREASE, REFUSAL_PAUSE, CLOCK_SET = 2000, 100000, 100000, 150000, 9000, 0.02, 1000000, 5000000
-- effective_rate returns how many messages a second a number may send now, how many it may send when Meta
-- refused nothing lately (the full rate), and a time before which it may send none. It is put in front of
-- the scripts that need it.
-- The hash has what was learned and set at run time: 'order' (a rate that replaces the configured one),
-- 'level' (what Meta lets the number send, where the configuration leaves that to Meta), 'ramp_from',
-- 'ramp_at', 'ramp_us' (an even increase to that rate), 'cut' and 'cut_at' (the rate after the last refusal,
-- and when it was), 'ceiling' (the rate at that refusal), 'pause' (until when the number sends nothing),
-- 'probe' (until when it sends one message a second, if Meta does not answer before), 'probe_status' (the
-- same, if Meta does not report a message as sent before), and of each of these three <name>_at, when it was
-- set. Times are microseconds of this node's clock. After a refusal the rate regains a fixed share of the
-- full rate each second. What was set more than CLOCK_SET ahead of now is from before the clock was set back:
-- it does not apply.
local function effective_rate(key, configured, now)
  local p = redis.call('HMGET', key, 'order', 'level', 'ramp_from', 'ramp_at', 'ramp_us', 'cut', 'cut_at',
    'pause', 'pause_at', 'probe', 'probe_at', 'probe_status', 'probe_status_at')
  -- ends returns when the one of the three at a place in p ends.
  local function ends(i)
    if tonumber(p[i + 1] or 0) > now + CLOCK_SET then return 0 end
    return tonumber(p[i] or 0)
  end
  local rate = tonumber(p[1] or p[2] or configured)
  if p[3] then
    local done = (now - p[4]) / p[5]
    if done < 1 then rate = math.max(1, p[3] + (rate - p[3]) * math.max(done, 0)) end
  end
  local full = rate
  if p[6] and tonumber(p[7]) <= now + REFUSAL_PAUSE + CLOCK_SET then
    rate = math.min(full, p[6] + full * INCREASE * math.max(now - p[7], 0) / 1000000)
  end
  if now < math.max(ends(10), ends(12)) then rate = 1 end
  return math.max(rate, 1), full, ends(8)
end
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
-- Returns how fast numbers of a shard send and what waits for them. Of a number without work it returns only the
-- rate: there may be thousands.
-- KEYS  index of work of the shard
-- ARGV  for each number: the number, its configured rate
-- Reply for each number {rate, full rate, rate set at run time (0: none), end of the ramp us, ceiling, pause us, then for
--       each class: pending, paused, delayed, active, done, since when the oldest pending one without a flow waits ns, of the delayed
--       those that wait for the messaging limit, and its flows with a name, each a line: how many are pending of it, since when the oldest
--       of these waits ns, its name, separated by tabs;
--       last, for how many people messages wait because another app owns the conversation}
-- FLOWS is set in front of it.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local us = function(v) return string.format('%.0f', v) end

-- oldest reads the 1st, 2nd, 4th, 8th ... place from the head: what comes again goes to the
-- head and counts from then, so the one that waits longest may be behind hundreds of those.
local function oldest(queue, list, least)
  for i = 0, 12 do
    local id = redis.call('LINDEX', list, -(2 ^ i))
    if not id then break end
    local since = tonumber(redis.call('HGET', queue .. 't:' .. id, 'pending_since') or 0)
    if since > 0 and (least == 0 or since < least) then least = since end
  end
  return least
end

-- waiting is how many tasks of a class wait for recipients: of the 20 recipients that are next. To
-- read all would keep others from Redis, and one recipient is the usual case.
local function waiting(waits, recipients, c)
  local n = 0
  for _, r in ipairs(recipients) do
    n = n + redis.call('ZCOUNT', waits .. ':' .. r, us(c * 2 ^ 51), '(' .. us((c + 1) * 2 ^ 51))
  end
  return n
end

local function read(number, configured)
  local _, shard, queues = names_of((string.gsub(KEYS[1], 'work$', 'pace:' .. number)))
  local key, waits = shard .. 'pace:' .. number, shard .. 'waits:' .. number
  local rate, full, pause = effective_rate(key, configured, now)
  local p = redis.call('HMGET', key, 'order', 'ramp_at', 'ramp_us', 'ceiling')
  local reply = {tostring(rate), tostring(full), p[1] or '0', us(p[2] and p[2] + p[3] or 0), p[4] or '0', us(pause)}
  if redis.call('SISMEMBER', KEYS[1], number) == 0 then return reply end
  local recipients, named = redis.call('ZRANGE', waits, 0, 19), {}
  for _, class in ipairs(redis.call('SMEMBERS', shard .. 'flows:' .. number)) do named[class + 1] = true end
  local limited, conversations = redis.call('EXISTS', waits .. ':limit') == 1, shard .. 'conversations:' .. number
  for _, person in ipairs(redis.call('ZRANGE', conversations, 0, 19)) do recipients[#recipients + 1] = person end
  for c, class in ipairs(CLASSES) do
    local queue = queues .. class
    local over = limited and waiting(waits, {'limit'}, c - 1) or 0
    local pending, since, lines = redis.call('LLEN', queue .. 'pending'), oldest(queue, queue .. 'pending', 0), {}
    if named[c] then
      each_flow(shard, number, c - 1, FLOWS, function(flow)
        local list = list_of(shard, number, c - 1, queue, flow)
        local n = redis.call('LLEN', list)
        if n > 0 then
          pending, lines[#lines + 1] = pending + n, n .. '\t' .. us(oldest(queue, list, 0)) .. '\t' .. flow
        end
      end)
    end
    for _, v in ipairs {
      pending,
      redis.call('EXISTS', queue .. 'paused'),
      redis.call('ZCARD', queue .. 'scheduled') + redis.call('ZCARD', queue .. 'retry') + waiting(waits, recipients, c - 1) + over,
      redis.call('LLEN', queue .. 'active'),
      redis.call('GET', queue .. 'processed') or 0,
      us(since),
      over,
      table.concat(lines, '\n'),
    } do reply[#reply + 1] = tostring(v) end
  end
  reply[#reply + 1] = tostring(redis.call('ZCARD', conversations))
  return reply
end

local all = {}
for i = 1, #ARGV, 2 do all[#all + 1] = read(ARGV[i], tonumber(ARGV[i + 1])) end
return all
