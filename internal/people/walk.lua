-- Reads parts of the table of people.
-- KEYS  the parts
-- Returns a flat list: the place of each part that is not empty, from 1, and its fields and values.
local all = {}
for i, key in ipairs(KEYS) do
  local found = redis.call('HGETALL', key)
  if #found > 0 then
    all[#all + 1] = i
    all[#all + 1] = found
  end
end
return all
