-- Drops entries that the group has passed and that are older than the retention, or beyond
-- the number of entries kept. What the group has not passed stays, however much it is. Other
-- groups hold nothing back: one that had not read what is dropped is told by a gap event, once
-- it reads on.
-- KEYS: stream, gaps (hash: group -> first entry lost, end of what is lost, the group's
-- position then). ARGV: group, retention in ms, entries kept.
-- Returns {1 when there may be more to drop, groups told...}.

local step = 1000 -- entries looked at in one run, so that Redis is never held up for long

local function first(from)
  local found = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)
  return found[1] and found[1][1]
end

local cut = string.format('%.0f-0', math.max(0, now() - tonumber(ARGV[2])))
local excess = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[3])
if excess > 0 then
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.min(excess, step) + 1)
  local kept = oldest[#oldest][1]
  if before(cut, kept) then cut = kept end
end
local id = passed(KEYS[1], ARGV[1])
if id and before(id, cut) then cut = id end

local groups = positions(KEYS[1])
groups[ARGV[1]] = nil
local unread = {} -- group -> its next entry, where that may be dropped
for group, at in pairs(groups) do
  if before(at, cut) then unread[group] = first('(' .. at) end
end

local dropped = redis.call('XTRIM', KEYS[1], 'MINID', '~', cut)
local rest = first('-') or cut

local reply = {(dropped > 0 and excess > step) and 1 or 0}
for group, at in pairs(groups) do
  local gap = redis.call('HGET', KEYS[2], group)
  local from, to, stood = string.match(gap or '', '^(%S+) (%S+) (%S+)$')
  if from and at ~= stood then
    redis.call('XADD', KEYS[1], '*', 'event', '{"v":1,"type":"gap","at":' .. string.format('%.0f', now())
      .. ',"gap":{"group":' .. cjson.encode(group) .. ',"from":"' .. from .. '","to":"' .. to .. '"}}')
    redis.call('HDEL', KEYS[2], group)
    reply[#reply + 1] = group
    from = nil
  end
  local lost = unread[group]
  if dropped > 0 and lost and before(lost, rest) then
    redis.call('HSET', KEYS[2], group, (from or lost) .. ' ' .. rest .. ' ' .. at)
    redis.call('PEXPIRE', KEYS[2], 2678400000) -- groups that are no more leave no trace
  end
end
return reply
