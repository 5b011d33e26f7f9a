-- What stands in for standing() where tasks have no records: every task may go.
local function standing() return 'go' end
local function tags_of() return {} end
