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
-- Records a heartbeat of a worker, and returns the epoch of the shard. A new epoch begins when the server
-- is another process than that of the epoch, and when it lacks a heartbeat of the worker that it had
-- answered: then it was set back to an earlier state, and has lost all later writes.
-- KEYS  epoch, workers, numbers of their heartbeats, workers that have not replayed
-- ARGV  worker ('': none), number of this heartbeat, number of the latest that was answered, the epoch in
--       which the worker has replayed, a name for a new epoch, ms without a heartbeat after which a worker is
--       dead, ms until a dead worker's heartbeat is deleted
-- Reply {epoch, ms until attempts may begin, the worker's latest heartbeat that was here before, now in ms,
--       1 when a new epoch has begun in the same process, else 0}
local ms, id, worker = now(), run_id(), ARGV[1]
local dead = tonumber(ARGV[6])
local seen = redis.call('HMGET', KEYS[1], 'run', 'until')
local epoch, ends = seen[1], tonumber(seen[2] or 0)
local kept = '0'
if worker ~= '' then kept = redis.call('HGET', KEYS[3], worker) or '0' end
local lost = tonumber(kept) < tonumber(ARGV[3]) and redis.call('SISMEMBER', KEYS[4], worker) == 0
local same = epoch and string.match(epoch, '^[^.]*') == id
if lost or not same then
  redis.call('DEL', KEYS[4])
  if epoch or lost then -- the workers that were alive before it replay first
    ends = ms + dead
    local newest = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
    for _, w in ipairs(newest and redis.call('ZRANGEBYSCORE', KEYS[2], int(newest - dead), '+inf') or {}) do
      redis.call('SADD', KEYS[4], w)
    end
    if worker ~= '' then redis.call('SADD', KEYS[4], worker) end
  end
  epoch = id .. '.' .. ARGV[5]
  redis.call('HSET', KEYS[1], 'run', epoch, 'until', int(ends))
end
if worker ~= '' then
  if ARGV[4] == epoch then redis.call('SREM', KEYS[4], worker) end
  if tonumber(ARGV[2]) > tonumber(kept) then redis.call('HSET', KEYS[3], worker, ARGV[2]) end
  redis.call('ZADD', KEYS[2], ms, worker)
  for _, w in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', int(ms - ARGV[7]))) do
    redis.call('ZREM', KEYS[2], w)
    redis.call('HDEL', KEYS[3], w)
  end
end
local wait = 0
if redis.call('EXISTS', KEYS[4]) == 1 then
  if ends > ms + dead then -- the clock was set back
    ends = ms + dead
    redis.call('HSET', KEYS[1], 'until', int(ends))
  end
  wait = math.max(0, ends - ms)
  if wait == 0 then redis.call('DEL', KEYS[4]) end -- the time of the others is over
end
return {epoch, wait, tonumber(kept), tonumber(ms), lost and same and 1 or 0}
