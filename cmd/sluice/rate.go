package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/config"
)

type rateCmd struct {
	Number string         `arg:"" name:"phone-number-id" help:"Phone number id, as configured."`
	Set    *int           `help:"Use this rate limit instead of the configured one, in messages per second." placeholder:"N"`
	From   *int           `help:"With --set and --over: start at this rate and increase it to --set." placeholder:"N"`
	Over   *time.Duration `help:"With --from: how long the increase takes, for example 24h." placeholder:"TIME"`
	Reset  bool           `help:"Use the configured rate limit again, and forget what refusals of Meta have changed."`
	Config string         `env:"SLUICE_CONFIG" help:"Configuration file, for Redis and the numbers." placeholder:"FILE"`
}

// mostRate is the highest rate limit that can be set or configured.
const mostRate = 10000

// Validate is called when the command line was read.
func (p rateCmd) Validate() error {
	wrong := func(rate *int) bool { return rate != nil && (*rate < 1 || *rate > mostRate) }
	switch {
	case wrong(p.Set) || wrong(p.From):
		return fmt.Errorf("a rate is 1 to %d messages per second. To send nothing use `sluice hold`", mostRate)
	case p.Reset && (p.Set != nil || p.From != nil || p.Over != nil):
		return errors.New("--reset takes no other flags")
	case (p.From == nil) != (p.Over == nil):
		return errors.New("--from and --over need each other")
	case p.Over != nil && *p.Over <= 0:
		return errors.New("--over must be longer than 0")
	case p.From != nil && (p.Set == nil || *p.From >= *p.Set):
		return errors.New("--from must be lower than --set")
	}
	return nil
}

func (p rateCmd) Run(ctx context.Context, env getenv) error { return p.run(ctx, env, os.Stdout) }

func (p rateCmd) run(ctx context.Context, env getenv, out io.Writer) error {
	in, err := open(ctx, p.Config, env)
	if err != nil {
		return err
	}
	defer in.db.Close()
	if !slices.ContainsFunc(in.Numbers, func(n config.Number) bool { return n.ID == p.Number }) {
		return fmt.Errorf("phone number id %s is not configured. Give the configuration of the workers with --config", p.Number)
	}
	before, err := in.backlog.Read(ctx, p.Number)
	if err != nil {
		return err
	}
	if p.Set == nil && !p.Reset {
		fmt.Fprintln(out, describe(before))
		return nil
	}
	if err := in.rates.Set(ctx, p.Number, valueOf(p.Set), valueOf(p.From), valueOf(p.Over)); err != nil {
		return err
	}
	after, err := in.backlog.Read(ctx, p.Number)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "before: %s\nafter:  %s\n", describe(before), describe(after))
	return nil
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
