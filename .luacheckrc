-- For make check: what Redis gives to scripts, and what scripts may leave unused of the parts in front of them.
std = "lua51"
read_globals = {"redis", "cjson", "KEYS", "ARGV"}
ignore = {"211/[A-Z_]+", "211/now", "211/int", "211/run_id", "211/to_head", "211/each_flow"}
max_line_length = false
