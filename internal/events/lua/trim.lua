-- Drops entries that the group has passed and that are older than the retention, or beyond
-- the number of entries kept. What the group has not passed stays, however much it is.
-- KEYS: stream. ARGV: group, retention in ms, entries kept. Returns how many it dropped.

local step = 1000 -- entries looked at in one run, so that Redis is never held up for long

local cut = string.format('%.0f-0', math.max(0, now() - tonumber(ARGV[2])))
local excess = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[3])
if excess > 0 then
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.min(excess, step) + 1)
  local kept = oldest[#oldest][1]
  if before(cut, kept) then cut = kept end
end
local id = passed(KEYS[1], ARGV[1])
if id and before(id, cut) then cut = id end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', cut)
