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
-- Tests whether an epoch is the latest one, and belongs to this process of the server.
-- KEYS  run
-- ARGV  the epoch
-- Reply 1, or 0
if run_id() == string.match(ARGV[1], '^[^.]*') and redis.call('HGET', KEYS[1], 'run') == ARGV[1] then return 1 end
return 0
