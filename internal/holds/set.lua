-- Sets a hold, unless there is one that lasts as long, and appends an audit entry.
-- KEYS  holds, audit log
-- ARGV  field, end in ms (0: none) and perhaps a plus and for how long to probe, hold as JSON, 1 when it replaces
--       the hold of anybody else and shows its reason too, audit entry as JSON (empty: none)
-- Reply the hold that is there then, as JSON
-- AUDIT and held() are set in front of it.
local now = redis.call('TIME')
local hold = ARGV[3]
if held(KEYS[1], ARGV[1], now[1] * 1000 + math.floor(now[2] / 1000)) then
  local ends, about = string.match(redis.call('HGET', KEYS[1], ARGV[1]), '^(%d+)%+?%d* (.*)$')
  local mine = tonumber(string.match(ARGV[2], '^%d+'))
  if ARGV[4] == '1' then
    local readable, old = pcall(cjson.decode, about or '')
    local new = cjson.decode(hold)
    if readable and type(old) == 'table' then
      if old.by == new.by then return about end
      new.reason = new.reason .. '. It was held before: ' .. tostring(old.reason)
      hold = cjson.encode(new)
    end
  elseif ends and (ends == '0' or mine ~= 0 and mine <= tonumber(ends)) then
    return about
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. hold)
if ARGV[5] ~= '' then redis.call('XADD', KEYS[2], 'MAXLEN', '~', 1000, '*', AUDIT, ARGV[5]) end
return hold
