#!/bin/sh
# Order messages through Sluice, with a POSIX shell, curl, awk and openssl. webhook.sh receives the statuses.
set -eu

usage() {
	cat >&2 <<-'TEXT'
		usage:
		  orders.sh place ORDER PHONE   sends "we got your payment"
		  orders.sh ship ORDER PHONE    sends "it is on its way", after the message of place was delivered
		  orders.sh watch               reads how each message ended, and reacts
	TEXT
	exit 2
}

here=$(dirname "$0")
. "$here/seen.sh"

api=${SLUICE_API:-http://127.0.0.1:8080}
shop=shop-curl # the tag of our messages, and the name of our cursor
newline='
'

# sluice PATH [ARGUMENT...] calls curl. The API key goes to its standard input: other users of this machine can see
# arguments.
sluice() {
	path=$1
	shift
	printf 'header = "Authorization: Bearer %s"\n' "$SLUICE_API_KEY" |
		curl --silent --config - --header 'Content-Type: application/json' "$@" "$api$path"
}

# call PATH [ARGUMENT...] makes a request and sets $answer. Without a clear answer it tries again: the request may have
# arrived, and a message with the same key is not sent twice.
call() {
	for pause in 1 2 4 8 16; do
		answer=$(sluice "$@" --max-time 60 --write-out '\n%{http_code}') || answer="${newline}000"
		status=${answer##*"$newline"}
		answer=${answer%"$newline"*}
		case $status in
		2??) return ;;
		000 | 408 | 429 | 5??) sleep "$pause" ;;
		*)
			echo "Sluice refused the request: $(member detail "$answer")" >&2
			exit 1
			;;
		esac
	done
	echo "Sluice does not answer. Run the same command again later: it sends nothing twice." >&2
	exit 1
}

# send ORDER PHONE EVENT [AFTER]
send() {
	# The key is made from the order, not at random. So a double click, a retry or a second run is the same message.
	key=order-$1-$3
	after=${4:+"\"after\": {\"key\": \"order-$1-$4\", \"state\": \"delivered\"},"}
	# Every event of the message has its ref. A template is the only type of message that Meta
	# accepts when the customer has not written in the last 24 hours.
	request=$(
		cat <<-JSON
			{"from": "$PHONE_NUMBER_ID", "key": "$key", "ref": "$key", "tags": ["$shop"], "class": "utility", $after
			 "message": {"to": "$2", "type": "template",
			   "template": {"name": "order_$3", "language": {"code": "en_US"},
			     "components": [{"type": "body", "parameters": [{"type": "text", "text": "$1"}]}]}}}
		JSON
	)
	call /v1/messages --data "$request"
	case $answer in
	*'"duplicate":true'*) echo "$key: duplicate $(member id "$answer")" ;;
	*) echo "$key: accepted $(member id "$answer")" ;;
	esac
}

# watch reads the final events of our messages: one for each message that has ended. The answer is a
# stream of server-sent events, with one event per line.
watch() {
	while :; do
		sluice "/v1/events?cursor_name=$shop&tag=$shop&type=final&from=oldest" --no-buffer --header 'Accept: text/event-stream' |
			while IFS= read -r line || [ -n "$line" ]; do
				case $line in
				'data: {"v":'*)
					# An event can come twice, for example if this program was stopped before it acknowledged it.
					if first "$line"; then react "$line"; fi
					;;
				'id: '*) acknowledge=${line#id: } ;; # stands for this event and those before it
				'')
					if [ -n "${acknowledge-}" ]; then
						call "/v1/events/cursors/$shop" --request PUT --data "{\"cursor\":\"$acknowledge\"}"
					fi
					acknowledge=
					;;
				*'"code":"cursor_too_old"'*)
					# This program was stopped for longer than Sluice keeps events. Continue with the oldest event that is available.
					echo "events were dropped: read the open orders with GET /v1/messages"
					call "/v1/events/cursors/$shop" --request PUT --data "{\"cursor\":\"$(member first_cursor "$line")\"}"
					;;
				'{'*) echo "Sluice refused the request: $(member detail "$line")" >&2 ;;
				esac
			done
		sleep 1 # the stream ended, for example because Sluice was restarted
	done
}

react() {
	ref=$(member ref "$1")
	case $(member result "$1") in
	delivered) echo "$ref: delivered" ;;
	# It is certain that the message was not delivered, so the customer does not get the news twice.
	not_delivered) echo "$ref: fallback by SMS: $(member text "$1")" ;;
	# The message may have been delivered. A program cannot find out: a person decides.
	*) echo "$ref: a person must ask the customer: $(member text "$1")" ;;
	esac
}

case ${1-}/$# in
place/3) send "$2" "$3" paid ;;
ship/3) send "$2" "$3" shipped paid ;;
watch/1) watch ;;
*) usage ;;
esac
