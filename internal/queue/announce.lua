-- Notes that a number has work, and calls its workers.
-- KEYS  index of work
-- ARGV  number, channel to call on ('': nobody is called)
redis.call('SADD', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('PUBLISH', ARGV[2], ARGV[1]) end
return 1
