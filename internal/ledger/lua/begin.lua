-- Records the intent to send, before the request leaves.
-- KEYS  record, payload, waiting, attempts, stream
-- ARGV  id, token of this attempt (worker/sequence), task counter k, record life ms when it ends here
-- Reply {'go', attempt, context, payload, expires at ms, counted failures, resent}
--       {'early', ms to wait}  its time has not come
--       {'busy'}               another attempt of it is under way
--       {'done', state}        nothing to do for this task
local r = redis.call('HMGET', KEYS[1], 'st', 'own', 'k', 'exp', 'next', 'n', 'ctx', 'f', 'rs')
local st = r[1]
if not st then return {'done', 'gone'} end
local function go(n)
  return {'go', n, r[7], redis.call('GET', KEYS[2]) or '', r[4], r[8] or '0', r[9] or '0'}
end
if st == 'attempting' then
  if r[2] == ARGV[2] then return go(tonumber(r[6])) end
  return {'busy'}
end
if st ~= 'queued' or r[3] ~= ARGV[3] then return {'done', st} end
local ms = now()
if ms >= tonumber(r[4]) then
  redis.call('HSET', KEYS[1], 'st', 'expired', 'code', 0, 'why', 'deadline')
  redis.call('HDEL', KEYS[1], 'next', 'nonce', 'f', 'pair', 'tpl')
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[3], ARGV[1])
  step(KEYS[1], ms, 'expired', r[6], 0, 'deadline')
  publish(KEYS[5], ms, r[7], 'expired', r[6], '', '0', 'deadline')
  live(KEYS[1], ARGV[1], ms, ARGV[4])
  return {'done', 'expired'}
end
local wait = tonumber(r[5] or '0') - ms
if wait > 0 then return {'early', wait} end
local n = redis.call('HINCRBY', KEYS[1], 'n', 1)
redis.call('HSET', KEYS[1], 'st', 'attempting', 'own', ARGV[2], 'at', int(ms))
redis.call('HDEL', KEYS[1], 'next', 'code', 'why')
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[4], int(ms), ARGV[1])
step(KEYS[1], ms, 'attempting', n, 0, '')
return go(n)
