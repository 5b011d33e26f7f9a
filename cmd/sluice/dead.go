package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"sluice/internal/client"
)

// deadFlags select dead messages.
type deadFlags struct {
	Number *string   `help:"Of this phone number id." placeholder:"NUMBER"`
	Code   *int      `help:"With this last error code of Meta's; 0: with none." placeholder:"CODE"`
	Cause  *string   `help:"With this reason." placeholder:"REASON"`
	Since  time.Time `help:"They died then or later, 2026-01-31T15:04:05Z say." placeholder:"TIME"`
	Until  time.Time `help:"They died then or before." placeholder:"TIME"`
}

func (f deadFlags) path(limit int) string {
	return query("/v1/dead-letters", "phone_number_id", f.Number, "code", f.Code, "message_reason", f.Cause, "since", stamp(f.Since), "until", stamp(f.Until), "limit", &limit)
}

// dead is what is answered of them.
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
	t.row("NUMBER", "CODE", "REASON", "COUNT", "FIRST", "LAST")
	for _, g := range d.Groups {
		t.row(g.Number, g.Code, g.Reason, g.Count, clock(g.First, "-"), clock(g.Last, "-"))
	}
}

type deadCmd struct {
	deadFlags
	List int `help:"List so many of them too, up to 1000." placeholder:"N"`
	consoleFlags
}

// Run counts the messages that were given up, and lists them.
func (d deadCmd) Run(ctx context.Context) error {
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
	Go     bool    `help:"Do it; without this they are counted only."`
	Rate   int     `default:"10" help:"How many a second."`
	Extend *string `help:"Give each a new deadline, so long from now: 2h say. Else those whose deadline has passed stay dead." placeholder:"TIME"`
	Reason string  `help:"Why, for those who wonder later; needed with --go."`
	Actor  string  `help:"Who orders it; your user name without." placeholder:"NAME"`
	consoleFlags
}

// Validate is called when the command line was read.
func (r replayCmd) Validate() error {
	switch {
	case r.Number == nil:
		return errors.New("--number says whose dead messages: sluice dead tells which there are")
	case r.Go && r.Reason == "":
		return errors.New("--reason says why, for those who wonder later")
	case r.Rate < 1 || r.Rate > 500:
		return errors.New("--rate is 1 to 500 a second")
	}
	return nil
}

// Run counts dead messages, and with --go sends them again, evenly: those that are dead now.
// Interrupted it has done a part; given again it does the rest.
func (r replayCmd) Run(ctx context.Context) error {
	if r.Until.IsZero() {
		r.Until = time.Now()
	}
	if !r.Go {
		return r.ask(ctx, "GET", r.path(1), nil, read(func(t table, found dead) {
			found.show(t)
			t.row(found.Count, "would be sent again: give --go and --reason")
		}))
	}
	c := &client.Client{Base: r.Console, Key: r.APIKey}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var sum struct {
		Replayed int `json:"replayed"`
		Overdue  int `json:"overdue"`
	}
	for {
		raw, err := c.Ask(ctx, "POST", "/v1/dead-letters/replay", r.part())
		if err != nil {
			return err
		}
		var a struct {
			Replayed, Overdue int
			More              bool
			Next              time.Time
		}
		if err := json.Unmarshal(raw, &a); err != nil {
			return fmt.Errorf("read the answer: %w", err)
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
	t.row(sum.Replayed, "sent again")
	t.row(sum.Overdue, "stay dead: their deadline has passed (--extend gives a new one)")
	return t.Flush()
}

// part is the order for the next second.
func (r replayCmd) part() map[string]any {
	order := signature{Reason: r.Reason, Actor: r.Actor}.order(map[string]any{
		"phone_number_id": r.Number, "code": r.Code, "message_reason": r.Cause, "limit": r.Rate, "extend": r.Extend, "until": r.Until,
	})
	if !r.Since.IsZero() {
		order["since"] = r.Since
	}
	return order
}
