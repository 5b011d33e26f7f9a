#!/bin/sh
# Receives the statuses that Sluice's relay sends, as a CGI program of a web server.
set -eu

here=$(dirname "$0")
. "$here/seen.sh"

# The body as it came: the signature is of these bytes.
body=$(mktemp)
trap 'rm -f "$body"' EXIT
head -c "${CONTENT_LENGTH:-0}" >"$body"

# mac KEY prints the HMAC-SHA256 of its input. While openssl runs, other users of this machine can see the key.
mac() { openssl dgst -sha256 -mac HMAC -macopt "key:$1" -r | cut -d ' ' -f 1; }

# A shell compares texts from left to right, and its time says how much of a forged signature is right. So compare MACs
# of both under a key that is used once.
once=$(openssl rand -hex 32)
want=$(printf 'sha256=%s' "$(mac "$WEBHOOK_SECRET" <"$body")" | mac "$once")
got=$(printf %s "${HTTP_X_HUB_SIGNATURE_256-}" | mac "$once")
if [ "$got" != "$want" ]; then
	printf 'Status: 403 Forbidden\r\n\r\n'
	exit
fi

# One status in a request: the relay's default (--batch 1).
statuses=$(sed -n 's/.*"statuses":\[//p' <"$body")
if [ -n "$statuses" ]; then
	status=$(member status "$statuses")
	if first "$(member id "$statuses") $status"; then
		echo "webhook: $(member ref "$statuses") $status" >&2
	fi
fi

# Answer 2xx only when the status is stored: until then Sluice sends it again. Answer within 10 s, and do slow work
# afterwards.
printf 'Status: 200 OK\r\n\r\n'
