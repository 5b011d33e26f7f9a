-- Writes the heartbeat of a webhook program and records gaps: times in which deliveries of Meta may have
-- been refused or missed.
-- KEYS: webhooks (hash: program -> its last heartbeat, and the time up to which it has refused nothing;
-- gap -> the end of the latest gap). Times are Unix milliseconds of the clock of this node.
-- ARGV: program, ms without a heartbeat that count as a gap, time up to which the program has refused
-- nothing, ms since it last refused a delivery (empty: never), 1 when the program ends, ms after which a
-- program without a heartbeat gets no deliveries any more.
-- A program is named "<host and listener>/<random>": two of one host and listener do not run at once.
-- Returns {now, end of the latest gap or 0}.

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local gap, alive, known = 0, false, false
local heartbeats = redis.call('HGETALL', KEYS[1])
local function place(name) return string.match(name, '^(.*)/') end
for i = 1, #heartbeats, 2 do
  local name, at = heartbeats[i], tonumber(string.match(heartbeats[i + 1], '^%d+'))
  known = known or name == ARGV[1]
  if name == 'gap' then
    gap = math.max(gap, at)
  elseif name ~= ARGV[1] and place(name) and place(name) == place(ARGV[1]) and math.abs(now - at) > ARGV[2] / 2 then
    gap = now -- it died: this program has its place
    redis.call('HDEL', KEYS[1], name)
  elseif math.abs(now - at) > tonumber(ARGV[2]) then
    gap = now -- it died or is suspended: then the system still accepts connections, and no program answers
    if math.abs(now - at) > tonumber(ARGV[6]) then redis.call('HDEL', KEYS[1], name) end
  else
    alive = true
  end
end
if not alive then gap = now end -- until now no program ran
if not known and ARGV[3] ~= '0' then gap = now end -- it was suspended for so long that its heartbeat was removed
if ARGV[4] ~= '' then gap = math.max(gap, now - ARGV[4]) end
if gap > 0 then redis.call('HSET', KEYS[1], 'gap', string.format('%.0f', gap)) end
if ARGV[5] == '1' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s', now, ARGV[3]))
end
return {now, gap}
