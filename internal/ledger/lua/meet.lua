-- Tells which run of the server this is, and how long nothing may be begun after it followed another.
-- KEYS  run
-- ARGV  how long that is, in ms
-- Reply {run, ms left of it}
local run, ms = run_id(), now()
local seen = redis.call('HMGET', KEYS[1], 'run', 'until')
if seen[1] ~= run then
  seen[2] = int(seen[1] and ms + ARGV[1] or 0)
  redis.call('HSET', KEYS[1], 'run', run, 'until', seen[2])
end
return {run, math.max(0, seen[2] - ms)}
