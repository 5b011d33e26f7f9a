-- Removes tasks that do not exist any more from a part of a list. It is for numbers that no worker serves:
-- where one does, the ids are removed when they are fetched.
-- KEYS  send schedule of the number
-- ARGV  a class from 0: its pending tasks; or a class, a tab and a flow: the tasks of the flow; or the name of a
--       hold: the tasks that it has; where to begin, how many to look at
-- Reply how many of them stay, and how long the list is then
local number, shard, queues = names_of(KEYS[1])
local class, flow = string.match(ARGV[1], '^(%d)\t?(.*)$')
local list = class and list_of(shard, number, class, queues .. CLASSES[class + 1], flow) or shard .. 'held:' .. number .. ':' .. ARGV[1]
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
if length == 0 and not class then redis.call('SREM', shard .. 'held:' .. number, ARGV[1]) end
if length == 0 and class and flow ~= '' then
  local clients, client, campaigns, campaign = sets_of(shard, number, class, flow)
  redis.call('ZREM', campaigns, campaign)
  if redis.call('EXISTS', campaigns) == 0 then redis.call('ZREM', clients, client, '') end
  if redis.call('EXISTS', clients) == 0 then redis.call('SREM', shard .. 'flows:' .. number, class) end
end
return {stay, length}
