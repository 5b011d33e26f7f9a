-- Takes tasks of one number together with the send slots they leave on: asynq's dequeue, for
-- several queues and several tasks at once. What cannot be sent now is set aside and costs no
-- slot. The most urgent class comes first; every 20th slot goes to the others in turn, so
-- that none waits for ever.
-- KEYS  line, pace, holds, names of what is held and has tasks set aside; then for each class, the most urgent first: pending, paused,
--       active, lease, scheduled
-- ARGV  owner, configured rate, climb, slack us, horizon us, lead us, cap us, end of the owner's
--       own last booking us, most tasks to take, lease in seconds, prefix of records,
--       prefix of pair lines, number, prefix of lists of held tasks; then for each class the
--       prefix of its task keys
-- Reply {now us, time of the first slot us, time between slots us, us until a further look is
--       worth it (-1: nothing waits), full rate, then for each task: class (from 0), id, asynq's message}
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local horizon = tonumber(ARGV[5])
local rate, full, pause = pace(KEYS[2], tonumber(ARGV[2]), now, tonumber(ARGV[3]))
local T = math.ceil((1000000 + tonumber(ARGV[4])) / rate)
-- Urgent tasks may book further ahead: at the worker they go before what it has in hand, and
-- that takes the later slots. Not at a worker that does not own the line, or it would find
-- slots while the owner keeps up.
local reach = horizon
if redis.call('HGET', KEYS[1], 'own') == ARGV[1] then reach = 2 * horizon end
local book, first, free = slots(KEYS[1], ARGV[1], now, T, reach, tonumber(ARGV[6]), tonumber(ARGV[7]),
  math.max(tonumber(ARGV[8]), pause))
local most_urgent = math.min(free, tonumber(ARGV[9]))
local most = math.min(math.floor((now + horizon - first) / T) + 1, most_urgent)
local until_s = t[1] + tonumber(ARGV[10])
local classes = (#KEYS - 4) / 5
local us = function(v) return string.format('%.0f', v) end
local aside = 500 -- how many one call sets aside: more would keep others from Redis too long
local reply = {us(now), us(first), us(T), '-1', us(full)}
local any_held = redis.call('EXISTS', KEYS[3]) == 1
-- held_by tells whether there is a hold of that name, with one look a call.
local known = {}
local function held_by(name)
  if known[name] == nil then known[name] = held(KEYS[3], name, now / 1000) end
  return known[name]
end
if any_held and (held_by('all') or held_by('number:' .. ARGV[13])) then return reply end
local tag_held = false
for _, name in ipairs(any_held and redis.call('HKEYS', KEYS[3]) or {}) do
  tag_held = tag_held or string.sub(name, 1, 4) == 'tag:'
end
local paused, empty = {}, {}
for c = 0, classes - 1 do paused[c] = redis.call('EXISTS', KEYS[6 + c * 5]) == 1 end
local active, leases = {}, {} -- by class: the ids taken, and what ZADD wants to know of them

-- later sets a task aside until ms, as asynq does with delayed ones.
local function later(c, id, task, ms)
  redis.call('ZADD', KEYS[9 + c * 5], math.ceil(ms / 1000), id)
  redis.call('HSET', task, 'state', 'scheduled')
  redis.call('HDEL', task, 'pending_since')
end

-- kept_by returns the name of what keeps a task's message, of its template or a tag, or nil.
local function kept_by(id, template)
  if not any_held then return nil end
  local name = template and 'template:' .. ARGV[13] .. ':' .. template
  if name and held_by(name) then return name end
  for _, tag in ipairs(tag_held and tags_of(ARGV[11], id) or {}) do
    for _, number in ipairs({'', ARGV[13]}) do
      name = 'tag:' .. number .. ':' .. tag
      if held_by(name) then return name end
    end
  end
end

-- next_of takes the next task of a class that can be sent now, or returns false.
local function next_of(c)
  if paused[c] or empty[c] then return false end
  local k = 5 + c * 5
  while aside > 0 do
    local id = redis.call('RPOP', KEYS[k])
    if not id then
      empty[c] = true
      return false
    end
    local task = ARGV[15 + c] .. id
    local verdict, ms, pair, template = standing(ARGV[11], id, now / 1000)
    local hold = verdict == 'go' and kept_by(id, template)
    if hold then
      verdict = 'held'
    elseif verdict == 'go' and pair then
      ms = pair_free(ARGV[12] .. pair, now)
      if ms > 0 then verdict = 'later' end
    end
    if verdict == 'go' then
      local msg = redis.call('HGET', task, 'msg')
      if msg then
        redis.call('HSET', task, 'state', 'active')
        redis.call('HDEL', task, 'pending_since')
        local ids, scores = active[c] or {}, leases[c] or {}
        active[c], leases[c] = ids, scores
        ids[#ids + 1] = id
        scores[#scores + 1] = until_s
        scores[#scores + 1] = id
        reply[#reply + 1] = c
        reply[#reply + 1] = id
        reply[#reply + 1] = msg
        return true
      end
    elseif verdict == 'later' then
      later(c, id, task, ms)
    elseif verdict == 'held' then
      redis.call('RPUSH', ARGV[14] .. hold, c .. ' ' .. id)
      redis.call('SADD', KEYS[4], hold)
    else
      redis.call('DEL', task) -- there is nothing to do for it
    end
    aside = aside - 1
  end
  return false
end

local n, turn = 0, tonumber(redis.call('HGET', KEYS[1], 'turn') or 0)
while n < most_urgent do
  turn = turn + 1
  local took = false
  if n >= most and (turn % 20 > 0 or redis.call('EXISTS', KEYS[5]) == 0) then
    took = next_of(0)
  elseif turn % 20 == 0 then
    local start = (turn / 20) % (classes - 1)
    for i = 0, classes - 2 do
      if next_of((start + i) % (classes - 1) + 1) then took = true; break end
    end
    took = took or next_of(0)
  else
    for c = 0, classes - 1 do
      if next_of(c) then took = true; break end
    end
  end
  if not took then break end
  n = n + 1
end
for c, ids in pairs(active) do -- as many as two horizons have slots: unpack takes 8,000
  redis.call('LPUSH', KEYS[7 + c * 5], unpack(ids))
  redis.call('ZADD', KEYS[8 + c * 5], unpack(leases[c]))
end
if book(n) > 0 then redis.call('HSET', KEYS[1], 'turn', turn) end
for c = 0, classes - 1 do
  if not paused[c] and redis.call('EXISTS', KEYS[5 + c * 5]) == 1 then
    local wait = first + n * T - now - (horizon + tonumber(ARGV[6])) / 2
    if aside == 0 then wait = 0 end
    reply[4] = us(math.max(wait, 1000))
    break
  end
end
return reply
