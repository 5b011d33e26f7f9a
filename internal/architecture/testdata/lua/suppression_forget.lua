#!lua flags=allow-oom
-- Deletes the recipients of entries, and the reasons, which are the words of others. That the person opted out stays known by the
-- keyed hashes.
-- KEYS  entries and names, as in put.lua
-- ARGV  names of the person
-- Reply how many entries had a recipient
local done, seen = 0, {}
for _, name in ipairs(ARGV) do
  local id = redis.call('HGET', KEYS[2], name)
  local text = id and not seen[id] and redis.call('HGET', KEYS[1], id)
  if text then
    seen[id] = true
    local head = 15 + 8 * string.byte(text, 15)
    local what = cjson.decode(string.sub(text, head + 1))
    if what.e then
      what.e, what.r, what.m = nil, nil, '***'
      redis.call('HSET', KEYS[1], id, string.sub(text, 1, head) .. cjson.encode(what))
      done = done + 1
    end
  end
end
return done
