-- names_of reads the number in one of its keys, and returns it and what the keys of its shard and of its
-- queues begin with: a key that is passed costs a script more than one that is made here. A queue's own
-- part begins with its class, the most urgent first. It is put in front of the scripts that need it.
local CLASSES = {'authentication}:', 'service}:', 'utility}:', 'marketing}:'}
local function names_of(key)
  local tag, number = string.match(key, '^sluice:({s%d+}):%a+:(.*)$')
  return number, 'sluice:' .. tag .. ':', 'asynq:' .. tag .. ':' .. number .. ':'
end
