-- Drops entries that are older than an age. It never drops entries that Sluice has not applied. Unread entries of
-- consumer groups are dropped too: the group gets a gap event when it reads on.
-- KEYS: stream, gaps (hash: group -> first entry missed, first entry after the gap, the position of the
-- group at that time), and the position up to which Sluice has applied the stream, if it applies it.
-- ARGV: age in ms, maximum number of entries to drop.
-- Returns {number of entries dropped, groups that a gap event was written for...}.

local function split(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function before(a, b)
  local am, as = split(a)
  local bm, bs = split(b)
  return am < bm or (am == bm and as < bs)
end

local function first(from)
  local found = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)
  return found[1] and found[1][1]
end

-- positions returns for each group the last entry that was delivered to one of its consumers.
local function positions()
  local at = {}
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local info = {}
    for i = 1, #flat, 2 do info[flat[i]] = flat[i + 1] end
    local id = info['last-delivered-id']
    if not string.find(id, '-', 1, true) then id = id .. '-0' end
    at[info['name']] = id
  end
  return at
end

if redis.call('EXISTS', KEYS[1]) == 0 then return {0} end
local t = redis.call('TIME')
local ms = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local last = newest[1] and newest[1][1] or '0-0'
local most = KEYS[3] and (redis.call('GET', KEYS[3]) or '0-0') or last -- entries from this one on are kept
local old = string.format('%.0f-0', math.max(0, ms - ARGV[1]))
if before(most, old) then old = most end

local groups = positions()
local unread = {} -- group -> its next entry
local oldest = first('-')
if oldest and before(oldest, old) then
  for group, at in pairs(groups) do unread[group] = first('(' .. at) end
end

local dropped = redis.call('XTRIM', KEYS[1], 'MINID', '~', old, 'LIMIT', ARGV[2])
local rest = first('-') or old

local reply = {dropped}
for group, at in pairs(groups) do
  local gap = redis.call('HGET', KEYS[2], group)
  local from, to, stood = string.match(gap or '', '^(%S+) (%S+) (%S+)$')
  if from and at ~= stood then
    redis.call('XADD', KEYS[1], '*', 'events', '{"v":2,"type":"gap","at":' .. string.format('%.0f', ms)
      .. ',"gap":{"group":' .. cjson.encode(group) .. ',"from":"' .. from .. '","to":"' .. to .. '"}}')
    redis.call('HDEL', KEYS[2], group)
    reply[#reply + 1] = group
    from = nil
  end
  local lost = unread[group]
  if dropped > 0 and lost and before(lost, rest) then
    redis.call('HSET', KEYS[2], group, (from or lost) .. ' ' .. rest .. ' ' .. at)
    redis.call('PEXPIRE', KEYS[2], 2678400000) -- removes the entries of deleted groups
  end
end
return reply
