package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/internal/audit"
	"sluice/internal/backlog"
	"sluice/internal/config"
	"sluice/internal/message"
)

type rateCmd struct {
	Number string         `arg:"" name:"phone-number-id" help:"Phone number id, as configured."`
	Set    *int           `help:"Use this rate limit instead of the configured one, in messages per second." placeholder:"N"`
	From   *int           `help:"With --set and --over: start at this rate and increase it to --set." placeholder:"N"`
	Over   *time.Duration `help:"With --from: how long the increase takes, for example 24h." placeholder:"TIME"`
	Reset  bool           `help:"Use the configured rate limit again, and end the slowdown after refusals of Meta."`
	Reason string         `help:"Why, for the audit log. Needed with --set and --reset."`
	Actor  string         `help:"Who does this, for the audit log. Default: your user name." placeholder:"NAME"`
	Config string         `env:"SLUICE_CONFIG" help:"Configuration file, for Redis and the numbers." placeholder:"FILE"`
}

// maxRate is the highest rate limit that can be set or configured.
const maxRate = 10000

// Validate is called when the command line was read.
func (c rateCmd) Validate() error {
	wrong := func(rate *int) bool { return rate != nil && (*rate < 1 || *rate > maxRate) }
	switch {
	case wrong(c.Set) || wrong(c.From):
		return fmt.Errorf("a rate is 1 to %d messages per second. To send nothing use `sluice hold`", maxRate)
	case c.Reset && (c.Set != nil || c.From != nil || c.Over != nil):
		return errors.New("--reset takes no --set, --from and --over")
	case (c.From == nil) != (c.Over == nil):
		return errors.New("--from and --over need each other")
	case c.Over != nil && *c.Over <= 0:
		return errors.New("--over must be longer than 0")
	case c.From != nil && (c.Set == nil || *c.From >= *c.Set):
		return errors.New("--from must be lower than --set")
	case (c.Set != nil || c.Reset) && strings.TrimSpace(c.Reason) == "":
		return errors.New("--reason is missing: say why, for the audit log. `sluice audit` lists it")
	}
	return nil
}

// Run shows or changes the rate limit of a number.
func (c rateCmd) Run(ctx context.Context, env getenv) error { return c.run(ctx, env, os.Stdout) }

func (c rateCmd) run(ctx context.Context, env getenv, out io.Writer) error {
	in, err := open(ctx, c.Config, env)
	if err != nil {
		return err
	}
	defer in.db.Close()
	if !slices.ContainsFunc(in.Numbers, func(n config.Number) bool { return n.ID == c.Number }) {
		return fmt.Errorf("phone number id %s is not configured. Give the configuration of the workers with --config", c.Number)
	}
	before, err := in.backlog.Read(ctx, c.Number)
	if err != nil {
		return err
	}
	if c.Set == nil && !c.Reset {
		fmt.Fprintln(out, describe(before))
		return nil
	}
	// The audit entry comes first: if it cannot be written, nothing changes.
	err = audit.New(in.db, message.Shards(in.Shards)).Add(ctx, message.AuditEntry{
		Verb: message.VerbRate, On: c.target(), Actor: cmp.Or(c.Actor, operator()), Reason: c.Reason,
	})
	if err != nil {
		return fmt.Errorf("the rate limit was not changed: %w", err)
	}
	if err := in.rates.Set(ctx, c.Number, valueOf(c.Set), valueOf(c.From), valueOf(c.Over)); err != nil {
		return err
	}
	after, err := in.backlog.Read(ctx, c.Number)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "before: %s\nafter:  %s\n", describe(before), describe(after))
	return nil
}

// target says in the audit log what is ordered.
func (c rateCmd) target() string {
	switch {
	case c.Reset:
		return "number " + c.Number + ": the configured rate limit"
	case c.Over != nil:
		return fmt.Sprintf("number %s: %d messages per second, from %d over %s", c.Number, *c.Set, *c.From, *c.Over)
	}
	return fmt.Sprintf("number %s: %d messages per second", c.Number, *c.Set)
}

// valueOf returns what is given, else zero.
func valueOf[T any](given *T) (value T) {
	if given != nil {
		value = *given
	}
	return value
}

// describe returns the effective rate of a number in words, and why it is what it is.
func describe(p backlog.Number) string {
	s := fmt.Sprintf("%.0f messages per second", p.Rate)
	if p.Rate < p.Full {
		s += fmt.Sprintf(", increasing back to %.0f", p.Full)
	}
	if !p.Ramp.IsZero() {
		s += fmt.Sprintf(", increasing to %d until %s", p.Ordered, p.Ramp.Format("2006-01-02 15:04 MST"))
	}
	if p.Ordered != 0 {
		s += fmt.Sprintf(", set instead of the configured %d", p.Configured)
	} else {
		s += ", as configured"
	}
	if p.Ceiling != 0 {
		s += fmt.Sprintf("; Meta last refused at %d per second", p.Ceiling)
	}
	if !p.Pause.IsZero() {
		s += "; paused for " + span(time.Until(p.Pause))
	}
	return s
}
