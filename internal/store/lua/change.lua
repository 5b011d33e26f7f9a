-- Runs commands if none of the records on which they depend has changed since it was read. It replaces
-- WATCH and MULTI where these are refused. The length of a record differs after each change.
-- KEYS  the records
-- ARGV  the length of each as it was read, or '' if it does not matter; then for each command the number
--       of its words, and its words
-- Reply 1, or 0 when a record has changed: then no command ran
for i = 1, #KEYS do
  if ARGV[i] ~= '' and redis.call('STRLEN', KEYS[i]) ~= tonumber(ARGV[i]) then return 0 end
end
local i = #KEYS + 1
while i <= #ARGV do
  local n = tonumber(ARGV[i])
  if ARGV[i + 1] == 'hdelif' then
    for j = i + 3, i + n, 2 do
      if redis.call('HGET', ARGV[i + 2], ARGV[j]) == ARGV[j + 1] then redis.call('HDEL', ARGV[i + 2], ARGV[j]) end
    end
  else
    redis.call(unpack(ARGV, i + 1, i + n))
  end
  i = i + n + 1
end
return 1
