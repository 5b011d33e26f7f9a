#!lua flags=allow-oom
-- Sets strings. It works on a full Redis too.
-- KEYS: names. ARGV: values.

for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[i]) end
return #KEYS
