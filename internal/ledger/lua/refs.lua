-- A reference's index holds the messages with it by when their records end: a sorted set of the
-- ids without their numbers. It lives as long as the longest of the records, which is for ever
-- while one is open: such a one counts from when it was accepted, and FAR.
local FAR = 1e13

local function index_of(rec, ref) return string.match(rec, '^(.*}:)') .. 'r:' .. ref end
local function rest_of(id) return string.match(id, '-(.*)$') end
