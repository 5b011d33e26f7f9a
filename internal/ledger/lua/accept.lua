-- Makes the record of a new message. A message that is there already stays as it is.
-- KEYS  record, payload, waiting, stream
-- ARGV  id, nonce of this request, content hash, expires at ms, send at ms (0: at once), payload,
--       name of its number and recipient, name of its reference; then its context as contextArgs
--       writes it: class, type, to, template, the rest ('': it has none)
-- Reply {1 when this very request made it, state, content hash, expires at ms}
local r = redis.call('HMGET', KEYS[1], 'nonce', 'hash', 'st', 'exp')
if r[3] then
  local mine = 0
  if r[1] == ARGV[2] then mine = 1 end
  return {mine, r[3], r[2], r[4]}
end
local ms = now()
local about = {ARGV[9], ARGV[10]}
-- What the scripts of the queue ask for comes first: short hashes are searched from the front.
local fields = {'st', 'queued', 'k', '0', 'exp', ARGV[4], 'n', '0', 'acc', int(ms), 'c', ARGV[9], 'ty', ARGV[10],
  'hash', ARGV[3], 'nonce', ARGV[2], 'tl', stepped('', ms, ms, 'queued', 0, 0, '')}
local function set(name, value)
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
if ARGV[5] ~= '0' then set('next', ARGV[5]) end
if ARGV[7] ~= '' then set('pair', ARGV[7]) end
if ARGV[8] ~= '' then set('ref', ARGV[8]) end
for i, name in ipairs({'to', 'tpl', 'x'}) do
  local value = ARGV[10 + i]
  if value ~= '' then
    set(name, value)
    about[2 + i] = value
  end
end
redis.call('HSET', KEYS[1], unpack(fields))
if ARGV[8] ~= '' then refer(KEYS[1], ARGV[1], ms, ARGV[8]) end
redis.call('SET', KEYS[2], ARGV[6])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
publish(KEYS[4], ms, ARGV[1], about, 'queued', 0, '', 0, '')
return {1, 'queued', ARGV[3], ARGV[4]}
