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
