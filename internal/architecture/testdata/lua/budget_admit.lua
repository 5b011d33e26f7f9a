#!lua flags=allow-oom
local REMEMBER = 60000
-- Counts what messages of one flow cost as spent, as far as the budgets allow. A message that was counted a moment ago is admitted again.
-- KEYS  messages that were counted in the last moments; what is spent, for each account
-- ARGV  now ms; for each account: most that may be spent (empty: any), its life in ms; for each message: id, cost
-- Reply for each message: 1: it is admitted, or 0
-- REMEMBER is set in front of it.
local recent, now, accounts = KEYS[1], tonumber(ARGV[1]), #KEYS - 1
redis.call('ZREMRANGEBYSCORE', recent, '-inf', now - REMEMBER)
local spent, most = {}, {}
for i = 1, accounts do
  spent[i], most[i] = tonumber(redis.call('GET', KEYS[i + 1]) or 0), tonumber(ARGV[2 * i])
end
local reply, counted = {}, false
for a = 2 * accounts + 2, #ARGV, 2 do
  local id, cost, is = ARGV[a], tonumber(ARGV[a + 1]), 1
  if not redis.call('ZSCORE', recent, id) then
    for i = 1, accounts do
      if most[i] and spent[i] + cost > most[i] then is = 0 end
    end
    if is == 1 then
      for i = 1, accounts do spent[i] = spent[i] + cost end
      redis.call('ZADD', recent, now, id)
      counted = true
    end
  end
  reply[#reply + 1] = is
end
if counted then
  redis.call('PEXPIRE', recent, REMEMBER)
  for i = 1, accounts do redis.call('SET', KEYS[i + 1], string.format('%.0f', spent[i]), 'PX', ARGV[2 * i + 1]) end
end
return reply
