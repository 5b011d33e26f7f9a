-- Appends the intents of attempts to records. The text of this script ends in the epoch of the server
-- that it was loaded on. Another process does not know it, answers NOSCRIPT and appends nothing.
-- KEYS  records
-- ARGV  of each its intent, see record.Begun; '': only to learn whether the server knows this script
-- Reply how long each record is then
local lengths = {}
for i, key in ipairs(KEYS) do
  lengths[i] = ARGV[i] == '' and 0 or redis.call('APPEND', key, ARGV[i])
end
return lengths
