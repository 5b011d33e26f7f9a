-- slots books send slots on a number's send schedule. It is put in front of the scripts that need it.
-- The schedule is a hash {tat, own, turn}: the time of the next free slot in microseconds of this
-- node's clock, the worker that booked last (the owner), and how many slots were booked (the class that
-- comes next follows from it). Slots are T apart. Nothing is booked further ahead than the horizon. When
-- the owner changes, the schedule is shifted by cap: that is how late the former owner may still use a
-- slot of its own, so no second has too many. While its owner keeps up, another worker finds nothing free;
-- when it dies, the schedule is free after about the horizon. So this is the ownership of a number, with
-- no lease that expires.
-- Floor is a time before which nothing is booked: a pause, or the end of the worker's own last booking,
-- which a failover may have lost. A schedule that is more than CLOCK_SET ahead is from before the clock was
-- set back: it starts anew.
--
-- slots(schedule, worker, now, T, horizon, lead, cap, floor) returns book(n, turn), which books up to n
-- slots, sets the turn unless it is nil, and returns how many were booked; the time of the first
-- slot; how many are free; whether the worker is the owner; and the turn.
local function slots(schedule, worker, now, T, horizon, lead, cap, floor)
  local st = redis.call('HMGET', schedule, 'tat', 'own', 'turn')
  local owns = st[2] == worker
  local tat = tonumber(st[1] or 0)
  if tat > now + CLOCK_SET then tat = 0 end
  if not owns then tat = tat + cap end
  tat = math.max(tat, floor, now + lead)
  local free = math.max(math.floor((now + horizon - tat) / T) + 1, 0)
  local function book(n, turn)
    n = math.min(n, free)
    if n > 0 then
      redis.call('HSET', schedule, 'tat', tat + n * T, 'own', worker, 'turn', turn or st[3] or '0')
    end
    return n
  end
  return book, tat, free, owns, tonumber(st[3] or 0)
end
