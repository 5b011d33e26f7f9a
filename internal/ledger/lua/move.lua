-- Moves a message to another state, if the guard allows it. Every change after begin is one
-- of these; to repeat one is harmless.
-- KEYS  record, payload, waiting, attempts, doubts, stream, wamid index, orphans of that wamid,
--       parked, dead, trail of deeds, submitted
-- ARGV  1 id
--       2 guard: 'owner' (from attempting n by this very token), 'sweep' (from state ARGV[14] at n and k),
--         'evidence' (Meta said so: any rise in rank)
--       3 n: the attempt meant; 0 with evidence that names none
--       4 token, for 'owner'
--       5 new state   6 wamid or ''   7 Meta's code or 0   8 reason or ''
--       9 ms from now until the next thing is due (retry, end of the doubt's window)
--      10 record life in ms from now (0: until it ends; never 0 with a wamid)
--      11 1: counts against the attempt budget
--      12 task counter k: expected with 'sweep'; a sweep back to queued raises it by one
--      13 1: keep the payload although the state would drop it
--      14 state expected with 'sweep'
--      15 1: a resend by policy
--      16 deed that ordered it, as JSON ('': none), for the trail   17 the reason for the timeline, with who and why
--      18 new deadline ms (0: as it is)
-- Reply {'applied' | 'repeat' | 'lower' | 'no_record', state now, 1 when a second acceptance by Meta was proven}
local rec, id, guard, to = KEYS[1], ARGV[1], ARGV[2], ARGV[5]
local r = redis.call('HMGET', rec, 'st', 'why', 'n', 'own', 'k', 'wamid', 'ctx', 'exp', 'wamids', 'code')
local st = r[1]
if not st then return {'no_record', '', 0} end
local n, wamid, code, reason = tonumber(ARGV[3]), ARGV[6], ARGV[7], ARGV[8]
local at = n
if at == 0 then at = tonumber(r[3]) end

-- What Meta calls the message is noted whatever else happens; a second name is a proven duplicate.
local duplicate = 0
if wamid ~= '' then
  if not r[6] then
    redis.call('HSET', rec, 'wamid', wamid)
  elseif r[6] ~= wamid and not string.find(' ' .. (r[9] or ''), ' ' .. wamid .. ' ', 1, true) then
    redis.call('HSET', rec, 'wamids', (r[9] or '') .. wamid .. ' ')
    redis.call('HINCRBY', rec, 'dup', 1)
    duplicate = 1
  end
  local left = redis.call('PTTL', rec)
  redis.call('SET', KEYS[7], id, 'PX', left > 0 and left or ARGV[10])
  -- Receipts that came before we knew this wamid go through the stream once more.
  for _, event in ipairs(redis.call('LRANGE', KEYS[8], 0, -1)) do
    redis.call('XADD', KEYS[6], '*', 'event', event)
  end
  redis.call('DEL', KEYS[8])
end

if guard == 'owner' then
  if st ~= 'attempting' or tonumber(r[3]) ~= n or r[4] ~= ARGV[4] then
    -- Somebody knew more meanwhile. That Meta took it is news all the same.
    if to ~= 'submitted' or rank(to, reason) <= rank(st, r[2]) then return {'lower', st, duplicate} end
  end
elseif guard == 'sweep' then
  if st ~= ARGV[14] or tonumber(r[3]) ~= n or r[5] ~= ARGV[12] then return {'lower', st, duplicate} end
else
  if rank(to, reason) <= rank(st, r[2]) then return {st == to and 'repeat' or 'lower', st, duplicate} end
  if to == 'failed' and n > 0 and n < tonumber(r[3]) then return {'lower', st, duplicate} end
end

local ms = now()
local left = ({queued = KEYS[3], attempting = KEYS[4], in_doubt = KEYS[5], parked = KEYS[9], submitted = KEYS[12]})[st]
if left then redis.call('ZREM', left, id) end
redis.call('HSET', rec, 'st', to, 'code', code, 'why', reason)
redis.call('HDEL', rec, 'own', 'at', 'next')
-- The dead are indexed by what they died of, so that they can be counted without their records.
if st == 'dead' then
  redis.call('ZREM', KEYS[10], (r[10] or '0') .. ':' .. (r[2] or '') .. ':' .. id)
  if to == 'queued' then reopen(rec, KEYS[2], id, ms) end
end
if to == 'dead' then
  redis.call('ZREMRANGEBYSCORE', KEYS[10], '-inf', int(ms - ARGV[10]))
  redis.call('ZADD', KEYS[10], int(ms), code .. ':' .. reason .. ':' .. id)
end
if ARGV[18] ~= '0' then
  r[8] = ARGV[18]
  redis.call('HSET', rec, 'exp', r[8])
end
if to == 'queued' then
  redis.call('ZADD', KEYS[3], r[8], id)
  if guard == 'sweep' then redis.call('HINCRBY', rec, 'k', 1) end
  if ARGV[11] == '1' then redis.call('HINCRBY', rec, 'f', 1) end
  if ARGV[15] == '1' then redis.call('HINCRBY', rec, 'rs', 1) end
  if ARGV[9] ~= '0' then redis.call('HSET', rec, 'next', int(ms + ARGV[9])) end
elseif to == 'in_doubt' then
  redis.call('ZADD', KEYS[5], int(ms + ARGV[9]), id)
  redis.call('HSET', rec, 'next', int(ms + ARGV[9]), 'at', int(ms))
elseif to == 'submitted' or to == 'parked' then
  redis.call('ZADD', to == 'parked' and KEYS[9] or KEYS[12], int(ms), id)
end
if to ~= 'queued' and to ~= 'in_doubt' and to ~= 'parked' then
  redis.call('HDEL', rec, 'nonce', 'f')
  if ARGV[13] ~= '1' then
    redis.call('HDEL', rec, 'pair', 'tpl')
    redis.call('DEL', KEYS[2])
  elseif ARGV[10] ~= '0' then redis.call('PEXPIRE', KEYS[2], ARGV[10]) end
end
step(rec, ms, to, at, code, ARGV[17])
if ARGV[16] ~= '' then redis.call('XADD', KEYS[11], 'MAXLEN', '~', 1000, '*', 'deed', ARGV[16]) end
publish(KEYS[6], ms, r[7], to, at, wamid ~= '' and wamid or r[6] or '', code, reason)
if ARGV[10] ~= '0' then
  live(rec, id, ms, ARGV[10])
  if wamid ~= '' then redis.call('PEXPIRE', KEYS[7], ARGV[10]) end
end
return {'applied', to, duplicate}
