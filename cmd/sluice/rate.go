package main

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/fleet"
)

type rateCmd struct {
	Number string         `arg:"" name:"phone-number-id" help:"Phone number id, as configured."`
	Set    *int           `help:"Use this rate limit instead of the configured one, in messages per second." placeholder:"N"`
	From   *int           `help:"With --set and --over: start at this rate and increase it to --set." placeholder:"N"`
	Over   *time.Duration `help:"With --from: how long the increase takes, for example 24h." placeholder:"TIME"`
	Reset  bool           `help:"Use the configured rate limit again, and end the slowdown after refusals of Meta."`
	Reason string         `help:"Why, for the audit log. Needed with --set and --reset."`
	Actor  string         `help:"Who does this, for the audit log. Default: your user name." placeholder:"NAME"`
	consoleFlags
}

// Run shows or changes the rate limit of a number. The console checks the values.
func (c rateCmd) Run(ctx context.Context) error {
	path, show := "/v1/numbers/"+c.Number, read(func(t table, n fleet.Number) { t.row(describe(n)) })
	if c.Set == nil && c.From == nil && c.Over == nil && !c.Reset {
		return c.ask(ctx, "GET", path, nil, show)
	}
	what := map[string]any{"rate": c.Set, "from": c.From}
	if c.Over != nil {
		what["over"] = c.Over.String()
	}
	if c.Reset {
		what["reset"] = true
	}
	return c.ask(ctx, "PUT", path+"/rate", signature{c.Reason, c.Actor}.order(what), show)
}

// describe returns the effective rate of a number in words, and why it is what it is.
func describe(n fleet.Number) string {
	s := fmt.Sprintf("%.0f messages per second", n.Rate)
	switch {
	case !n.RampUntil.IsZero():
		s += fmt.Sprintf(", increasing to %d until %s", n.SetRate, n.RampUntil.Local().Format("2006-01-02 15:04 MST"))
	case n.Rate < n.Limit:
		s += fmt.Sprintf(", increasing back to %.0f", n.Limit)
	}
	if n.SetRate != 0 {
		s += fmt.Sprintf(", set instead of the configured %d", n.Configured)
	} else {
		s += ", as configured"
	}
	if n.RefusedAt != 0 {
		s += fmt.Sprintf("; Meta last refused at %d per second", n.RefusedAt)
	}
	if pause := time.Until(n.PauseUntil); pause > 0 {
		s += "; paused for " + span(pause)
	}
	return s
}
