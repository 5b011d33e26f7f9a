#!lua flags=allow-oom
-- now returns this node's clock in milliseconds, as digits: one clock for all workers.
local function now()
  local t = redis.call('TIME')
  return t[1] .. string.sub('000000' .. t[2], -6, -4)
end

local function int(v) return string.format('%d', v) end

-- run_id identifies this process of the server: after a restart, and on another node, it differs.
-- A substitute for Redis without a run id keeps its data in memory only.
local function run_id()
  local info = redis.pcall('INFO', 'server')
  if type(info) ~= 'string' then return 'only' end
  local _, last = string.find(info, 'run_id:', 1, true) -- a pattern would cost as much as INFO
  return last and string.match(info, '^%w+', last + 1) or 'only'
end
-- Returns the live workers, by this node's clock. A heartbeat in the future is from before the clock was
-- set back: a live worker soon has a newer one.
-- KEYS  workers
-- ARGV  age in ms at which a heartbeat is too old, ms by which one may be in the future
-- Reply now in ms, the names of the live workers
local ms = now()
local names = redis.call('ZRANGEBYSCORE', KEYS[1], int(ms - ARGV[1]), int(ms + ARGV[2]))
table.insert(names, 1, ms)
return names
