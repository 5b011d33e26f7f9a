package dashboards

// webhooks shows what Meta reports, and whether it is applied.
func webhooks() Dashboard {
	events := func(status string) string {
		return `sum(increase(sluice_status_events_total{status="` + status + `"}[$__range]))`
	}
	return Dashboard{
		UID: "sluice-webhooks", Title: "Webhooks and statuses", About: "Whether Meta's webhooks arrive, are answered in time, and are applied to the messages.",
		Rows: []Row{
			{"Funnel", []Panel{
				{Bars, "From accepted to read", "Messages that Meta accepted, and the statuses that it reported, in the time range. A status counts again when Meta repeats it. A recipient can switch read receipts off.", "short", []Query{
					{`sum(increase(sluice_send_attempts_total{outcome="accepted"}[$__range]))`, "accepted by Meta"},
					{events("sent"), "sent"},
					{events("delivered"), "delivered"},
					{events("read"), "read"},
					{events("failed"), "failed"},
				}},
				{Lines, "Statuses", "Statuses from Meta, and the messages that it accepts. The lines of accepted and sent must be alike.", "mps", []Query{
					{`sum(rate(sluice_send_attempts_total{outcome="accepted"}[$__rate_interval]))`, "accepted by Meta"},
					{`sum by (status) (rate(sluice_status_events_total[$__rate_interval]))`, "{{status}}"},
				}},
				{Lines, "Missing statuses", "Messages that Meta accepted more than 15 minutes ago and sent no status for. While it grows, webhooks do not arrive.", "short", []Query{
					{`max(sluice_messages_awaiting_status)`, "awaiting status"},
				}},
				{Lines, "In-doubt messages", "Messages whose attempt got no answer. They are settled by a status, or at the end of their window. postponed: no decision, because webhooks may be missing.", "short", []Query{
					{`max(sluice_messages_open{state="in_doubt"})`, "in doubt"},
					{`max(sluice_messages_open{state="parked"})`, "parked"},
					{`sum(increase(sluice_in_doubt_postponed_total[$__rate_interval]))`, "postponed"},
				}},
				{Lines, "Oldest in-doubt message by class", "How long the oldest in-doubt message of the class is in doubt. Each class has its own window: docs/configuration.md.", "s", []Query{
					{`max by (class) (sluice_in_doubt_oldest_age_seconds)`, "{{class}}"},
				}},
			}},
			{"Webhook program", []Panel{
				{Lines, "Time to answer Meta", "Time from the headers of a webhook to its answer 200. Meta wants a median of 250 ms at most.", "s", quantiles("sluice_webhook_ack_duration_seconds", "")},
				{Lines, "Answers within 250 ms", "Share of the webhooks that were answered within 250 ms.", "percentunit", []Query{
					{`sum(rate(sluice_webhook_ack_duration_seconds_bucket{le="0.25"}[$__rate_interval])) / sum(rate(sluice_webhook_ack_duration_seconds_count[$__rate_interval]))`, "within 250 ms"},
				}},
				{Lines, "Webhook requests", "Requests by result. Meta repeats what is not answered 200.", "reqps", []Query{
					{`sum by (result) (rate(sluice_webhook_requests_total[$__rate_interval]))`, "{{result}}"},
				}},
				{Lines, "Wrong signatures", "Requests without exactly one valid signature: forged, or the app secret is wrong. previous: webhooks that are signed with the previous app secret.", "reqps", []Query{
					{`sum(rate(sluice_webhook_signature_failures_total[$__rate_interval]))`, "no valid signature"},
					{`sum(rate(sluice_webhook_signatures_total{secret="previous"}[$__rate_interval]))`, "previous secret"},
				}},
				{Lines, "Events from Meta", "Events that were written to the event stream, by type.", "eps", []Query{
					{`sum by (type) (rate(sluice_webhook_events_total[$__rate_interval]))`, "{{type}}"},
				}},
				{Value, "Latest gap", "When the latest gap ended: a time in which a webhook was refused, or no webhook program ran.", "dateTimeFromNow", []Query{
					{`max(sluice_webhook_gap_timestamp_seconds > 0) * 1000`, ""},
				}},
			}},
			{"Statuses and records", []Panel{
				{Lines, "Time to apply a status", "From when the webhook program received a status to when it was applied to the record of its message.", "s", quantiles("sluice_status_applied_latency_seconds", "")},
				{Lines, "Age of the watermark", "Everything that Meta reported before the watermark is applied. While its age grows, in-doubt messages are neither sent again nor parked.", "s", []Query{
					{`max(sluice_reconcile_watermark_age_seconds)`, "watermark"},
				}},
				{Lines, "Results", "Statuses by the result of applying them. unmatched: no message has its id yet. outdated: the record already had a later state. duplicate: Meta accepted a message twice.", "mps", []Query{
					{`sum by (result) (rate(sluice_status_applied_total[$__rate_interval]))`, "{{result}}"},
				}},
				{Lines, "Statuses that were not applied", "Statuses that belong to no message, and what cannot be read or failed again and again.", "short", []Query{
					{`sum(increase(sluice_status_unmatched_dropped_total[$__rate_interval]))`, "unmatched, dropped"},
					{`sum(increase(sluice_status_unconfigured_number_total[$__rate_interval]))`, "number not configured"},
					{`sum(increase(sluice_status_unusable_total[$__rate_interval]))`, "without an id"},
					{`sum(increase(sluice_events_dead_lettered_total[$__rate_interval]))`, "dead-lettered"},
					{`sum(increase(sluice_events_quarantined_total[$__rate_interval]))`, "quarantined"},
				}},
			}},
		},
	}
}

