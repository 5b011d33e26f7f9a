-- pair_free books a message from a number to one recipient, of which Meta takes one each 6 s
-- and 45 in a burst. It returns 0 when the message may go now, else the time in ms of this
-- node's clock at which it may, and books nothing.
-- Meta, Cloud API overview, "Pair rate limits".
local function pair_free(line, now)
  local every, burst = 6000000, 45
  local tat = math.max(tonumber(redis.call('GET', line) or 0), now)
  local free = tat - (burst - 1) * every
  if free > now then return math.ceil(free / 1000) end
  tat = tat + every
  redis.call('SET', line, string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000))
  return 0
end
