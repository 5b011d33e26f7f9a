package dashboards

// All returns all dashboards.
func All() []Dashboard { return []Dashboard{fleet(), number(), webhooks(), platform()} }

// fleet shows all numbers together.
func fleet() Dashboard {
	return Dashboard{
		UID: "sluice-fleet", Title: "Fleet", About: "All numbers: whether messages leave and arrive, what waits, and what stops it.",
		Rows: []Row{
			{"Now", []Panel{
				{Value, "Accepted by Meta", "Messages that Meta accepts.", "mps", []Query{{`sum(rate(sluice_send_attempts_total{outcome="accepted"}[$__rate_interval]))`, ""}}},
				{Value, "Oldest waiting message", "How long the oldest message in a queue has waited. It grows while a number is held.", "s", []Query{{`max(sluice_queue_oldest_age_seconds)`, ""}}},
				{Value, "Holds", "Holds in force. `sluice holds` lists them.", "short", []Query{{`sum(max by (scope, reason) (sluice_holds))`, ""}}},
				{Value, "In doubt", "Messages of which it is not known whether Meta accepted them. Sluice settles them by itself at the end of their window.", "short", []Query{{`max(sluice_messages_open{state="in_doubt"})`, ""}}},
				{Value, "Parked", "In-doubt messages that wait for a decision of an operator: `sluice in-doubt list`.", "short", []Query{{`max(sluice_messages_open{state="parked"})`, ""}}},
				{Value, "Dead letters", "Messages that Sluice stopped trying to send: `sluice dead-letters`.", "short", []Query{{`max(sluice_dead_letters)`, ""}}},
			}},
			{"Rate", []Panel{
				{Lines, "Rate against limit", "Attempts of all numbers, and what they may send together. The effective rate is lower than the limit after Meta refused messages because a number was too fast.", "mps", []Query{
					{`sum(rate(sluice_send_attempts_total[$__rate_interval]))`, "attempts"},
					{`sum(rate(sluice_send_attempts_total{outcome="accepted"}[$__rate_interval]))`, "accepted by Meta"},
					{`sum(max by (phone_number_id) (sluice_number_effective_rate_messages_per_second))`, "effective rate"},
					{`sum(max by (phone_number_id) (sluice_number_rate_limit_messages_per_second))`, "rate limit"},
				}},
				{Lines, "Busiest numbers", "Share of its rate limit that a number uses: the ten highest. At 1 a number cannot send faster.", "percentunit", []Query{
					{`topk(10, sum by (phone_number_id) (rate(sluice_send_attempts_total[$__rate_interval])) / max by (phone_number_id) (sluice_number_rate_limit_messages_per_second))`, "{{phone_number_id}}"},
				}},
			}},
			{"Queues", []Panel{
				{Lines, "Oldest waiting message by class", "How long the oldest message of the class has waited, at the number where it is the oldest.", "s", []Query{
					{`max by (class) (sluice_queue_oldest_age_seconds)`, "{{class}}"},
				}},
				{Lines, "Waiting messages by class", "Messages that wait for a send slot, or for the end of a hold on the number.", "short", []Query{
					{`sum by (class) (max by (phone_number_id, class) (sluice_queue_depth))`, "{{class}}"},
				}},
				{Lines, "Longest ETA", "Time until a message that is accepted now is sent: the ten numbers with the longest one that are not held.", "s", []Query{
					{`topk(10, max by (phone_number_id) (sluice_queue_eta_seconds < Inf))`, "{{phone_number_id}}"},
				}},
				{Lines, "Expired messages", "Messages whose deadline passed before Meta accepted them, by where they waited.", "mps", []Query{
					{`sum by (stage) (rate(sluice_messages_expired_total[$__rate_interval]))`, "{{stage}}"},
				}},
			}},
			{"Success", []Panel{
				{Lines, "Attempts that Meta accepted", "Share of the attempts that Meta accepted. What it refuses is often the fault of the message: see the error codes.", "percentunit", []Query{
					{`sum(rate(sluice_send_attempts_total{outcome="accepted"}[$__rate_interval])) / sum(rate(sluice_send_attempts_total[$__rate_interval]))`, "accepted"},
				}},
				{
					Lines, "Time to acceptance by Meta", "From when a message could be sent to Meta's answer that accepted it, with retries and time in doubt.", "s",
					quantiles("sluice_accepted_latency_seconds", "class"),
				},
				{Lines, "Attempts by outcome", "Attempts that Meta did not accept, by outcome. throttled: too fast. transient: tried again. held: a number or template must be corrected. server_error, no_answer: in doubt.", "mps", []Query{
					{`sum by (outcome) (rate(sluice_send_attempts_total{outcome!="accepted"}[$__rate_interval]))`, "{{outcome}}"},
				}},
				{Lines, "Error codes", "Attempts that Meta did not accept, by Meta's code: the ten most frequent. docs/errors.md says what each means.", "mps", []Query{
					{`topk(10, sum by (code) (rate(sluice_send_errors_total[$__rate_interval])) > 0)`, "{{code}}"},
				}},
			}},
			{"Holds and canaries", []Panel{
				{Lines, "Holds", "Holds in force, by scope and reason.", "short", []Query{
					{`max by (scope, reason) (sluice_holds) > 0`, "{{scope}}: {{reason}}"},
				}},
				{Lines, "Messages that holds keep", "By scope and reason of the hold. A message that several holds keep counts for each of them.", "short", []Query{
					{`max by (scope, reason) (sluice_held_messages) > 0`, "{{scope}}: {{reason}}"},
				}},
				{Lines, "Canaries that fail", "Failures in a row, by number and by the first step that did not come. docs/canary.md says what to do.", "short", []Query{
					{`max by (phone_number_id, step) (sluice_canary_consecutive_failures) > 0`, "{{phone_number_id}}: {{step}}"},
				}},
				{Lines, "Delivery of canaries", "Time from the acceptance of a canary to its delivery, of the latest one: the ten slowest numbers.", "s", []Query{
					{`topk(10, max by (phone_number_id) (sluice_canary_duration_seconds{step="delivered"}))`, "{{phone_number_id}}"},
				}},
			}},
			{"API and tokens", []Panel{
				{Lines, "Messages from callers", "Messages that callers sent to the API or wrote to the outbox, by result.", "mps", []Query{
					{`sum by (result) (rate(sluice_api_messages_total[$__rate_interval]))`, "{{result}}"},
				}},
				{Lines, "Time to answer a caller", "Time to store a message and answer the caller.", "s", quantiles("sluice_api_request_duration_seconds", "")},
				{Lines, "Access tokens that expire next", "Time until the access token of a number expires: the ten that expire first. 0 or less: it is not valid.", "s", []Query{
					{`bottomk(10, max by (phone_number_id) (sluice_token_expiry_timestamp_seconds < Inf) - time())`, "{{phone_number_id}}"},
				}},
			}},
		},
	}
}

