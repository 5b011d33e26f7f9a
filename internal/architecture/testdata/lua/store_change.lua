#!lua
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
  redis.call(unpack(ARGV, i + 1, i + n))
  i = i + n + 1
end
return 1
