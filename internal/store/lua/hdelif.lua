-- Removes fields of a hash that have certain values.
-- KEYS  the hash
-- ARGV  the name and the value of each field
-- Reply 1
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 1
