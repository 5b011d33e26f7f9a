-- Makes the record of a new message. A message that is there already stays as it is.
-- KEYS  record, payload, waiting, stream
-- ARGV  id, nonce of this request, content hash, context JSON, expires at ms, send at ms (0: at once), payload,
--       name of its number and recipient ('': none), template ('': none), name of its reference ('': none)
-- Reply {1 when this very request made it, state, content hash, expires at ms}
local r = redis.call('HMGET', KEYS[1], 'nonce', 'hash', 'st', 'exp')
if r[3] then
  local mine = 0
  if r[1] == ARGV[2] then mine = 1 end
  return {mine, r[3], r[2], r[4]}
end
local ms = now()
redis.call('HSET', KEYS[1], 'st', 'queued', 'nonce', ARGV[2], 'hash', ARGV[3], 'ctx', ARGV[4],
  'exp', ARGV[5], 'acc', int(ms), 'next', ARGV[6], 'n', 0, 'k', 0)
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'pair', ARGV[8]) end
if ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'tpl', ARGV[9]) end
if ARGV[10] ~= '' then refer(KEYS[1], ARGV[1], ms, ARGV[10]) end
redis.call('SET', KEYS[2], ARGV[7])
redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1])
step(KEYS[1], ms, 'queued', 0, 0, '')
publish(KEYS[4], ms, ARGV[4], 'queued', 0, '', '0', '')
return {1, 'queued', ARGV[3], ARGV[5]}
