-- names_of reads the number in the key of its send schedule, and returns it and what the keys of its
-- shard and of its queues begin with: a key that is given costs a script more than one that is made
-- here. A queue's own part begins with its class, the most urgent first. It goes in front of scripts
-- that need it.
local CLASSES = {'authentication}:', 'service}:', 'utility}:', 'marketing}:'}
local function names_of(line)
  local tag, number = string.match(line, '^sluice:({s%d+}):line:(.*)$')
  return number, 'sluice:' .. tag .. ':', 'asynq:' .. tag .. ':' .. number .. ':'
end
