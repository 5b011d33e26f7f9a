-- standing tells what a task is worth, by its message's record. It goes in front of scripts
-- that take tasks.
-- standing(prefix of records, task id, now in ms) returns
--   'go', nil, pair, template   it may be sent; pair names its number and recipient
--   'later', ms        not before then
--   'none'             nothing is to be done: cancelled, past its deadline, settled, or another task's
local function standing(records, task, now)
  local id, k = string.match(task, '^(.*)%.(%d+)$')
  if not id then return 'none' end
  local r = redis.call('HMGET', records .. id, 'st', 'k', 'exp', 'next', 'pair', 'tpl')
  -- A task whose lease ran out while its owner still tries: if the attempt ends in a retry, this
  -- is the task that makes it.
  if r[1] == 'attempting' and r[2] == k then return 'later', now + 5000 end
  if r[1] ~= 'queued' or r[2] ~= k or now >= tonumber(r[3]) then return 'none' end
  if r[4] and tonumber(r[4]) > now then return 'later', tonumber(r[4]) end
  return 'go', nil, r[5], r[6]
end

-- tags_of returns the tags of a task's message.
local function tags_of(records, task)
  local x = redis.call('HGET', records .. string.match(task, '^(.*)%.%d+$'), 'x')
  return x and cjson.decode('{' .. x .. '}').tags or {}
end
