-- Makes the record of a new message. A message that is there already stays as it is.
-- KEYS  record, payload, waiting, stream
-- ARGV  id, nonce of this request, content hash, expires at ms, payload, name of its reference or '',
--       the event that says so before and after its time; then further fields of the record, each with its value
-- Reply {1 when this very request made it, state, content hash, expires at ms}

-- refer enters a new message into the index of its reference, which keeps the latest 100.
local function refer(rec, id, ms, ref)
  local index = index_of(rec, ref)
  redis.call('ZADD', index, int(ms + FAR), rest_of(id))
  local n = redis.call('ZCARD', index)
  if n > 1 then redis.call('PERSIST', index) end
  if n > 100 then
    redis.call('ZREMRANGEBYSCORE', index, '-inf', ms)
    redis.call('ZREMRANGEBYRANK', index, 0, -101)
  end
end

local r = redis.call('HMGET', KEYS[1], 'nonce', 'hash', 'st', 'exp')
if r[3] then return {r[1] == ARGV[2] and 1 or 0, r[3], r[2], r[4]} end
local ms = now()
redis.call('HSET', KEYS[1], 'st', 'queued', 'k', '0', 'exp', ARGV[4], 'n', '0', 'acc', ms, 'hash', ARGV[3], 'nonce', ARGV[2],
  unpack(ARGV, 9))
if ARGV[6] ~= '' then refer(KEYS[1], ARGV[1], ms, ARGV[6]) end
redis.call('SET', KEYS[2], ARGV[5])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
redis.call('XADD', KEYS[4], '*', 'events', ARGV[7] .. ms .. ARGV[8])
return {1, 'queued', ARGV[3], ARGV[4]}
