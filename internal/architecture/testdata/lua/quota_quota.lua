#!lua flags=allow-oom
-- Counts messages of a client against its quotas, or takes them back. A message counts only if none of its quotas is used up.
-- KEYS  the counters of the client: a hash from the name of a quota to its period and how many messages it has had in it
-- ARGV  1 to count, -1 to take back; how many quotas; for each: its name, the class from 0 that it is for, or *, its period
--       (empty: the second of the clock of Redis), how many messages it has; then the classes of the messages, a digit for each
-- Reply for each message the quota that is used up, from 1, or 0
local sign, n = tonumber(ARGV[1]), tonumber(ARGV[2])
local quotas, reply = {}, {}
for i = 1, n do
  local at = 4 * i - 1
  local q = {name = ARGV[at], class = ARGV[at + 1], period = ARGV[at + 2], most = tonumber(ARGV[at + 3]), used = 0}
  if q.period == '' then q.period = redis.call('TIME')[1] end
  local period, used = string.match(redis.call('HGET', KEYS[1], q.name) or '', '^(%S+) (%d+)$')
  if period == q.period then q.used = tonumber(used) end
  quotas[i] = q
end
for class in string.gmatch(ARGV[4 * n + 3], '%d') do
  local full = 0
  for i, q in ipairs(quotas) do
    if full == 0 and sign > 0 and (q.class == '*' or q.class == class) and q.used >= q.most then full = i end
  end
  for _, q in ipairs(quotas) do
    if full == 0 and (q.class == '*' or q.class == class) then q.used, q.changed = math.max(q.used + sign, 0), true end
  end
  reply[#reply + 1] = full
end
for _, q in ipairs(quotas) do
  if q.changed then redis.call('HSET', KEYS[1], q.name, q.period .. ' ' .. q.used) end
end
if n > 0 then redis.call('EXPIRE', KEYS[1], 2764800) end -- 32 days: longer than a month
return reply
