-- Counts messages of a client against its quotas, or takes them back. A message counts only if none of its quotas is used up.
-- KEYS  the counters of the client: a hash from the name of a quota to its period and how many messages it has had in it
-- ARGV  when the messages that are taken back were counted, in seconds; empty to count; how many quotas; for each: its name, the class
--       from 0 that it is for, or *, its period (second, day or month, by UTC), how many messages it has; then the classes of the messages, a digit
--       for each
-- Reply the seconds of the clock of Redis, and for each message the quota that is used up, from 1, or 0
local now, back, n = redis.call('TIME')[1], ARGV[1], tonumber(ARGV[2])
-- Periods are of the clock of Redis: those of producers differ, and would begin a day anew when it has begun already.
local function periods(at)
  local day = math.floor(at / 86400)
  -- The month of a day, counted in years that begin in March: https://howardhinnant.github.io/date_algorithms.html
  local d = day + 719468
  local of_era = d % 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  return {second = tostring(at), day = tostring(day), month = math.floor(d / 146097) .. '.' .. year .. '.' .. month}
end
local current, quotas, reply = periods(back == '' and now or back), {}, {tonumber(now)}
for i = 1, n do
  local at = 4 * i - 1
  local q = {name = ARGV[at], class = ARGV[at + 1], period = current[ARGV[at + 2]], most = tonumber(ARGV[at + 3]), used = 0}
  local period, used = string.match(redis.call('HGET', KEYS[1], q.name) or '', '^(%S+) (%d+)$')
  if period == q.period then q.used = tonumber(used) else q.over = back ~= '' end
  quotas[i] = q
end
for class in string.gmatch(ARGV[4 * n + 3], '%d') do
  local full = 0
  for i, q in ipairs(quotas) do
    if full == 0 and back == '' and (q.class == '*' or q.class == class) and q.used >= q.most then full = i end
  end
  for _, q in ipairs(quotas) do
    if full == 0 and not q.over and (q.class == '*' or q.class == class) then q.used, q.changed = math.max(q.used + (back == '' and 1 or -1), 0), true end
  end
  reply[#reply + 1] = full
end
for _, q in ipairs(quotas) do
  if q.changed then redis.call('HSET', KEYS[1], q.name, q.period .. ' ' .. q.used) end
end
redis.call('EXPIRE', KEYS[1], 2764800) -- 32 days: longer than a month
return reply
