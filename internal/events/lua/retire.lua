-- Forgets a consumer that leaves, unless it leaves entries behind: those go with it, so
-- they must be taken over by others first.
-- KEYS: stream. ARGV: group, consumer.

if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
return 1
