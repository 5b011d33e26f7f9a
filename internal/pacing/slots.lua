-- slots books send slots on a number's time line. It goes in front of scripts that need it.
-- The line is one hash {tat, own}: the time of the next free slot in microseconds of this
-- node's clock, and who booked last. Slots are T apart. Nothing is booked further ahead than
-- the horizon. When the booker changes, the line is shifted by cap: that is how late the
-- former booker may still use a slot of its own, so no window of one second holds too many.
-- While its owner keeps up, another booker finds nothing free; when it dies, the line is free
-- after about the horizon. So this is the ownership of a number, with no lease to expire.
--
-- slots(line, owner, now, T, horizon, lead, cap) returns book(n), which books up to n slots
-- and returns how many, and the time of the first slot.
local function slots(line, owner, now, T, horizon, lead, cap)
  local st = redis.call('HMGET', line, 'tat', 'own')
  local tat = tonumber(st[1] or 0)
  if st[2] ~= owner then tat = tat + cap end
  if tat < now + lead then tat = now + lead end
  local free = math.floor((now + horizon - tat) / T) + 1
  if free < 0 then free = 0 end
  local function book(n)
    if n > free then n = free end
    if n > 0 then
      redis.call('HSET', line, 'tat', string.format('%.0f', tat + n * T), 'own', owner)
      redis.call('PEXPIRE', line, 60000)
    end
    return n
  end
  return book, tat, free
end
