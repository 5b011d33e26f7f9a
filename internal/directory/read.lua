-- Reads the revision and all stored entries at one moment.
-- KEYS  revision, then the hash of each kind
-- Reply the revision (empty: nothing was ever stored), then the fields and values of each hash
local all = { redis.call('GET', KEYS[1]) or '' }
for i = 2, #KEYS do all[i] = redis.call('HGETALL', KEYS[i]) end
return all
