-- Publishes how far a group is: all that arrived before the watermark has been handled.
-- KEYS: stream, watermark. ARGV: group. Returns {watermark, now}, Unix milliseconds.

local t = now()
local mark = t
local id = passed(KEYS[1], ARGV[1])
if id then mark = split(id) end
local kept = tonumber(redis.call('GET', KEYS[2]) or '0')
-- What was once true stays true, except a time that the clock has not reached: it was wrong.
if kept > mark and kept <= t then mark = kept end
redis.call('SET', KEYS[2], string.format('%.0f', mark))
return {mark, t}
