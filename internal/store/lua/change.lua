-- Runs commands if none of the records that they rest on has changed since it was read: what
-- WATCH and MULTI do, where they are refused. A record has another length after each change.
-- KEYS  the records
-- ARGV  the length of each as it was read, or nothing where that is of no concern; then each command:
--       how many words it has, its words
-- Reply 1, or 0 when one has changed: then nothing ran
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
