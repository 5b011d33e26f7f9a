# Functions for orders.sh and webhook.sh.

# member NAME JSON prints the first string member of this name. That is enough for Sluice's answers and events; use jq
# where it is installed.
member() {
	printf '%s\n' "$2" | awk -v name="\"$1\":\"" '
		i = index($0, name) {
			rest = substr($0, i + length(name))
			match(rest, /^([^"\\]|\\.)*/)
			print substr(rest, 1, RLENGTH)
		}'
}

# first TEXT succeeds if this text is seen for the first time. Use a table with a unique key in place of the files.
first() {
	mkdir -p "$here/seen"
	name=$(printf %s "$1" | openssl dgst -sha256 -r | cut -d ' ' -f 1)
	# With -C the shell does not overwrite a file.
	(set -C && printf '%s\n' "$1" >"$here/seen/$name") 2>/dev/null && return
	[ -e "$here/seen/$name" ] || exit 1
	return 1
}
