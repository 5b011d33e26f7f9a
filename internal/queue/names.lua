-- names_of derives the keys of a number from that of its send schedule. It goes in front of scripts
-- that need it: a key that is given costs a script more than one that is made here.
local CLASSES = {'authentication', 'service', 'utility', 'marketing'} -- the most urgent first
local function names_of(line)
  local tag, number = string.match(line, '^sluice:({s%d+}):line:(.*)$')
  local base, queues = 'sluice:' .. tag .. ':', 'asynq:' .. tag .. ':' .. number .. ':'
  local names = {number = number}
  -- own is a key of the number's, shared one of its shard's.
  function names.own(what) return base .. what .. ':' .. number end
  function names.shared(what) return base .. what end
  -- asynq is a key of asynq's queue of a class, from 1.
  function names.asynq(c, what) return queues .. CLASSES[c] .. '}:' .. what end
  return names
end
