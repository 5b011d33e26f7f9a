-- slots books send slots on a number's time line. It goes in front of scripts that need it.
-- The line is a hash {tat, own}: the time of the next free slot in microseconds of this
-- node's clock, and who booked last. Slots are T apart. Nothing is booked further ahead than
-- the horizon. When the booker changes, the line is shifted by cap: that is how late the
-- former booker may still use a slot of its own, so no window of one second holds too many.
-- While its owner keeps up, another booker finds nothing free; when it dies, the line is free
-- after about the horizon. So this is the ownership of a number, with no lease to expire.
-- Floor is a time before which nothing is booked: a pause, or the end of the booker's own
-- last booking, which a failover may have lost.
--
-- slots(line, owner, now, T, horizon, lead, cap, floor) returns book(n), which books up to n
-- slots and returns how many; the time of the first slot; and how many are free.
local function slots(line, owner, now, T, horizon, lead, cap, floor)
  local st = redis.call('HMGET', line, 'tat', 'own')
  local tat = tonumber(st[1] or 0)
  if st[2] ~= owner then tat = tat + cap end
  tat = math.max(tat, floor, now + lead)
  local free = math.max(math.floor((now + horizon - tat) / T) + 1, 0)
  local function book(n)
    n = math.min(n, free)
    if n > 0 then
      redis.call('HSET', line, 'tat', string.format('%.0f', tat + n * T), 'own', owner)
      redis.call('PEXPIRE', line, 60000)
    end
    return n
  end
  return book, tat, free
end
