-- Tells whether this is a run of the server, and whether no other run came after it was met.
-- KEYS  run
-- ARGV  the run
-- Reply 1, or 0
if run_id() == ARGV[1] and redis.call('HGET', KEYS[1], 'run') == ARGV[1] then return 1 end
return 0
