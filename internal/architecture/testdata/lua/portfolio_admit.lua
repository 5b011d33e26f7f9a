#!lua flags=allow-oom
-- Decides which messages may be sent under the limit of a portfolio, and counts their people.
-- KEYS  people of the portfolio, customer service windows, cap
-- ARGV  limit, how many of it are reserved, how long a person counts ms, how long a customer service window is open ms; then for
--       each message: person, window, 1 if it may use what is reserved
-- Reply for each message 1: it may be sent, or 0
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local people, windows = KEYS[1], KEYS[2]
local most = math.min(tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[3]) or ARGV[1]))
redis.call('ZREMRANGEBYSCORE', people, '-inf', now - ARGV[3])
local used, reply = redis.call('ZCARD', people), {}
for i = 5, #ARGV, 3 do
  local person, may = ARGV[i], '1'
  local wrote = redis.call('ZSCORE', windows, ARGV[i + 1])
  if not wrote or now - wrote >= tonumber(ARGV[4]) then
    if redis.call('ZSCORE', people, person) then
      redis.call('ZADD', people, now, person) -- a person counts from the last message on
    elseif used < most - (ARGV[i + 2] == '1' and 0 or ARGV[2]) then
      redis.call('ZADD', people, now, person)
      used = used + 1
    else
      may = '0'
    end
  end
  reply[#reply + 1] = may
end
redis.call('PEXPIRE', people, ARGV[3])
return table.concat(reply)
