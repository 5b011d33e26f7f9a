-- Moves a message to another state, if the guard allows it. Every change after begin is one
-- of these; to repeat one is harmless.
-- KEYS  record, payload, waiting, attempts, doubts, stream, wamid index, orphans of that wamid,
--       parked, dead, trail of deeds, submitted, stream of what Meta reported
-- ARGV  1 id
--       2 guard: 'owner' (from attempting n by this very token), 'sweep' (from state ARGV[14] at n and k),
--         'evidence' (Meta said so: any rise in rank)
--       3 n: the attempt meant; 0 with evidence that names none
--       4 token, for 'owner'
--       5 new state   6 wamid, see record.go, or ''   7 Meta's code or 0   8 reason or ''
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
local r = redis.call('HMGET', rec, 'st', 'why', 'n', 'own', 'k', 'wamid', 'exp', 'wamids', 'code', 'acc', 'tl', 'c', 'ty', 'to', 'tpl', 'x', 'ref')
local st, known = r[1], r[6]
if not st then return {'no_record', '', 0} end
local n, wamid, code, reason = tonumber(ARGV[3]), ARGV[6], ARGV[7], ARGV[8]
local at = n
if at == 0 then at = tonumber(r[3]) end

local applies = true
if guard == 'owner' then
  -- Where somebody knew more meanwhile, that Meta took it is news all the same.
  if st ~= 'attempting' or tonumber(r[3]) ~= n or r[4] ~= ARGV[4] then
    applies = to == 'submitted' and rank(to, reason) > rank(st, r[2])
  end
elseif guard == 'sweep' then
  applies = st == ARGV[14] and tonumber(r[3]) == n and r[5] == ARGV[12]
else
  applies = rank(to, reason) > rank(st, r[2]) and not (to == 'failed' and n > 0 and n < tonumber(r[3]))
end

-- What Meta calls the message is noted whatever else happens; a second name is a proven
-- duplicate. Its index is for receipts without our marker, which matter until one says
-- delivered.
local set, duplicate = {}, 0
local function hset(name, value)
  set[#set + 1] = name
  set[#set + 1] = value
end
local arrived = rank(applies and to or st, reason) >= rank('delivered')
if wamid ~= '' then
  if not known then
    hset('wamid', wamid)
  elseif known ~= wamid and not string.find(' ' .. (r[8] or ''), ' ' .. wamid .. ' ', 1, true) then
    hset('wamids', (r[8] or '') .. wamid .. ' ')
    redis.call('HINCRBY', rec, 'dup', 1)
    duplicate = 1
    publish(KEYS[6], now(), id, {r[12], r[13], r[14], r[15], r[16]}, st, at, wamid, 0, 'duplicate')
  end
  local life = tonumber(ARGV[10])
  if not applies then
    local left = redis.call('PTTL', rec)
    if left > 0 then life = left end
  end
  if arrived then redis.call('DEL', KEYS[7]) else redis.call('SET', KEYS[7], id, 'PX', life) end
  -- Receipts that came before we knew this wamid go through the stream once more.
  local early = redis.call('LRANGE', KEYS[8], 0, -1)
  if #early > 0 then
    for _, event in ipairs(early) do redis.call('XADD', KEYS[13], '*', 'events', event) end
    redis.call('DEL', KEYS[8])
  end
end
if not applies then
  if #set > 0 then redis.call('HSET', rec, unpack(set)) end
  return {guard == 'evidence' and st == to and 'repeat' or 'lower', st, duplicate}
end

local ms = now()
local gone = {'own', 'at', 'next'}
local function hdel(name) gone[#gone + 1] = name end
hset('st', to)
if code ~= '0' then hset('code', code) elseif r[9] then hdel('code') end
if reason ~= '' then hset('why', reason) elseif r[2] then hdel('why') end
hset('tl', stepped(r[11], r[10], ms, to, at, code, ARGV[17]))
if ARGV[18] ~= '0' then
  r[7] = ARGV[18]
  hset('exp', r[7])
end

local left = ({queued = KEYS[3], attempting = KEYS[4], in_doubt = KEYS[5], parked = KEYS[9], submitted = KEYS[12]})[st]
if left then redis.call('ZREM', left, id) end
-- The dead are indexed by what they died of, so that they can be counted without their records.
if st == 'dead' then
  redis.call('ZREM', KEYS[10], (r[9] or '0') .. ':' .. (r[2] or '') .. ':' .. id)
  if to == 'queued' then reopen(rec, KEYS[2], id, ms) end
end
if to == 'dead' then
  redis.call('ZREMRANGEBYSCORE', KEYS[10], '-inf', int(ms - ARGV[10]))
  redis.call('ZADD', KEYS[10], ms, code .. ':' .. reason .. ':' .. id)
end
if to == 'queued' then
  redis.call('ZADD', KEYS[3], r[7], id)
  if guard == 'sweep' then redis.call('HINCRBY', rec, 'k', 1) end
  if ARGV[11] == '1' then redis.call('HINCRBY', rec, 'f', 1) end
  if ARGV[15] == '1' then redis.call('HINCRBY', rec, 'rs', 1) end
  if ARGV[9] ~= '0' then hset('next', int(ms + ARGV[9])) end
elseif to == 'in_doubt' then
  redis.call('ZADD', KEYS[5], int(ms + ARGV[9]), id)
  hset('next', int(ms + ARGV[9]))
  hset('at', ms)
elseif to == 'submitted' or to == 'parked' then
  redis.call('ZADD', to == 'parked' and KEYS[9] or KEYS[12], ms, id)
end
if to ~= 'queued' and to ~= 'in_doubt' and to ~= 'parked' then
  hdel('nonce')
  hdel('f')
  if ARGV[13] ~= '1' then
    hdel('pair')
    -- Whoever comes from here on has dropped it before.
    if rank(st, r[2]) < rank('submitted') then redis.call('DEL', KEYS[2]) end
  elseif ARGV[10] ~= '0' then
    redis.call('PEXPIRE', KEYS[2], ARGV[10])
  end
end
redis.call('HDEL', rec, unpack(gone))
redis.call('HSET', rec, unpack(set))
if ARGV[16] ~= '' then redis.call('XADD', KEYS[11], 'MAXLEN', '~', 1000, '*', 'deed', ARGV[16]) end
publish(KEYS[6], ms, id, {r[12], r[13], r[14], r[15], r[16]}, to, at, wamid ~= '' and wamid or known or '', code, reason)
if ARGV[10] ~= '0' then live(rec, id, ms, ARGV[10], r[17]) end
return {'applied', to, duplicate}
