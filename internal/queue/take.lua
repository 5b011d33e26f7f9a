-- Takes tasks of one number out of their queues together with the send slots they leave on, and
-- notes who has them in hand. The most urgent class comes first; every 20th slot goes to the
-- others in turn, so that none waits for ever. What can be sent only Go can tell: it has the
-- records. A slot whose task cannot be sent is spare, and the next call fills it.
-- KEYS  send schedule of the number
-- ARGV  worker, configured rate, how much further than usual slots are booked us, how far a change
--       of owner shifts the schedule us, end of the worker's own last booking us; most tasks to
--       take, spare slots, name of the field of hands, what to ask of each class: a digit for each,
--       0 nothing, n 2^(n-1) tasks a slot
-- Reply {numbers, what is in hand now; then the names of the holds on templates and tags}
--       numbers: now us, first slot us, time between slots us, slots booked, full rate; then for each
--       class 1 when it may have more, else 0
--       in hand: for each class a line: class (from 0), the tasks' ids
-- LEAD, HORIZON, SLACK, CLIMB and ASIDE are set in front of it.
local line = KEYS[1]
local name = names_of(line)
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local room, spare = tonumber(ARGV[6]), tonumber(ARGV[7])
local asked = {} -- by class: tasks for each slot; nil: nothing of it
local rare = {name.own('pace'), name.shared('holds')}
for c = 1, 4 do
  local digit = string.byte(ARGV[9], c) - 48
  if digit > 0 then
    asked[c] = 2 ^ (digit - 1)
    rare[#rare + 1] = name.asynq(c, 'paused')
  end
end
local rate, full, pause = tonumber(ARGV[2]), tonumber(ARGV[2]), 0
local kept, names = false, {}
if redis.call('EXISTS', unpack(rare)) > 0 then
  local holds = name.shared('holds')
  rate, full, pause = pace(name.own('pace'), rate, now, CLIMB)
  if redis.call('EXISTS', holds) == 1 then
    kept = held(holds, 'all', now / 1000) or held(holds, 'number:' .. name.number, now / 1000)
    for _, hold in ipairs(kept and {} or redis.call('HKEYS', holds)) do
      local kind, number = string.match(hold, '^(%a+):(%d*):')
      if (kind == 'template' or kind == 'tag') and (number == '' or number == name.number) and
        held(holds, hold, now / 1000) then
        names[#names + 1] = hold
      end
    end
  end
  for c = 1, 4 do
    if asked[c] and redis.call('EXISTS', name.asynq(c, 'paused')) == 1 then asked[c] = nil end
  end
end
local T = math.ceil((1000000 + SLACK) / rate)
local horizon = HORIZON + ARGV[3]
-- Urgent tasks may book further ahead: at the worker they go before what it has in hand, and
-- that takes the later slots. Not at a worker that does not own the schedule, or it would find
-- slots while the owner keeps up.
local book, first, reach, owns, turn = slots(line, ARGV[1], now, T, 2 * horizon, LEAD + ARGV[3], tonumber(ARGV[4]),
  math.max(tonumber(ARGV[5]), pause))
local most = math.max(0, math.min(math.floor((now + horizon - first) / T) + 1, reach))
if not owns then reach = most end
most, reach = math.min(most + spare, room), math.min(reach + spare, room)

local taken, n = {}, 0 -- by class: the ids taken; for how many slots that is
-- pop takes the tasks for up to so many slots from a class, and returns for how many there were.
local function pop(c, wanted)
  if wanted <= 0 or not asked[c] then return 0 end
  local some = math.min(wanted * asked[c], ASIDE)
  local ids = redis.call('RPOP', name.asynq(c, 'pending'), string.format('%.0f', some))
  if not ids or #ids < some then asked[c] = nil end -- no more are there
  if not ids then return 0 end
  if taken[c] then
    for _, id in ipairs(ids) do taken[c][#taken[c] + 1] = id end
  else
    taken[c] = ids
  end
  return math.min(#ids, wanted)
end
-- shares is how many of the next slots go to the others.
local function shares(of) return math.floor((turn + of) / 20) - math.floor(turn / 20) end
local function others(slots)
  for i = 1, slots do
    local start = math.floor(turn / 20) + i
    for j = 0, 2 do
      local got = pop((start + j) % 3 + 2, 1)
      n = n + got
      if got > 0 then break end
    end
  end
end
if not kept and reach > 0 then
  local share = shares(reach)
  n = pop(1, reach - share)
  -- Where more of the most urgent wait they get all but the share of the others.
  if asked[1] and (n > 0 or redis.call('EXISTS', name.asynq(1, 'pending')) == 1) then
    others(share)
    n = n + pop(1, reach - n)
  end
  if n < most then
    others(math.min(shares(most) - (asked[1] and share or 0), most - n))
    for c = 1, 4 do n = n + pop(c, most - n) end
  end
end

local value = {}
for c = 1, 4 do
  if taken[c] then value[#value + 1] = (c - 1) .. ' ' .. table.concat(taken[c], ' ') end
end
local hand, booked = table.concat(value, '\n'), 0
if hand ~= '' then
  if redis.call('HSETNX', name.own('hands'), ARGV[8], hand) == 1 then
    booked = book(math.max(n - spare, 0), turn + n)
  else -- this call runs for the second time, because its first answer was lost
    for c = 1, 4 do
      for i = #(taken[c] or {}), 1, -1 do redis.call('RPUSH', name.asynq(c, 'pending'), taken[c][i]) end
    end
    hand = redis.call('HGET', name.own('hands'), ARGV[8])
  end
end
local left = ''
for c = 1, 4 do left = left .. (asked[c] and not kept and '1' or '0') end
return {string.format('%.0f %.0f %.0f %d %.0f %s', now, first, T, booked, full, left), hand, unpack(names)}
