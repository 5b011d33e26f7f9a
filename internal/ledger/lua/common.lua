-- What every script of the ledger shares. RANK is put in front by ledger.go, from message.State.Rank.

-- now returns this node's clock in milliseconds: one clock for all workers.
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function int(v) return string.format('%.0f', v) end

local function rank(state, reason)
  if state == 'failed' and reason == 'undetermined' then return RANK['closed'] end
  return RANK[state]
end

-- step appends a transition to the record's timeline, which keeps the last 20.
local function step(rec, ms, state, n, code, reason)
  local tl = redis.call('HGET', rec, 'tl') or ''
  local _, count = string.gsub(tl, '|', '')
  if count >= 20 then tl = string.sub(tl, string.find(tl, '|', 1, true) + 1) end
  redis.call('HSET', rec, 'tl', tl .. int(ms) .. ':' .. state .. ':' .. n .. ':' .. code .. ':' .. reason .. '|')
end

-- publish appends a state change to the shard's event stream, as message.Event.
local function publish(stream, ms, ctx, state, n, wamid, code, reason)
  local change = '{"to":"' .. state .. '","attempt":' .. n
  if wamid ~= '' then change = change .. ',"wamid":' .. cjson.encode(wamid) end
  if code ~= '0' then change = change .. ',"code":' .. code end
  if reason ~= '' then change = change .. ',"reason":' .. cjson.encode(reason) end
  local number = string.match(ctx, '"from":"(%d+)"') or ''
  redis.call('XADD', stream, '*', 'event', '{"v":1,"type":"message","at":' .. int(ms)
    .. ',"number":"' .. number .. '","state":' .. change .. '},"message":' .. ctx .. '}')
end
