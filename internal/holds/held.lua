-- held returns whether there is a hold, by its field in the hash of holds, that has not ended: true, or
-- 'probe' when one task at a time may go. It is put in front of the scripts that need it.
local function held(holds, field, now_ms)
  local v = redis.call('HGET', holds, field)
  if not v then return false end
  local ends, probes = string.match(v, '^(%d+)%+?(%d*)')
  ends = tonumber(ends or 0) -- a hold that cannot be read stays in force, and affects no other hold
  if ends == 0 or ends > now_ms then return true end
  if probes ~= '' and ends + probes > now_ms then return 'probe' end
  redis.call('HDEL', holds, field)
  return false
end
