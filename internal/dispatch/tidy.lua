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
