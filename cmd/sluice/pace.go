package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"sluice/internal/config"
	"sluice/internal/queue"
)

type paceCmd struct {
	Number string         `arg:"" help:"Phone number id, as configured."`
	Rate   *int           `help:"Order this rate in place of the configured one, in messages a second." placeholder:"N"`
	From   *int           `help:"With --rate and --over: begin at this rate and climb." placeholder:"N"`
	Over   *time.Duration `help:"How long the climb takes; 24h say." placeholder:"TIME"`
	Reset  bool           `help:"Go back to the configured rate, in full: also from where a refusal left it."`
	Config string         `env:"SLUICE_CONFIG" help:"Configuration file, for Redis and the numbers." placeholder:"FILE"`
}

// mostRate is the highest rate that may be ordered, as it may be configured.
const mostRate = 10000

// Validate is called when the command line was read.
func (p paceCmd) Validate() error {
	wrong := func(rate *int) bool { return rate != nil && (*rate < 1 || *rate > mostRate) }
	switch {
	case wrong(p.Rate) || wrong(p.From):
		return fmt.Errorf("a rate is 1 to %d messages a second; to send nothing hold the number", mostRate)
	case p.Reset && (p.Rate != nil || p.From != nil || p.Over != nil):
		return errors.New("--reset stands alone")
	case (p.From == nil) != (p.Over == nil):
		return errors.New("--from and --over go together")
	case p.Over != nil && *p.Over <= 0:
		return errors.New("--over is a time ahead")
	case p.From != nil && (p.Rate == nil || *p.From >= *p.Rate):
		return errors.New("--from is lower than --rate, where the climb ends")
	}
	return nil
}

func (p paceCmd) Run(ctx context.Context, env getenv) error { return p.run(ctx, env, os.Stdout) }

func (p paceCmd) run(ctx context.Context, env getenv, out io.Writer) error {
	in, err := open(ctx, p.Config, env)
	if err != nil {
		return err
	}
	defer in.db.Close()
	if !slices.ContainsFunc(in.Numbers, func(n config.Number) bool { return n.ID == p.Number }) {
		return fmt.Errorf("number %s is not configured here: give its phone number id, and the workers' configuration by --config", p.Number)
	}
	before, err := in.paces.Read(ctx, p.Number)
	if err != nil {
		return err
	}
	if p.Rate == nil && !p.Reset {
		fmt.Fprintln(out, describe(before))
		return nil
	}
	if err := in.paces.Order(ctx, p.Number, valueOf(p.Rate), valueOf(p.From), valueOf(p.Over)); err != nil {
		return err
	}
	after, err := in.paces.Read(ctx, p.Number)
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

// describe says how fast a number goes, and why.
func describe(p queue.Pace) string {
	s := fmt.Sprintf("%.0f messages a second", p.Rate)
	if p.Rate < p.Full {
		s += fmt.Sprintf(", climbing back to %.0f", p.Full)
	}
	if !p.Ramp.IsZero() {
		s += fmt.Sprintf(", climbing to %d until %s", p.Ordered, p.Ramp.Format("2006-01-02 15:04 MST"))
	}
	if p.Ordered != 0 {
		s += fmt.Sprintf(", ordered in place of %d", p.Configured)
	} else {
		s += ", as configured"
	}
	if p.Ceiling != 0 {
		s += fmt.Sprintf("; Meta last refused at %d", p.Ceiling)
	}
	if !p.Pause.IsZero() {
		s += "; pauses for " + span(time.Until(p.Pause))
	}
	return s
}
