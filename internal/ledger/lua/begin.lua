-- Appends the intent of an attempt to a record. The text of this script ends in the epoch of the
-- server that it was loaded on. Another process does not know it, answers NOSCRIPT and appends nothing.
-- KEYS  record
-- ARGV  the intent, see record.Begun; none: only to learn whether the server knows this script
-- Reply how long the record is then
if ARGV[1] then return redis.call('APPEND', KEYS[1], ARGV[1]) end
return 0
