package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/events"
	"sluice/internal/holdpolicy"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/store"
)

// state checks what Redis says about the running programs and the messages that wait.
func (v *visit) state(ctx context.Context, db *store.DB) {
	shards := message.Shards(v.Worker.Shards)
	records := ledger.New(db, ledger.Options{Shards: shards})
	stream := events.New(db, shards, events.Options{})
	v.senders(ctx, records, shards)
	v.reconcilers(ctx, stream)
	v.holds(ctx, holds.New(db, shards, slog.New(slog.DiscardHandler)), backlog.New(db, shards, func(string) int { return 1 }))
	v.open(ctx, records)
	v.statuses(ctx, db, records, stream)
	v.events(ctx, db, stream)
	v.relay(ctx, db, shards)
	v.templates(ctx, db)
}

// refused is the finding when Redis does not answer a question.
func refused(err error) Finding {
	return found(Fail, err.Error(), "give Sluice's Redis user the permissions of docs/configuration.md, and run doctor again")
}

// The shares of maxmemory that are worth a warning and a failure. Above the second the API accepts no messages.
const (
	memoryWarn = 0.70
	memoryFail = 0.75
)

// memory checks how full each master is.
func (v *visit) memory(ctx context.Context, db *store.DB) {
	const fix = "raise maxmemory, or let callers send fewer messages until the backlog is sent; `sluice top` shows what waits"
	for _, m := range db.Memory(ctx) {
		share := m.Share()
		percent := fmt.Sprintf("%.0f %% of maxmemory is in use", 100*share)
		switch {
		case share == 0:
			v.add("redis memory", "", found(OK, "maxmemory is not set", ""))
		case share >= 1:
			v.add("redis memory", "", found(Fail, "is full: Redis refuses writes, the API accepts no messages, and webhooks are refused", fix))
		case share > memoryFail:
			v.add("redis memory", "", found(Fail, percent+": the API accepts no messages", fix))
		case share > memoryWarn:
			v.add("redis memory", "", found(Warn, percent+": above 75 % the API accepts no messages", fix))
		default:
			v.add("redis memory", "", found(OK, "less than 70 % of maxmemory is in use", ""))
		}
	}
}

// senders checks that a worker sends.
func (v *visit) senders(ctx context.Context, records *ledger.Ledger, shards message.Shards) {
	workers := map[string]bool{}
	for _, shard := range records.Alive(ctx, shards.All(), message.DeadAfter) {
		if shard.Err != nil {
			v.add("workers", "", refused(shard.Err))
			return
		}
		for name := range shard.Workers {
			workers[name] = true
		}
	}
	if len(workers) == 0 {
		v.add("workers", "", found(Fail, "no worker sends: accepted messages wait until they expire", "start a worker with the role send (every worker has it by default), and read its log"))
		return
	}
	v.add("workers", "", found(OK, fmt.Sprintf("workers that send: %d", len(workers)), ""))
}

// reconcilers checks that a worker applies what Meta reports.
func (v *visit) reconcilers(ctx context.Context, stream *events.Stream) {
	n, err := stream.Readers(ctx)
	switch {
	case err != nil:
		v.add("status workers", "", refused(err))
	case n == 0:
		v.add("status workers", "", found(Fail, "no worker applies statuses from Meta: messages stay in their states, and in-doubt messages wait", "start a worker with the role reconcile (every worker has it by default), and read its log"))
	default:
		v.add("status workers", "", found(OK, fmt.Sprintf("workers that apply statuses: %d", n), ""))
	}
}

