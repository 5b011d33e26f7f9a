-- Appends the intents of attempts to records. The text of this script ends with the epoch of the server on
-- which it was loaded. Another process does not know the script, answers NOSCRIPT and appends nothing.
-- KEYS  records
-- ARGV  the intent for each, see record.Begun; '': only test whether the server knows this script
-- Reply the length of each record after that
local lengths = {}
for i, key in ipairs(KEYS) do
  lengths[i] = ARGV[i] == '' and 0 or redis.call('APPEND', key, ARGV[i])
end
return lengths
