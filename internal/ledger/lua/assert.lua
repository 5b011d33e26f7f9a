-- Writes down again that an attempt was begun, for the worker that began it, where the server
-- lost it.
-- KEYS  record, waiting, attempts, doubts, parked
-- ARGV  id, attempt n, task counter k, token, begun at ms, the state it led to ('': it is under way)
-- Reply 'lost'     the record was behind this attempt: the intent is in it again
--       'behind'   it lacks what came of the attempt
--       'known'    nothing was lost
--       'gone'     there is no record
local rec, n, to = KEYS[1], tonumber(ARGV[2]), ARGV[6]
local r = redis.call('HMGET', rec, 'st', 'n', 'own', 'acc', 'tl', 'why')
local st = r[1]
if not st then return 'gone' end
if tonumber(r[2]) < n then
  local left = ({queued = KEYS[2], in_doubt = KEYS[4], parked = KEYS[5]})[st]
  if left then
    redis.call('ZREM', left, ARGV[1])
    redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1])
    redis.call('HSET', rec, 'st', 'attempting', 'n', n, 'k', ARGV[3], 'own', ARGV[4], 'at', ARGV[5],
      'tl', stepped(r[5], r[4], now(), 'attempting', n, 0, 'remembered'))
    redis.call('HDEL', rec, 'next', 'why', 'code')
  end
  return 'lost'
end
if to ~= '' and (st == 'attempting' and r[3] == ARGV[4] or to == 'submitted' and rank(to, '') > rank(st, r[6])) then
  return 'behind'
end
return 'known'
