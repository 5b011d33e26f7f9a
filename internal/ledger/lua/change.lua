-- What the scripts that change a state share. ranks and LETTER are put in front by record.go, which
-- also says what a record holds.

local RANK
local function rank(state, reason)
  RANK = RANK or ranks()
  if state == 'failed' and reason == 'undetermined' then return RANK['closed'] end
  return RANK[state]
end

-- stepped returns a timeline with one more step; it keeps the last 20. acc is when the message
-- was accepted.
local function stepped(tl, acc, ms, state, n, code, reason)
  if #tl > 90 then
    local _, count = string.gsub(tl, '|', '')
    if count >= 20 then tl = string.sub(tl, string.find(tl, '|', 1, true) + 1) end
  end
  tl = tl .. LETTER[state] .. n .. '+' .. int(ms - acc)
  if tonumber(code) ~= 0 or reason ~= '' then tl = tl .. ':' .. code .. ':' .. reason end
  return tl .. '|'
end

-- member is one of a JSON object, after others; '' where there is no value.
local function member(name, v)
  if not v or v == '' then return '' end
  if string.find(v, '[%c"\\]') then return ',"' .. name .. '":' .. cjson.encode(v) end
  return ',"' .. name .. '":"' .. v .. '"'
end

-- publish appends a state change to the shard's event stream, as message.Event. about holds the
-- record's fields c, ty, to, tpl, x; wamid is as records have it, and has only letters of base64.
-- The event is one expression: each step in between would be a string of its own to Lua.
local function publish(stream, ms, id, about, state, n, wamid, code, reason)
  local number = string.match(id, '^%d+')
  redis.call('XADD', stream, '*', 'events', '{"v":1,"type":"message","at":' .. ms .. ',"number":"' .. number
    .. '","state":{"to":"' .. state .. '","attempt":' .. n .. (wamid ~= '' and ',"wamid":"wamid.' .. wamid .. '"' or '')
    .. (tonumber(code) ~= 0 and ',"code":' .. code or '') .. member('reason', reason)
    .. '},"message":{"id":"' .. id .. '","from":"' .. number .. '","class":"' .. about[1] .. '","type":"' .. about[2] .. '"'
    .. member('to', about[3]) .. member('template', about[4]) .. (about[5] and ',' .. about[5] or '') .. '}}')
end

-- live gives a record so long to live, in ms, and the index of its reference, if it has one,
-- what it needs.
local function live(rec, id, ms, life, ref)
  redis.call('PEXPIRE', rec, life)
  if not ref then return end
  local index = index_of(rec, ref)
  redis.call('ZADD', index, 'XX', int(ms + life), rest_of(id))
  local last = tonumber(redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')[2])
  if last and last < FAR then redis.call('PEXPIREAT', index, int(last)) end
end

-- reopen lets a record that had ended live on until it ends again.
local function reopen(rec, payload, id, ms)
  redis.call('PERSIST', rec)
  redis.call('PERSIST', payload)
  local ref = redis.call('HGET', rec, 'ref')
  if not ref then return end
  redis.call('ZADD', index_of(rec, ref), 'XX', int(ms + FAR), rest_of(id))
  redis.call('PERSIST', index_of(rec, ref))
end
