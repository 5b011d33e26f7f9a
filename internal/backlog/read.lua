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
