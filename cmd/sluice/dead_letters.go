package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"text/tabwriter"
	"time"
)

// deadFlags select dead letters.
type deadFlags struct {
	Number        *string   `name:"phone-number-id" help:"From this phone number id. Required with replay." placeholder:"ID"`
	Code          *int      `help:"With this last error code from Meta. 0: without a code." placeholder:"CODE"`
	MessageReason *string   `help:"Only dead letters with this reason in their records, for example payload_tampered." placeholder:"REASON"`
	Since         time.Time `help:"Given up at this time or later, for example 2026-01-31T15:04:05Z." placeholder:"TIME"`
	Until         time.Time `help:"Given up at this time or earlier." placeholder:"TIME"`
}

func (f deadFlags) path(limit int) string {
	return query("/v1/dead-letters", "phone_number_id", f.Number, "code", f.Code, "message_reason", f.MessageReason, "since", stamp(f.Since), "until", stamp(f.Until), "limit", &limit)
}

// dead is the answer of GET /v1/dead-letters.
type dead struct {
	Count  int
	Groups []struct {
		Number      string `json:"phone_number_id"`
		Code, Count int
		Reason      string
		First, Last time.Time
	}
	Messages []struct {
		ID     string
		Code   int
		Reason string
		At     time.Time
	}
}

func (d dead) show(t table) {
	t.row("PHONE NUMBER ID", "CODE", "REASON", "COUNT", "FIRST", "LAST")
	for _, g := range d.Groups {
		t.row(g.Number, g.Code, g.Reason, g.Count, clock(g.First, "-"), clock(g.Last, "-"))
	}
}

type deadLettersCmd struct {
	deadFlags
	List int `help:"Also list this many of them, up to 1000." placeholder:"N"`
	consoleFlags
}

// Run counts and lists dead letters.
func (d deadLettersCmd) Run(ctx context.Context) error {
	return d.ask(ctx, "GET", d.path(max(d.List, 1)), nil, read(func(t table, found dead) {
		found.show(t)
		for i, m := range found.Messages {
			if i < d.List {
				t.row(m.ID, m.Code, m.Reason, "", clock(m.At, "-"))
			}
		}
	}))
}

type replayCmd struct {
	deadFlags
	Confirm bool    `help:"Send them again. Without it they are only counted."`
	Rate    int     `default:"10" help:"How many messages per second are queued to be sent again."`
	Extend  *string `help:"Give each message a new deadline, this long from now, for example 2h. Without it messages whose deadline has passed stay in the dead-letter list." placeholder:"TIME"`
	Reason  string  `help:"Why, for the audit log. Needed with --confirm."`
	Actor   string  `help:"Who does this, for the audit log. Default: your user name." placeholder:"NAME"`
	consoleFlags
}

// Validate is called when the command line was read.
func (r replayCmd) Validate() error {
	switch {
	case r.Number == nil:
		return errors.New("--phone-number-id is missing. `sluice dead-letters` lists the numbers that have dead letters")
	case r.Confirm && r.Reason == "":
		return errors.New("--reason is missing: say why, for the audit log")
	case r.Rate < 1 || r.Rate > 500:
		return errors.New("--rate must be 1 to 500 messages per second")
	}
	return nil
}

// Run counts dead letters, and with --confirm sends those again that are in the list now, at an even
// rate. After an interruption the same command sends the rest.
func (r replayCmd) Run(ctx context.Context) error {
	if r.Until.IsZero() {
		r.Until = time.Now()
	}
	if !r.Confirm {
		return r.ask(ctx, "GET", r.path(1), nil, read(func(t table, found dead) {
			found.show(t)
			t.row(found.Count, "would be sent again with --confirm and --reason")
		}))
	}
	c := once(r.Console, r.APIKey)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var sum struct {
		Replayed int `json:"replayed"`
		Overdue  int `json:"overdue"`
	}
	for {
		var a struct {
			Replayed, Overdue int
			More              bool
			Next              time.Time
		}
		if err := c.Call(ctx, "POST", "/v1/dead-letters/replay", r.part(), &a); err != nil {
			return err
		}
		sum.Replayed, sum.Overdue = sum.Replayed+a.Replayed, sum.Overdue+a.Overdue
		if !a.More {
			break
		}
		r.Since = a.Next
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	if r.JSON {
		return json.NewEncoder(os.Stdout).Encode(sum)
	}
	t := table{tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)}
	t.row(sum.Replayed, "queued again")
	t.row(sum.Overdue, "stay in the dead-letter list because their deadline has passed (--extend gives a new one)")
	return t.Flush()
}

// part is the order for the next second.
func (r replayCmd) part() map[string]any {
	order := signature{Reason: r.Reason, Actor: r.Actor}.order(map[string]any{
		"phone_number_id": r.Number, "code": r.Code, "message_reason": r.MessageReason, "limit": r.Rate, "extend": r.Extend, "until": r.Until,
	})
	if !r.Since.IsZero() {
		order["since"] = r.Since
	}
	return order
}