// platform shows the programs, Redis, and the streams.
func platform() Dashboard {
	return Dashboard{
		UID: "sluice-platform", Title: "Platform", About: "The programs, Redis, the event streams, and the ways in and out of Sluice.",
		Vars: []Variable{{Name: "job", Label: "Job", About: "Jobs of Prometheus that scrape Sluice.", Metric: "sluice_build_info", Of: "job", Multi: true}},
		Rows: []Row{
			{"Programs", []Panel{
				{Lines, "Running programs", "Programs by job and version. More than one version: an upgrade is under way.", "short", []Query{
					{`count by (job, version) (sluice_build_info{job=~"$job"})`, "{{job}} {{version}}"},
				}},
				{Lines, "CPU", "CPUs that a program uses.", "short", []Query{
					{`sum by (job, instance) (rate(process_cpu_seconds_total{job=~"$job"}[$__rate_interval]))`, "{{job}} {{instance}}"},
				}},
				{Lines, "Memory", "Resident memory of a program.", "bytes", []Query{
					{`sum by (job, instance) (process_resident_memory_bytes{job=~"$job"})`, "{{job}} {{instance}}"},
				}},
				{Lines, "Goroutines", "Goroutines of a program. A number that only grows is a fault of Sluice.", "short", []Query{
					{`sum by (job, instance) (go_goroutines{job=~"$job"})`, "{{job}} {{instance}}"},
				}},
				{Lines, "Pauses of the garbage collector", "Share of the time in which the garbage collector stops a program.", "percentunit", []Query{
					{`sum by (job, instance) (rate(go_gc_duration_seconds_sum{job=~"$job"}[$__rate_interval]))`, "{{job}} {{instance}}"},
				}},
				{Lines, "Open files", "Share of its file descriptors that a program uses.", "percentunit", []Query{
					{`max by (job, instance) (process_open_fds{job=~"$job"} / process_max_fds{job=~"$job"})`, "{{job}} {{instance}}"},
				}},
				{Lines, "Time of a request to Meta", "Time of one POST to the Graph API, connecting included.", "s", quantiles("sluice_graph_request_duration_seconds", "")},
				{Lines, "Faults of workers", "State changes that the sweeper made where a worker did not, parts of its passes that failed, records that cannot be read, and log lines that were dropped.", "short", []Query{
					{`sum by (from, to) (increase(sluice_sweeper_transitions_total[$__rate_interval])) > 0`, "{{from}} to {{to}}"},
					{`sum(increase(sluice_sweeper_failures_total[$__rate_interval]))`, "failed passes"},
					{`sum(increase(sluice_records_unreadable_total[$__rate_interval]))`, "unreadable records"},
					{`sum(increase(sluice_log_lines_dropped_total[$__rate_interval]))`, "dropped log lines"},
				}},
			}},
			{"Redis", []Panel{
				{Value, "Answers", "1: Redis answered the last check of every program. 0: not of all.", "short", []Query{{`min(sluice_redis_up)`, ""}}},
				{Value, "Durability broken", "1: Redis is configured less safely than redis.durability demands, and the API accepts no messages.", "short", []Query{{`max(sluice_redis_durability_broken)`, ""}}},
				{Value, "Persistence failed", "1: a master could not write its append-only file or its snapshot.", "short", []Query{{`max(sluice_redis_persistence_failed)`, ""}}},
				{Value, "Replicas", "Replicas of the master that has the fewest.", "short", []Query{{`min(sluice_redis_replicas)`, ""}}},
				{Value, "Restored shards", "Shards whose numbers were held in the time range, because Redis lost more writes than the workers remember.", "short", []Query{{`sum(increase(sluice_redis_restored_shards_total[$__range]))`, ""}}},
				{Value, "Clock", "Greatest difference between the clocks of Redis and of a program. At 60 s the program is not ready.", "s", []Query{{`max(abs(sluice_redis_clock_offset_seconds))`, ""}}},
				{Lines, "Memory", "Share of maxmemory that a master uses. Above 0.75 the API accepts no messages.", "percentunit", []Query{
					{`max by (redis) (sluice_redis_memory_ratio)`, "{{redis}}"},
				}},
				{Lines, "Time of a round trip", "Time of one round trip to Redis. A pipeline or a transaction is one round trip.", "s", quantiles("sluice_redis_round_trip_duration_seconds", "")},
				{Lines, "Round trips", "Round trips to Redis by job, and transactions that were repeated because another process changed a record first.", "ops", []Query{
					{`sum by (job) (rate(sluice_redis_round_trips_total{job=~"$job"}[$__rate_interval]))`, "{{job}}"},
					{`sum(rate(sluice_redis_conflicts_total{job=~"$job"}[$__rate_interval]))`, "conflicts"},
				}},
				{Lines, "Lost and unconfirmed writes", "lost: what a restart or a failover lost, which the workers write again. unconfirmed: no replica confirmed the write within 1 s.", "short", []Query{
					{`sum by (lost) (increase(sluice_redis_lost_writes_total[$__rate_interval]))`, "lost {{lost}}"},
					{`sum(increase(sluice_redis_unconfirmed_writes_total[$__rate_interval]))`, "unconfirmed"},
				}},
			}},
			{"Event streams", []Panel{
				{Lines, "Memory of events", "Redis memory that events use, and may use. At the budget Sluice drops the oldest events.", "bytes", []Query{
					{`max(sluice_events_bytes)`, "used"},
					{`max(sluice_events_budget_bytes)`, "budget"},
				}},
				{Lines, "Age of the oldest kept event", "How long events are kept. Less than configured: events are dropped early, for lack of memory.", "s", []Query{
					{`min(sluice_events_retention_seconds)`, "kept"},
					{`max(sluice_events_retention_configured_seconds)`, "configured"},
				}},
				{Lines, "Lag of consumer groups", "Age of the oldest entry that a consumer group has not read and acknowledged. sluice: Sluice itself, which applies what Meta reports.", "s", []Query{
					{`max by (group) (sluice_stream_lag_seconds)`, "{{group}}"},
				}},
				{Lines, "Missed and retried", "gaps: a consumer group was too slow and missed events. retried: entries that were applied again after a failure.", "short", []Query{
					{`sum(increase(sluice_events_gaps_total[$__rate_interval]))`, "gaps"},
					{`sum(increase(sluice_events_retried_total[$__rate_interval]))`, "retried"},
				}},
			}},
			{"Feed, relay and outbox", []Panel{
				{Lines, "Lag of the relay", "Age of the oldest event that waits for a relay target.", "s", []Query{
					{`max by (target) (sluice_relay_lag_seconds)`, "{{target}}"},
				}},
				{Lines, "Relayed events", "Events for all relay targets, by result.", "eps", []Query{
					{`sum by (result) (rate(sluice_relay_events_total[$__rate_interval]))`, "{{result}}"},
				}},
				{Lines, "Lag of consumers of the feed", "Age of the oldest event in each answer of GET /v1/events: how far consumers are behind.", "s", quantiles("sluice_feed_lag_seconds", "")},
				{Lines, "Oldest row of the outbox", "Age of the first pending row of the outbox.", "s", []Query{
					{`max(sluice_outbox_oldest_pending_age_seconds)`, "oldest"},
				}},
			}},
		},
	}
}
