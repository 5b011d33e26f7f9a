-- Tells whether an epoch is that of this process of the server, and whether no other came after it.
-- KEYS  run
-- ARGV  the epoch
-- Reply 1, or 0
if run_id() == string.match(ARGV[1], '^[^.]*') and redis.call('HGET', KEYS[1], 'run') == ARGV[1] then return 1 end
return 0
