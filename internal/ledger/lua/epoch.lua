-- Tests whether an epoch is the latest one, and belongs to this process of the server.
-- KEYS  run
-- ARGV  the epoch
-- Reply 1, or 0
if run_id() == string.match(ARGV[1], '^[^.]*') and redis.call('HGET', KEYS[1], 'run') == ARGV[1] then return 1 end
return 0
