-- Books further slots of a number for tasks that were taken before and missed theirs.
-- KEYS  send schedule of the number
-- ARGV  worker, configured rate, how much further than usual slots are booked us, how far a change
--       of owner shifts the schedule us, end of the worker's own last booking us; how many
-- Reply numbers: now us, time of the first slot us, time between slots us, how many were booked
-- LEAD, HORIZON, SLACK and CLIMB are set in front of it.
local name = names_of(KEYS[1])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local rate, _, pause = pace(name.own('pace'), tonumber(ARGV[2]), now, CLIMB)
local T = math.ceil((1000000 + SLACK) / rate)
local book, first = slots(KEYS[1], ARGV[1], now, T, HORIZON + ARGV[3], LEAD + ARGV[3], tonumber(ARGV[4]),
  math.max(tonumber(ARGV[5]), pause))
return string.format('%.0f %.0f %.0f %d', now, first, T, book(tonumber(ARGV[6])))
