#!lua flags=allow-oom
-- Stores what was said about a person, unless something later was said. Entries of the person under several names become one.
-- KEYS  entries, a hash: the id of an entry has its text; names, a hash: a name of a person has the id of the entry; times, a sorted
--       set: the ids of the entries of people who opted out, by when, in Unix milliseconds
-- ARGV  o (the person opted out), i (the person opted in again) or = (only joins names with an entry, if there is one), when in Unix
--       milliseconds (0: now, and later than what was said before), what else is known as JSON, then the names of the person: 8 bytes
--       each. The first is the id of a new entry. With =, the JSON replaces that of an entry of this time, unless it is empty
-- Reply what was stored before: o, i or empty; 1 if it is stored, or 0
-- The text of an entry is o or i, when in 13 digits, how many names as a byte, the names, and the JSON.
local state, at, json, id = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local before, last, kept = '', 0, ''
local names, known_name, ids = {}, {}, {}
local function add(name)
  if not known_name[name] and #names < 255 then
    known_name[name] = true
    names[#names + 1] = name
  end
end
for i = 4, #ARGV do
  add(ARGV[i])
  local of = redis.call('HGET', KEYS[2], ARGV[i])
  local text = of and not ids[of] and redis.call('HGET', KEYS[1], of)
  if text then
    ids[of] = true
    local n = string.byte(text, 15)
    for k = 0, n - 1 do add(string.sub(text, 16 + 8 * k, 23 + 8 * k)) end
    local when = tonumber(string.sub(text, 2, 14))
    if when > last then
      id, before, last, kept = of, string.sub(text, 1, 1), when, string.sub(text, 16 + 8 * n)
    end
  end
end
if state == '=' and last == 0 then return {'', 0} end
if at == 0 then
  local now = redis.call('TIME')
  at = math.max(now[1] * 1000 + math.floor(now[2] / 1000), last + 1)
end
-- Meta's times are in seconds. Of the same second, the opt-out counts.
local stored = state ~= '=' and (at > last or at == last and state == 'o' and before == 'i')
if not stored then
  if state ~= '=' or at ~= last or json == '' then json = kept end
  state, at = before, last
end
for of in pairs(ids) do
  if of ~= id then
    redis.call('HDEL', KEYS[1], of)
    redis.call('ZREM', KEYS[3], of)
  end
end
redis.call('HSET', KEYS[1], id, state .. string.format('%013d', at) .. string.char(#names) .. table.concat(names) .. json)
for _, name in ipairs(names) do redis.call('HSET', KEYS[2], name, id) end
if state == 'o' then
  redis.call('ZADD', KEYS[3], at, id)
else
  redis.call('ZREM', KEYS[3], id)
end
return {before, stored and 1 or 0}
