#!lua flags=allow-oom
-- Drops entries that are older than the retention, or beyond the number of events kept. It never drops entries
-- that Sluice has not applied. Unread entries of consumer groups are dropped too: the group gets a gap event
-- when it reads on.
-- KEYS: stream, gaps (hash: group -> first entry missed, first entry after the gap, the position of the
-- group at that time), and the position up to which Sluice has applied the stream, if it applies it.
-- ARGV: retention in ms, number of events kept, maximum number of events in an entry.
-- Returns {1 when there may be more to drop, groups that a gap event was written for...}.

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

-- excess returns how many of the oldest entries are beyond the number of events kept. It estimates the number
-- of events in an entry as the average of the 5 oldest and the 5 newest entries.
local function excess(length)
  if length * ARGV[3] <= tonumber(ARGV[2]) then return 0 end
  local entries, events = 0, 0
  for _, some in ipairs({redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 5), redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 5)}) do
    for _, entry in ipairs(some) do
      local at = 0
      repeat -- string.find without patterns: a pattern is slow, it runs Lua code for each byte
        at, events = string.find(entry[2][2], '\n', at + 1, true), events + 1
      until not at
      entries = entries + 1
    end
  end
  return math.floor(length - ARGV[2] * entries / events)
end

if redis.call('EXISTS', KEYS[1]) == 0 then return {0} end
local t = redis.call('TIME')
local ms = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local last = newest[1] and newest[1][1] or '0-0'
local most = KEYS[3] and (redis.call('GET', KEYS[3]) or '0-0') or last -- entries from this one on are kept
local old = string.format('%.0f-0', math.max(0, ms - ARGV[1]))
if before(most, old) then old = most end
local length = redis.call('XLEN', KEYS[1])
local over = excess(length)

local groups = positions()
local unread = {} -- group -> its next entry
local oldest = first('-')
if oldest and (over > 0 or before(oldest, old)) then
  for group, at in pairs(groups) do unread[group] = first('(' .. at) end
end

local dropped = redis.call('XTRIM', KEYS[1], 'MINID', '~', old)
over = over - dropped
local more = dropped > 5000 and 1 or 0 -- Redis stops near 10,000
if over > 0 then
  -- A tenth at a time, so that the average fits the dropped entries, and the script does not block Redis.
  local step = math.min(over, math.max(100, math.ceil(length / 10)), 10000)
  local n = redis.call('XTRIM', KEYS[1], 'MINID', '~', most, 'LIMIT', step)
  if n == 0 and over > length / 20 then -- Redis drops whole nodes, and the oldest node has more entries
    n = redis.call('XTRIM', KEYS[1], 'MINID', '~', most, 'LIMIT', 2 * step)
  end
  if n > 0 then more = 1 end -- the average has changed
  dropped = dropped + n
end
local rest = first('-') or old

local reply = {more}
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
