-- Records the intent to send, before the request leaves.
-- KEYS  record, payload, waiting, attempts, stream
-- ARGV  id, token of this attempt (worker/sequence), task counter k, record life ms when it ends here,
--       the run of this server that the worker knows
-- Reply {'go', attempt, payload, expires at ms, counted failures, class, template, ms left until then}
--       {'early', ms to wait}  its time has not come
--       {'busy'}               another attempt of it is under way
--       {'done', state}        nothing to do for this task; {'done', 'expired', why} when that is news
--       {'restarted'}          this is another run of the server, and the worker must write down first what it remembers
if run_id() ~= ARGV[5] then return {'restarted'} end
local rec = KEYS[1]
local r = redis.call('HMGET', rec, 'st', 'k', 'exp', 'n', 'acc', 'c', 'tl', 'next', 'tpl', 'f', 'own')
local st = r[1]
if not st then return {'done', 'gone'} end
local function go(n, ms)
  return {'go', n, redis.call('GET', KEYS[2]) or '', r[3], r[10] or '0', r[6], r[9] or '', int(r[3] - ms)}
end
if st == 'attempting' then
  if r[11] == ARGV[2] then return go(tonumber(r[4]), now()) end
  return {'busy'}
end
if st ~= 'queued' or r[2] ~= ARGV[3] then return {'done', st} end
local ms = now()
if tonumber(ms) >= tonumber(r[3]) then
  local why = tonumber(r[4]) > 0 and 'deadline_in_retry' or 'deadline'
  local more = redis.call('HMGET', rec, 'ty', 'to', 'x', 'ref')
  redis.call('HSET', rec, 'st', 'expired', 'why', why, 'tl', stepped(r[7], r[5], ms, 'expired', r[4], 0, why))
  redis.call('HDEL', rec, 'next', 'nonce', 'f', 'pair', 'code')
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[3], ARGV[1])
  publish(KEYS[5], ms, ARGV[1], {r[6], more[1], more[2], r[9], more[3]}, 'expired', r[4], '', 0, why)
  live(rec, ARGV[1], ms, ARGV[4], more[4])
  return {'done', 'expired', why}
end
local wait = tonumber(r[8] or '0') - ms
if wait > 0 then return {'early', wait} end
local n = r[4] + 1
redis.call('HSET', rec, 'st', 'attempting', 'own', ARGV[2], 'at', ms, 'n', n,
  'tl', stepped(r[7], r[5], ms, 'attempting', n, 0, ''))
if r[8] or n > 1 then redis.call('HDEL', rec, 'next', 'why', 'code') end
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[4], ms, ARGV[1])
return go(n, ms)
