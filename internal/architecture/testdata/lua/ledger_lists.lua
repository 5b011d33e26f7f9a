#!lua flags=allow-oom
-- Counts the messages in lists of a shard, by phone number id.
-- KEYS  lists of messages
-- ARGV  how many messages of each list are read at most, the largest score of the last list
-- Reply for each list {how many messages it has, then a number, how many of those that were read are of it, ...}
local all = {}
for i, key in ipairs(KEYS) do
  local most = '+inf'
  if i == #KEYS then most = ARGV[2] end
  local count = {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', most, 'LIMIT', 0, ARGV[1])) do
    local number = string.match(member, '(%d+)%-[^:]*$') or ''
    count[number] = (count[number] or 0) + 1
  end
  local reply = {tostring(redis.call('ZCOUNT', key, '-inf', most))}
  for number, n in pairs(count) do
    reply[#reply + 1] = number
    reply[#reply + 1] = tostring(n)
  end
  all[i] = reply
end
return all
