#!lua flags=allow-oom
-- Measures a stream, with what its consumer groups have read and not acknowledged.
-- KEYS: stream.
-- Returns {bytes of memory, Unix milliseconds of the oldest entry (0: there is none), Unix milliseconds now}.

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not oldest then return {0, 0, now} end
-- SAMPLES 0 adds the sizes of all nodes, which takes a few ms for 1 GB. A sample would be the oldest nodes only, and
-- nodes differ: one has about 4 kB, or a single entry of up to 512 KiB in a burst.
local bytes = redis.call('MEMORY', 'USAGE', KEYS[1], 'SAMPLES', 0)
return {bytes, tonumber(string.match(oldest[1], '^%d+')), now}
