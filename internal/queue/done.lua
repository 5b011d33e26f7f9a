-- Acknowledges tasks of one queue that are done with: what asynq's own script does, for several
-- at once. A task that is not in a worker's hands any more stays as it is.
-- KEYS  active, lease, counter of the day, counter of ever; then each task
-- ARGV  when the day's counter ends, s; then each task's id
local ids, tasks = {}, {}
for i = 2, #ARGV do
  if redis.call('LREM', KEYS[1], -1, ARGV[i]) > 0 then -- those taken first are at the end
    ids[#ids + 1] = ARGV[i]
    tasks[#tasks + 1] = KEYS[3 + i]
  end
end
if #ids == 0 then return 0 end
redis.call('ZREM', KEYS[2], unpack(ids))
redis.call('DEL', unpack(tasks))
if redis.call('INCRBY', KEYS[3], #ids) == #ids then redis.call('EXPIREAT', KEYS[3], ARGV[1]) end
redis.call('INCRBY', KEYS[4], #ids)
return #ids
