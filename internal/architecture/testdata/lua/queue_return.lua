#!lua flags=allow-oom
-- names_of reads the number in one of its keys, and returns it and what the keys of its shard and of its
-- queues begin with: a key that is passed costs a script more than one that is made here. A queue's own
-- part begins with its class, the most urgent first. It is put in front of the scripts that need it.
local CLASSES = {'authentication}:', 'service}:', 'utility}:', 'marketing}:'}
local function names_of(key)
  local tag, number = string.match(key, '^sluice:({s%d+}):%a+:(.*)$')
  return number, 'sluice:' .. tag .. ':', 'asynq:' .. tag .. ':' .. number .. ':'
end
-- Returns leased tasks to the heads of their queues, in their order: once, whichever workers ask for
-- it. A task that is finished, or that waits for its time, is not changed.
-- KEYS  leases of the number
-- ARGV  fields of leases, the latest first
-- Reply how many tasks were returned
local leases = KEYS[1]
local _, _, queues = names_of(leases)
local n = 0
for _, field in ipairs(ARGV) do
  local fetch = redis.call('HGET', leases, field)
  for class, line in string.gmatch((fetch or '') .. '\n', '(%d) ([^\n]*)\n') do
    local queue, ids = queues .. CLASSES[class + 1], {}
    for id in string.gmatch(line, '%S+') do ids[#ids + 1] = id end
    for i = #ids, 1, -1 do
      if redis.call('HGET', queue .. 't:' .. ids[i], 'state') == 'pending' then
        redis.call('RPUSH', queue .. 'pending', ids[i])
        n = n + 1
      end
    end
  end
  redis.call('HDEL', leases, field)
end
return n
