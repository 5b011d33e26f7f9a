#!lua flags=allow-oom
-- Counts messages of a client against its quotas, or takes them back. A message counts only if none of its quotas is used up. Otherwise
-- it counts as refused by the first one that is.
-- KEYS  the counters of the client, a hash: the name of a quota has its period and how many messages it has had in it, and refused: with the
--       name has the period in which it refused messages, and how many
-- ARGV  when the messages that are taken back were counted, in seconds; empty to count; how many quotas; for each: its name, the class
--       from 0 that it is for, or *, its period (second, day or month, by UTC), how many messages it has; then the classes of the messages, a digit
--       for each; to take back: for each what the reply was, a character from 0 on
-- Reply the seconds of the clock of Redis, and for each message the quota that is used up, from 1, or 0. Without messages: for each quota
--       how many it has had, and how many it has refused
local now, back, n = redis.call('TIME')[1], ARGV[1], tonumber(ARGV[2])
local step = back == '' and 1 or -1
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
-- A counter of a period that has ended begins anew, but not with what is taken back: that was counted before.
local function counter(field, period)
  local of, count = string.match(redis.call('HGET', KEYS[1], field) or '', '^(%S+) (%d+)$')
  if of == period then return {field = field, period = period, count = tonumber(count)} end
  return {field = field, period = period, count = 0, ended = back ~= ''}
end
local function add(c)
  if not c.ended then c.count, c.changed = math.max(c.count + step, 0), true end
end
local current, quotas, reply, messages = periods(back == '' and now or back), {}, {tonumber(now)}, ARGV[4 * n + 3]
for i = 1, n do
  local name, class, period, most = unpack(ARGV, 4 * i - 1, 4 * i + 2)
  -- A second is over when an operator reads what it refused: a quota per second refuses in a day.
  local refused_in = current[period == 'second' and 'day' or period]
  quotas[i] = {class = class, most = tonumber(most), used = counter(name, current[period]), refused = counter('refused:' .. name, refused_in)}
end
for place = 1, #messages do
  local class, full = string.sub(messages, place, place), back == '' and 0 or string.byte(ARGV[4 * n + 4], place) - 48
  for i, q in ipairs(quotas) do
    if full == 0 and back == '' and (q.class == '*' or q.class == class) and q.used.count >= q.most then full = i end
  end
  for _, q in ipairs(quotas) do
    if full == 0 and (q.class == '*' or q.class == class) then add(q.used) end
  end
  if full > 0 then add(quotas[full].refused) end
  reply[#reply + 1] = full
end
for _, q in ipairs(quotas) do
  for _, c in ipairs({q.used, q.refused}) do
    if c.changed then redis.call('HSET', KEYS[1], c.field, c.period .. ' ' .. c.count) end
    if messages == '' then reply[#reply + 1] = c.count end
  end
end
if messages ~= '' then redis.call('EXPIRE', KEYS[1], 2764800) end -- 32 days: longer than a month
return reply
