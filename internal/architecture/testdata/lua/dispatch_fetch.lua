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
-- slots books send slots on a number's send schedule. It is put in front of the scripts that need it.
-- The schedule is a hash {tat, own, turn}: the time of the next free slot in microseconds of this
-- node's clock, the worker that booked last (the owner), and how many slots were booked (the class that
-- comes next follows from it). Slots are T apart. Nothing is booked further ahead than the horizon. When
-- the owner changes, the schedule is shifted by cap: that is how late the former owner may still use a
-- slot of its own, so no second has too many. While its owner keeps up, another worker finds nothing free;
-- when it dies, the schedule is free after about the horizon. So this is the ownership of a number, with
-- no lease that expires.
-- Floor is a time before which nothing is booked: a pause, or the end of the worker's own last booking,
-- which a failover may have lost. A schedule that is more than CLOCK_SET ahead is from before the clock was
-- set back: it starts anew.
--
-- slots(schedule, worker, now, T, horizon, lead, cap, floor) returns book(n, turn), which books up to n
-- slots, sets the turn unless it is nil, and returns how many were booked; the time of the first
-- slot; how many are free; whether the worker is the owner; and the turn.
local function slots(schedule, worker, now, T, horizon, lead, cap, floor)
  local st = redis.call('HMGET', schedule, 'tat', 'own', 'turn')
  local owns = st[2] == worker
  local tat = tonumber(st[1] or 0)
  if tat > now + CLOCK_SET then tat = 0 end
  if not owns then tat = tat + cap end
  tat = math.max(tat, floor, now + lead)
  local free = math.max(math.floor((now + horizon - tat) / T) + 1, 0)
  local function book(n, turn)
    n = math.min(n, free)
    if n > 0 then
      redis.call('HSET', schedule, 'tat', tat + n * T, 'own', worker, 'turn', turn or st[3] or '0')
    end
    return n
  end
  return book, tat, free, owns, tonumber(st[3] or 0)
