#!/usr/bin/env python3
"""Order messages through Sluice, with the standard library only.

    orders.py place ORDER PHONE   sends "we got your payment"
    orders.py ship ORDER PHONE    sends "it is on its way", after the message of place was delivered
    orders.py watch               reads how each message ended, and reacts
    orders.py serve PORT          receives the statuses that the relay sends
"""

import hashlib
import hmac
import http.client
import http.server
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

API = os.environ.get("SLUICE_API", "http://127.0.0.1:8080")
SHOP = "shop-python"  # the tag of our messages, and the name of our cursor
SEEN = "seen"  # a directory, see first()


class Refused(Exception):
    """Sluice refused a request, and would refuse it again. problem says why, and what to correct."""

    def __init__(self, problem):
        super().__init__(f"Sluice refused the request: {problem['detail']}")
        self.problem = problem


def call(method, path, body=None):
    """Makes a request and returns the answer. Without a clear answer it tries again: the request may have arrived, and
    a message with the same key is not sent twice."""
    request = urllib.request.Request(
        API + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer " + os.environ["SLUICE_API_KEY"], "Content-Type": "application/json"},
    )
    for pause in (1, 2, 4, 8, 16):  # seconds
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as answer:
            if answer.code < 500 and answer.code not in (408, 429):
                raise Refused(json.load(answer)) from None
        except (OSError, http.client.HTTPException):
            pass  # no connection, or no complete answer
        time.sleep(pause)
    sys.exit("Sluice does not answer. Run the same command again later: it sends nothing twice.")


def send(order, phone, event, after=None):
    # The key is made from the order, not at random. So a double click, a retry or a second run is the same message.
    key = f"order-{order}-{event}"
    request = {
        "from": os.environ["PHONE_NUMBER_ID"],
        "key": key,
        "ref": key,  # every event of the message has it
        "tags": [SHOP],
        "class": "utility",
        "message": {
            "to": phone,
            "type": "template",  # the only type that Meta accepts when the customer has not written in the last 24 hours
            "template": {
                "name": f"order_{event}",
                "language": {"code": "en_US"},
                "components": [{"type": "body", "parameters": [{"type": "text", "text": order}]}],
            },
        },
    }
    if after:
        request["after"] = {"key": f"order-{order}-{after}", "state": "delivered"}
    answer = call("POST", "/v1/messages", request)
    print(f"{key}: {'duplicate' if answer['duplicate'] else 'accepted'} {answer['id']}")


def watch():
    """Reads the final events of our messages: one for each message that has ended."""
    query = {"cursor_name": SHOP, "tag": SHOP, "type": "final", "from": "oldest", "wait": "30s"}
    while True:
        try:
            page = call("GET", "/v1/events?" + urllib.parse.urlencode(query))
        except Refused as refused:
            if refused.problem["code"] != "cursor_too_old":
                raise
            # This program was stopped for longer than Sluice keeps events. Continue with the oldest event that is available.
            print("events were dropped: read the open orders with GET /v1/messages")
            query["cursor"] = refused.problem["first_cursor"]
            continue
        for event in page["events"]:
            # An event can come twice, for example if this program was stopped before its next request.
            if first(json.dumps(event)):
                react(event["message"]["ref"], event["final"])
        query["cursor"] = page["cursor"]  # the next request acknowledges this page


def react(ref, final):
    if final["result"] == "delivered":
        print(f"{ref}: delivered")
    elif final["result"] == "not_delivered":
        # It is certain that the message was not delivered, so the customer does not get the news twice.
        print(f"{ref}: fallback by SMS: {final['text']}")
    else:
        # The message may have been delivered. A program cannot find out: a person decides.
        print(f"{ref}: a person must ask the customer: {final['text']}")


def first(text):
    """Whether this text is seen for the first time. Use a table with a unique key in place of the files, in the same
    transaction as the reaction."""
    os.makedirs(SEEN, exist_ok=True)
    try:
        with open(os.path.join(SEEN, hashlib.sha256(text.encode()).hexdigest()), "x") as file:
            file.write(text)
        return True
    except FileExistsError:
        return False


class Webhook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not verified(body, self.headers.get("X-Hub-Signature-256", "")):
            self.answer(403)
            return
        for entry in json.loads(body)["entry"]:
            for change in entry["changes"]:
                for status in change["value"].get("statuses", []):
                    if first(f"{status['id']} {status['status']}"):
                        print(f"webhook: {status.get('sluice', {}).get('ref')} {status['status']}")
        # Answer 2xx only when the statuses are stored: until then Sluice sends them again. Answer within 10 s, and do
        # slow work afterwards.
        self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def verified(body, signature):
    """Whether the relay signed the body: the bytes as they came, not JSON that was read and written again."""
    want = hmac.new(os.environ["WEBHOOK_SECRET"].encode(), body, hashlib.sha256).hexdigest()
    # A comparison that takes the same time for every wrong signature does not help an attacker to guess it.
    return hmac.compare_digest(f"sha256={want}".encode(), signature.encode())


def main(command="", *arguments):
    sys.stdout.reconfigure(line_buffering=True)
    if command == "place" and len(arguments) == 2:
        send(*arguments, "paid")
    elif command == "ship" and len(arguments) == 2:
        send(*arguments, "shipped", after="paid")
    elif command == "watch" and not arguments:
        watch()
    elif command == "serve" and len(arguments) == 1:
        http.server.ThreadingHTTPServer(("127.0.0.1", int(arguments[0])), Webhook).serve_forever()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Refused as refused:
        sys.exit(str(refused))
    except KeyboardInterrupt:
        pass
