-- Moves an entry that nobody can handle to the dead stream and takes it from the group.
-- KEYS: stream, dead stream. ARGV: group, id, why, entries kept in the dead stream.
-- Returns 1 when the entry was there, 0 when it was gone already.

local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
if #found > 0 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*',
    'id', ARGV[2], 'group', ARGV[1], 'why', ARGV[3], unpack(found[1][2]))
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
return #found