end
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
local MOST, FLOWS = 500, 64 -- tasks and flows of a class
-- Fetches tasks of one number from their queues together with the send slots that they leave on, and leases
-- them to a worker. The most urgent class comes first; every 20th slot goes to the others in turn, so that
-- none waits for ever. Only Go knows what can be sent: it has the records. A slot whose task cannot be sent
-- is spare, and the next call fills it.
-- Strings are expensive here, in and out, and so are numbers that become strings: so there are few.
-- KEYS  send schedule of the number
-- ARGV  worker, configured rate, end of the worker's own last booking us, most tasks to fetch,
--       sequence of this fetch, what to ask of each class: a digit for each, 0 nothing, n 2^(n-1)
--       tasks a slot, and a digit: 1 when the worker serves the number, 0 when it stands by; then, if
--       not 0, how much further than usual slots are booked us, spare slots; then the weights of flows: for each a
--       line with its name, the weight of its client, that of its campaign and, if it is limited, the time between two of its tasks us,
--       0 if none may go, or nothing, and then each class (from 1) of which none may go, separated by tabs. Without weights (not even an empty text) nothing is fetched
--       where flows share slots: the reply has their names, for the next call
-- Reply seconds, us: now; until the first slot us, time between slots us, slots booked, full rate,
--       classes that may have more, as bits; what is leased now: for each class a line: class
--       (from 0), the tasks' ids; the names of holds on templates, tags and campaigns,
--       and probe:<number>:<task> for tasks that may go all the same; the names of the flows that share slots; if in each of the
--       classes that may have more the rates of campaigns keep all: until a fetch is worth it us
-- LEAD, HORIZON, CAP, LAG, SLACK, MOST and FLOWS are set in front of it.
local schedule, worker = KEYS[1], ARGV[1]
local number, shard, queues = names_of(schedule)
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local capacity, further, spare = tonumber(ARGV[4]), 0, 0
if ARGV[7] then further, spare = tonumber(ARGV[7]), tonumber(ARGV[8]) end
local ask = ARGV[6]
local rate_key, holds = shard .. 'pace:' .. number, shard .. 'holds'
local asked = {} -- by class: tasks for each slot; nil: nothing of it
local flows = shard .. 'flows:' .. number
local rare = {rate_key, holds, flows}
for c = 1, 4 do
  local digit = string.byte(ask, c) - 48
  if digit > 0 then
    asked[c] = 2 ^ (digit - 1)
    rare[#rare + 1] = queues .. CLASSES[c] .. 'paused'
  end
end
local rate, pause = tonumber(ARGV[2]), tonumber(ARGV[3])
local full, kept, names = rate, false, nil
local named, weights, flow_of, met -- of flows with a name: their classes, weights, fetched tasks, and all that were met
if pause > now + CLOCK_SET then pause = 0 end -- booked before the clock was set back
if redis.call('EXISTS', unpack(rare)) > 0 then
  local until_us
  rate, full, until_us = effective_rate(rate_key, rate, now)
  pause = math.max(pause, until_us)
  -- The number of a check at a start is not of digits: its task leads to no request, and no hold concerns it.
  if redis.call('EXISTS', holds) == 1 and not string.find(number, '%D') then
    names, kept = {}, held(holds, 'all', now / 1000) or held(holds, 'number:' .. number, now / 1000)
    for _, hold in ipairs(kept and {} or redis.call('HKEYS', holds)) do
      local kind, of = string.match(hold, '^(%a+):(%d*):')
      if (kind == 'template' or kind == 'tag' or kind == 'campaign' or kind == 'probe') and (of == '' or of == number) and held(holds, hold, now / 1000) then
        names[#names + 1] = hold
      end
    end
  end
  for c = 1, 4 do
    if asked[c] and redis.call('EXISTS', queues .. CLASSES[c] .. 'paused') == 1 then asked[c] = nil end
  end
  for _, class in ipairs(redis.call('SMEMBERS', flows)) do
    if not named then named, weights, flow_of, met = {}, {}, {}, {} end
    named[class + 1] = true
  end
  if named then
    for flow, client, campaign, every, closed in string.gmatch(ARGV[9] or '', '([^\t\n]*)\t(%d+)\t(%d+)\t?(%d*)([\t%d]*)') do
      weights[flow] = {client, campaign, tonumber(every), closed}
    end
    for class in pairs(ARGV[9] and {} or named) do
      each_flow(shard, number, class - 1, FLOWS, function(flow) met[#met + 1] = flow end)
    end
  end
end
local T = math.ceil((1000000 + SLACK) / rate)
local horizon = HORIZON + further
local shift = math.max(CAP, horizon)
if string.byte(ask, 5) == 48 then shift = shift + LAG end
-- Urgent tasks may book further ahead: at the worker they go before what it has fetched, and
-- that gets the later slots. Not at a worker that does not own the schedule, or it would find
-- slots while the owner keeps up.
local book, first, reach, owns, turn = slots(schedule, worker, now, T, 2 * horizon, LEAD + further, shift, pause)
local most = math.max(0, math.min(math.floor((now + horizon - first) / T) + 1, reach))
if not owns then reach = most end
most, reach = math.min(most + spare, capacity), math.min(reach + spare, capacity)

local fetched, n = {}, 0 -- by class: the ids fetched; for how many slots that is
local rates = {} -- by flow: when the next task of a flow with a rate is due, in microseconds
-- limit lets of a flow go what the rate of its campaign lets go now. The others rest. Tasks are due every so often, and may be
-- fetched as early as slots are booked. A worker that stands by waits whether the other one fetches what is due.
local function limit(f, every)
  local all = f.left
  f.left = 0
  if every > 0 then
    f.every, f.rate_key = every, shard .. 'flowrate:' .. number .. ':' .. f.flow
    local due = rates[f.flow] or tonumber(redis.call('GET', f.rate_key) or 0)
    due = math.min(due, now + horizon + every) -- later is from before the rate, or the clock, was changed
    if string.byte(ask, 5) ~= 48 or due < now - LAG then
      f.left = math.min(all, math.floor((now + horizon - math.max(due, now)) / every) + 1)
    end
    rates[f.flow] = math.max(due, now)
  end
  f.rest = all - f.left
end
-- living fetches the tasks of a flow with a rate. Those that were deleted cost it nothing.
local function living(f, queue)
  local ids, looked = {}, 0
  repeat
    local some, keys = redis.call('RPOP', f.list, f.n - #ids) or {}, {}
    for i, id in ipairs(some) do keys[i] = queue .. 't:' .. id end
    local all = #some == 0 or redis.call('EXISTS', unpack(keys)) == #some
    for i, id in ipairs(some) do
      if all or redis.call('EXISTS', keys[i]) == 1 then ids[#ids + 1] = id end
    end
    looked = looked + #some
  until #some == 0 or #ids == f.n or looked >= MOST
  rates[f.flow] = rates[f.flow] + #ids * f.every
  redis.call('SET', f.rate_key, string.format('%.0f', rates[f.flow]), 'PX', math.ceil((rates[f.flow] - now) / 1000) + 60000)
  return ids
end
-- level is those who share: the clients of a class, or the campaigns of a client. fill sets what of one may go (left), what its rate
-- keeps (rest), and its weight. One that had no tasks begins where the others are. None gets further ahead of them than one task: what is
-- fetched may be set aside. Where there are more than are read, those of which only the rest waits leave their place to others.
local function level(key, some, unnamed, fill)
  local entries, floor, highest = redis.call('ZRANGE', key, 0, some - 1, 'WITHSCORES'), math.huge, 0
  local all = {key = key, more = #entries == 2 * some}
  for i = 1, #entries, 2 do
    all[#all + 1] = {name = entries[i], at = tonumber(entries[i + 1])}
    unnamed = unnamed and entries[i] ~= ''
  end
  if unnamed then all[#all + 1] = {name = '', at = 0} end
  for _, f in ipairs(all) do
    fill(f)
    f.was, highest = f.at, math.max(highest, f.at)
    if f.left > 0 and f.at > 0 then floor = math.min(floor, f.at) end -- 0 has not sent
  end
  if floor == math.huge then floor = math.max(highest, 1) end
  local last = nil
  for _, f in ipairs(all) do
    f.step = 1 / f.weight
    if f.left > 0 then
      f.at = math.min(math.max(f.at, floor), floor + f.step)
    elseif f.rest > 0 and all.more then
      last = last or tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
      f.at = math.max(last, floor) + f.step
    end
  end
  return all
end
-- take returns the one of a level that sends next: the one with the least virtual time, which grows.
local function take(all)
  local next
  for _, f in ipairs(all) do
    if f.left > 0 and (not next or f.at < next.at) then next = f end
  end
  if next then next.left, next.at = next.left - 1, next.at + next.step end
  return next
end
-- settle stores the virtual times of a level. Those without tasks that are not ahead are removed.
local function settle(all)
  local floor = math.huge
  for _, f in ipairs(all) do
    if f.left > 0 then floor = math.min(floor, f.at) end
  end
  for _, f in ipairs(all) do
    if f.left == 0 and f.rest == 0 and f.at <= floor and not f.more then
      if f.was > 0 or f.name ~= '' then redis.call('ZREM', all.key, f.name) end
    elseif f.at ~= f.was then
      redis.call('ZADD', all.key, string.format('%.9f', f.at), f.name)
    end
  end
end
-- shared fetches tasks of a class whose clients share its slots by their weights, and the campaigns of a client what it
-- gets (start-time fair queueing). It returns the tasks, whether there may be more, and if not, how long until a fetch of those
-- that rates keep is worth it.
local function shared(c, some)
  local key, queue = flows .. ':' .. (c - 1), queues .. CLASSES[c]
  local campaigns_most = math.max(8, math.floor(FLOWS / math.max(redis.call('ZCARD', key), 1)))
  local named_left, rest, wait = false, false, nil
  local clients = level(key, FLOWS, true, function(client)
    client.left, client.rest, client.weight = 0, 0, 1
    client.campaigns = level(key .. ':' .. client.name, campaigns_most, client.name == '', function(f)
      f.flow = client.name .. '/' .. f.name
      if f.flow == '/' then f.flow = '' end
      f.list = list_of(shard, number, c - 1, queue, f.flow)
      f.left, f.rest, f.n, f.weight = redis.call('LLEN', f.list), 0, 0, 1
      if f.left > 0 then met[#met + 1] = f.flow end
      local w = weights[f.flow]
      if w then
        client.weight, f.weight = w[1], w[2]
        local every = string.find(w[4], c, 1, true) and 0 or w[3]
        if every and f.left > 0 then limit(f, every) end
      end
      client.left, client.rest = client.left + f.left, client.rest + f.rest
    end)
    client.more = client.campaigns.more
  end)
  local order, more = {}, clients.more
  while #order < some do
    local client = take(clients)
    if not client then break end
    local f = take(client.campaigns)
    f.n, order[#order + 1] = f.n + 1, f
  end
  for _, client in ipairs(clients) do
    for _, f in ipairs(client.campaigns) do
      if f.n > 0 then f.ids = f.every and living(f, queue) or redis.call('RPOP', f.list, f.n) end
      named_left = named_left or f.flow ~= '' and f.left + f.rest > 0
      rest = rest or f.rest > 0
      if f.every and f.rest > 0 then wait = math.min(wait or math.huge, rates[f.flow] - now - horizon / 2) end
    end
    more = more or client.more
    settle(client.campaigns)
  end
  settle(clients)
  if not named_left and not more then
    redis.call('DEL', key, key .. ':')
    redis.call('SREM', flows, c - 1)
  end
  local ids, taken = {}, {}
  for _, f in ipairs(order) do
    taken[f] = (taken[f] or 0) + 1
    local id = f.ids[taken[f]]
    if id then ids[#ids + 1], flow_of[id] = id, f.flow ~= '' and f.flow end
  end
  if more and #order == 0 and rest then more, wait = false, 0 end -- read the next ones
  return ids, more, wait and math.max(wait, horizon / 2)
end
local later = {} -- by class: until a fetch of what rates keep is worth it us
-- pop fetches the tasks for up to so many slots from a class, and returns for how many there were.
local function pop(c, wanted)
  if wanted <= 0 or not asked[c] then return 0 end
  local some = math.min(wanted * asked[c], MOST)
  local ids, more, wait
  if named and named[c] then ids, more, wait = shared(c, some) else ids = redis.call('RPOP', queues .. CLASSES[c] .. 'pending', some) end
  if not more and (not ids or #ids < some) then asked[c], later[c] = nil, wait end -- there are no more that may go
  if not ids or #ids == 0 then return 0 end
  if fetched[c] then
    for _, id in ipairs(ids) do fetched[c][#fetched[c] + 1] = id end
  else
    fetched[c] = ids
  end
  return math.min(#ids, wanted)
end
-- shares is how many of the next slots go to the others.
local function shares(of) return math.floor((turn + of) / 20) - math.floor(turn / 20) end
-- others fetches tasks of the other classes: they get the slots in turn, and the next class gets those of
-- a class that has no more.
local function others(count)
  local start = math.floor(turn / 20)
  local rest = 0
  for j = 1, 3 do
    local wanted = math.floor((count + 3 - j) / 3)
    local got = pop((start + j) % 3 + 2, wanted)
    n, rest = n + got, rest + wanted - got
  end
  for j = 1, 3 do
    local got = pop((start + j) % 3 + 2, rest)
    n, rest = n + got, rest - got
  end
end
if not kept and reach > 0 and (not named or ARGV[9]) then
  local share = shares(reach)
  n = pop(1, reach - share)
  -- Where more of the most urgent wait, they get all but the share of the others.
  if asked[1] and (n > 0 or named and named[1] or redis.call('EXISTS', queues .. CLASSES[1] .. 'pending') == 1) then
    others(share)
    n = n + pop(1, reach - n)
  end
  if n < most then
    others(math.min(shares(most) - (asked[1] and share or 0), most - n))
    for c = 1, 4 do n = n + pop(c, most - n) end
  end
end

local lease, booked, left, wait = nil, 0, 0, math.huge
for c = 4, 1, -1 do
  if fetched[c] then
    local ids = table.concat(fetched[c], ' ')
    lease = (c - 1) .. ' ' .. ids .. (lease and '\n' .. lease or '')
  end
  left = 2 * left + ((asked[c] or later[c]) and not kept and 1 or 0)
  wait = math.min(wait, asked[c] and 0 or later[c] or math.huge)
end
if lease then
  local leases, field = shard .. 'hands:' .. number, worker .. '/' .. ARGV[5]
  if redis.call('HSETNX', leases, field, lease) == 1 then
    booked = book(math.max(n - spare, 0), turn + n)
  else -- this call runs for the second time, because its first answer was lost
    for c = 1, 4 do
      for i = #(fetched[c] or {}), 1, -1 do to_head(shard, number, c - 1, queues .. CLASSES[c], flow_of and flow_of[fetched[c][i]], fetched[c][i]) end
    end
    lease = redis.call('HGET', leases, field)
  end
end
return {t[1], t[2], first - now, T, booked, full, left, lease or false, names or false, met or false, wait < math.huge and math.ceil(wait) or 0}
