#!lua flags=allow-oom
-- names_of reads the number in one of its keys, and returns it and what the keys of its shard and of its
-- queues begin with: a key that is passed costs a script more than one that is made here. A queue's own
-- part begins with its class, the most urgent first. It is put in front of the scripts that need it.
local CLASSES = {'authentication}:', 'service}:', 'utility}:', 'marketing}:'}
local function names_of(key)
  local tag, number = string.match(key, '^sluice:({s%d+}):%a+:(.*)$')
  return number, 'sluice:' .. tag .. ':', 'asynq:' .. tag .. ':' .. number .. ':'
end
-- Removes tasks that do not exist any more from a part of a list. It is for numbers that no worker serves:
-- where one does, the ids are removed when they are fetched.
-- KEYS  send schedule of the number
-- ARGV  a class from 0: its pending tasks; or the name of a hold: the tasks that it has; where to begin, how
--       many to look at
-- Reply how many of them stay, and how long the list is then
local number, shard, queues = names_of(KEYS[1])
local class = string.match(ARGV[1], '^%d$')
local list = class and queues .. CLASSES[class + 1] .. 'pending' or shard .. 'held:' .. number .. ':' .. ARGV[1]
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
if not class and length == 0 then redis.call('SREM', shard .. 'held:' .. number, ARGV[1]) end
return {stay, length}