// number shows one number.
func number() Dashboard {
	return Dashboard{
		UID: "sluice-number", Title: "Number", About: "One phone number id: how fast it sends, what waits, and what Meta answers.",
		Vars: []Variable{{Name: "number", Label: "Phone number id", About: "Meta's id of the sending number.", Metric: "sluice_number_rate_limit_messages_per_second", Of: "phone_number_id"}},
		Rows: []Row{
			{"Now", []Panel{
				{Value, "Rate limit", "Messages per second that the number may send.", "mps", []Query{{`max(sluice_number_rate_limit_messages_per_second{phone_number_id="$number"})`, ""}}},
				{Value, "Effective rate", "Messages per second that it sends at most now. Lower than the limit: Meta refused messages because the number was too fast.", "mps", []Query{{`max(sluice_number_effective_rate_messages_per_second{phone_number_id="$number"})`, ""}}},
				{Value, "Hold on the number", "1: the whole number is held. `sluice holds` has the reason and what ends it.", "short", []Query{{`max by (reason) (sluice_number_held{phone_number_id="$number"})`, "{{reason}}"}}},
				{Value, "Held messages", "Messages that any hold keeps from being sent: on the number, a template, a tag, or all.", "short", []Query{{`max(sluice_number_held_messages{phone_number_id="$number"})`, ""}}},
				{Value, "Requests without an answer", "Requests to Meta that have no answer yet.", "short", []Query{{`sum(sluice_number_inflight_requests{phone_number_id="$number"})`, ""}}},
				{Value, "Token expires in", "Time until the access token expires. none: it does not expire, or Meta did not say it. 0 or less: it is not valid.", "s", []Query{{`max(sluice_token_expiry_timestamp_seconds{phone_number_id="$number"} < Inf) - time()`, ""}}},
			}},
			{"Rate and backlog", []Panel{
				{Lines, "Rate", "Attempts, and what the number may send.", "mps", []Query{
					{`sum(rate(sluice_send_attempts_total{phone_number_id="$number"}[$__rate_interval]))`, "attempts"},
					{`max(sluice_number_effective_rate_messages_per_second{phone_number_id="$number"})`, "effective rate"},
					{`max(sluice_number_rate_limit_messages_per_second{phone_number_id="$number"})`, "rate limit"},
				}},
				{Lines, "ETA by class", "Time until a message that is accepted now is sent. No value: the number is held.", "s", []Query{
					{`max by (class) (sluice_queue_eta_seconds{phone_number_id="$number"} < Inf)`, "{{class}}"},
				}},
				{Lines, "Waiting messages by class", "Messages that wait for a send slot, or for the end of a hold on the number.", "short", []Query{
					{`max by (class) (sluice_queue_depth{phone_number_id="$number"})`, "{{class}}"},
				}},
				{Lines, "Oldest waiting message by class", "How long the oldest message of the class has waited.", "s", []Query{
					{`max by (class) (sluice_queue_oldest_age_seconds{phone_number_id="$number"})`, "{{class}}"},
				}},
			}},
			{"Meta's answers", []Panel{
				{Lines, "Attempts by outcome", "throttled: too fast. transient: tried again. held: the number or a template must be corrected. server_error, no_answer: in doubt.", "mps", []Query{
					{`sum by (outcome) (rate(sluice_send_attempts_total{phone_number_id="$number"}[$__rate_interval]))`, "{{outcome}}"},
				}},
				{Lines, "Attempts by class", "Attempts to send a message, by class.", "mps", []Query{
					{`sum by (class) (rate(sluice_send_attempts_total{phone_number_id="$number"}[$__rate_interval]))`, "{{class}}"},
				}},
				{Lines, "Mean time of a request to Meta", "Requests without an answer divided by requests per second (Little's law). It is an estimate: while few messages are sent, look at a canary.", "s", []Query{
					{`sum(avg_over_time(sluice_number_inflight_requests{phone_number_id="$number"}[$__rate_interval])) / (sum(rate(sluice_send_attempts_total{phone_number_id="$number"}[$__rate_interval])) > 0)`, "mean"},
				}},
				{Lines, "Error codes, all numbers", "Attempts that Meta did not accept, by Meta's code, at all numbers: the ten most frequent. The metric has no phone number id. `sluice list` shows the codes of the messages of a number.", "mps", []Query{
					{`topk(10, sum by (code) (rate(sluice_send_errors_total[$__rate_interval])) > 0)`, "{{code}}"},
				}},
			}},
			{"Canary", []Panel{
				{Lines, "Time to each step", "Time from the acceptance of a canary to each step, of the latest one. docs/canary.md describes canaries.", "s", []Query{
					{`max by (step) (sluice_canary_duration_seconds{phone_number_id="$number"})`, "{{step}}"},
				}},
				{Lines, "Failures in a row", "By the first step that did not come.", "short", []Query{
					{`max by (step) (sluice_canary_consecutive_failures{phone_number_id="$number"})`, "{{step}}"},
				}},
			}},
		},
	}
}
