#!lua flags=allow-oom
-- Returns how far the readers of a stream are behind.
-- KEYS: stream, and the position up to which Sluice has applied the stream, if it applies it.
-- Returns for each consumer group, and for Sluice with an empty name, three strings: its name, the number of entries that
-- it has not read or not acknowledged (-1: unknown), and the age of the oldest of them in ms (0: there is none).
local reply = {}
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)

local function add(name, entries, oldest)
  local ms = oldest and tonumber(string.match(oldest, '^%d+')) or now
  reply[#reply + 1] = name
  reply[#reply + 1] = string.format('%d', entries)
  reply[#reply + 1] = string.format('%.0f', math.max(now - ms, 0))
end

local function after(id)
  local found = redis.call('XRANGE', KEYS[1], '(' .. id, '+', 'COUNT', 1)
  return found[1] and found[1][1]
end

if redis.call('EXISTS', KEYS[1]) == 1 then
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local info = {}
    for i = 1, #flat, 2 do info[flat[i]] = flat[i + 1] end
    local oldest, entries = after(info['last-delivered-id']), info['lag']
    if not oldest then entries = 0 end
    if info['pending'] > 0 then oldest = redis.call('XPENDING', KEYS[1], info['name'])[2] end
    add(info['name'], entries and entries + info['pending'] or -1, oldest)
  end
end
if KEYS[2] then add('', -1, after(redis.call('GET', KEYS[2]) or '0-0')) end
return reply
