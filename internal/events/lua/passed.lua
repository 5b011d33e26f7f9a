-- What a group has passed: the same for the watermark and for trimming, so it goes in front
-- of both scripts.

local function split(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function before(a, b)
  local am, as = split(a)
  local bm, bs = split(b)
  return am < bm or (am == bm and as < bs)
end

-- positions returns by group's name the last entry that was handed to one of its consumers.
local function positions(stream)
  local at = {}
  if redis.call('EXISTS', stream) == 0 then return at end
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local info = {}
    for i = 1, #flat, 2 do info[flat[i]] = flat[i + 1] end
    local id = info['last-delivered-id']
    if not string.find(id, '-', 1, true) then id = id .. '-0' end
    at[info['name']] = id
  end
  return at
end

-- passed returns the id before which group has handled every entry; nil when it has handled
-- every entry there is.
local function passed(stream, group)
  if redis.call('EXISTS', stream) == 0 then return nil end
  local delivered = positions(stream)[group]
  if not delivered then return '0-0' end
  local pending = redis.call('XPENDING', stream, group)
  if pending[1] > 0 then return pending[2] end
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  if #newest == 0 or not before(delivered, newest[1][1]) then return nil end
  return delivered
end

local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
