-- Returns how much of the limit of a portfolio is used.
-- KEYS  people of the portfolio, cap
-- ARGV  how long a person counts ms, how many steps
-- Reply now ms, how many people count, cap (0: none), then when each of so many steps through them was counted ms, the oldest
--       first: enough to say when capacity comes
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local least = '(' .. string.format('%.0f', now - ARGV[1])
local used = redis.call('ZCOUNT', KEYS[1], least, '+inf')
local old = redis.call('ZCARD', KEYS[1]) - used
local reply = {now, used, tonumber(redis.call('GET', KEYS[2]) or 0)}
local steps = math.min(tonumber(ARGV[2]), used)
for i = 1, steps do
  local rank = old + math.floor((used - 1) * (i - 1) / math.max(steps - 1, 1))
  reply[#reply + 1] = tonumber(redis.call('ZRANGE', KEYS[1], rank, rank, 'WITHSCORES')[2])
end
return reply