// holds names every hold, with what ends it.
func (v *visit) holds(ctx context.Context, stored *holds.Store, reader *backlog.Reader) {
	all, err := stored.List(ctx)
	if err != nil {
		v.add("holds", "", refused(err))
		return
	}
	held, _, err := reader.CountHeld(ctx, all)
	if err != nil {
		v.add("holds", "", refused(err))
		return
	}
	for i, h := range all {
		code := ""
		if h.Code != 0 {
			code = fmt.Sprintf(", Meta's code %d", h.Code)
		}
		v.add("hold", h.Number, found(Fail,
			fmt.Sprintf("%s has been held for %s; set by %s%s: %s. Held messages: %d. It ends %s", h.On(), age(h.Since), h.By, code, h.Reason, held[i], holdpolicy.Ends(h, time.Local)),
			"correct the cause; `sluice holds` lists the holds, and `sluice release` ends one of them"))
	}
	if len(all) == 0 {
		v.add("holds", "", found(OK, "none", ""))
	}
}

// age returns how long ago a time was, in minutes, or in seconds when it is less than one.
func age(t time.Time) time.Duration {
	d := time.Since(t)
	if d < time.Minute {
		return max(d, 0).Round(time.Second)
	}
	return d.Round(time.Minute)
}

// open checks that no message waits for an operator.
func (v *visit) open(ctx context.Context, records *ledger.Ledger) {
	b, err := records.Backlog(ctx)
	if err != nil {
		v.add("messages", "", refused(err))
		return
	}
	if b.Parked > 0 {
		v.add("messages parked", "", found(Fail, fmt.Sprintf("parked messages: %d. It is unknown whether Meta accepted them, and they are not sent", b.Parked), "`sluice in-doubt list` lists them. Decide with `sluice in-doubt resolve`: not-sent sends the message again"))
	} else {
		v.add("messages parked", "", found(OK, "none", ""))
	}
	if b.Dead > 0 {
		v.add("dead letters", "", found(Fail, fmt.Sprintf("dead letters: %d. These messages were given up, and are not sent", b.Dead), "`sluice dead-letters` counts them by code and reason. Correct the cause, then send them again with `sluice replay --phone-number-id PHONE_NUMBER_ID --reason '...' --confirm`"))
	} else {
		v.add("dead letters", "", found(OK, "none", ""))
	}
}

// firstStatus is how long after an acceptance Meta has usually sent a status.
const firstStatus = time.Minute

// statuses checks that Meta reports what becomes of the messages that it accepted.
func (v *visit) statuses(ctx context.Context, db *store.DB, records *ledger.Ledger, stream *events.Stream) {
	const fix = "run doctor with --webhook-url, correct what its lines about account, app and webhook say, and look for the messages with `sluice awaiting-status`"
	now, err := db.Time(ctx).Result()
	if err != nil {
		v.add("statuses", "", refused(err))
		return
	}
	channel, err := stream.Channel(ctx, "") // the last webhook of any number
	if err != nil {
		v.add("statuses", "", refused(err))
		return
	}
	wait, never := message.ReportsWithin, channel.LastWebhook.IsZero()
	if never {
		wait = firstStatus
	}
	n, err := records.CountAllAwaiting(ctx, now.Add(-wait))
	switch {
	case err != nil:
		v.add("statuses", "", refused(err))
	case n == 0:
		v.add("statuses", "", found(OK, "Meta sent a status for every message that it accepted", ""))
	case never:
		v.add("statuses", "", found(Fail, fmt.Sprintf("Meta accepted messages (%d) and has never sent a webhook: nothing is known of their delivery", n), fix))
	case now.Sub(channel.LastWebhook) > message.ReportsWithin:
		v.add("statuses", "", found(Fail, fmt.Sprintf("Meta accepted messages (%d) more than %s ago and sent no status for them; the last webhook came %s ago", n, minutes(message.ReportsWithin), minutes(now.Sub(channel.LastWebhook))), fix))
	default:
		v.add("statuses", "", found(Warn, fmt.Sprintf("Meta accepted messages (%d) more than %s ago and sent no status for them, though webhooks come", n, minutes(message.ReportsWithin)), "look for them with `sluice awaiting-status`; Meta holds back messages of a new template while it checks the quality"))
	}
}

// minutes shows a time in full minutes.
func minutes(d time.Duration) string { return fmt.Sprintf("%.0f minutes", d.Minutes()) }
