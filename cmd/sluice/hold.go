package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/user"
	"text/tabwriter"
	"time"

	"sluice/internal/message"
	"sluice/internal/queue"
)

type holdCmd struct {
	Number   string        `arg:"" help:"Phone number id."`
	Template string        `help:"Only this template, as name/language: order_update/en_US." placeholder:"NAME/LANG"`
	Reason   string        `required:"" help:"Why, for those who wonder."`
	For      time.Duration `help:"How long; without it until resume."`
	Config   string        `env:"SLUICE_CONFIG" help:"Configuration file, for Redis and the number of shards." placeholder:"FILE"`
}

// Run keeps a number's messages, or those of one of its templates, from being sent.
func (h holdCmd) Run(ctx context.Context, env getenv) error {
	return withHolds(ctx, h.Config, env, func(holds *queue.Holds) error {
		if !message.IsNumberID(h.Number) {
			return fmt.Errorf("%q is no phone number id", h.Number)
		}
		hold := message.Hold{Number: h.Number, Template: h.Template, Reason: h.Reason, By: operator()}
		if h.For > 0 {
			hold.Until = time.Now().Add(h.For)
		}
		_, err := holds.Set(ctx, hold)
		return err
	})
}

type resumeCmd struct {
	Number   string `arg:"" help:"Phone number id."`
	Template string `help:"The template, as name/language." placeholder:"NAME/LANG"`
	Config   string `env:"SLUICE_CONFIG" help:"Configuration file, for Redis and the number of shards." placeholder:"FILE"`
}

// Run ends a hold: what it kept goes on in its order.
func (r resumeCmd) Run(ctx context.Context, env getenv) error {
	return withHolds(ctx, r.Config, env, func(holds *queue.Holds) error {
		held, err := holds.Lift(ctx, message.Hold{Number: r.Number, Template: r.Template, By: operator(), Reason: "resumed"})
		if err == nil && !held {
			fmt.Println("nothing was held")
		}
		return err
	})
}

type holdsCmd struct {
	Config string `env:"SLUICE_CONFIG" help:"Configuration file, for Redis and the number of shards." placeholder:"FILE"`
}

// Run lists what is held, and why.
func (h holdsCmd) Run(ctx context.Context, env getenv) error {
	return withHolds(ctx, h.Config, env, func(holds *queue.Holds) error {
		list, err := holds.List(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NUMBER\tTEMPLATE\tSINCE\tUNTIL\tBY\tCODE\tREASON")
		for _, h := range list {
			until := "resumed"
			if !h.Until.IsZero() {
				until = h.Until.Local().Format(time.DateTime)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\n", h.Number, cmp.Or(h.Template, "all"), h.Since.Local().Format(time.DateTime), until, h.By, h.Code, h.Reason)
		}
		return w.Flush()
	})
}

// operator names who gives an order.
func operator() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "operator"
}

// withHolds opens the configured Redis for f.
func withHolds(ctx context.Context, file string, env getenv, f func(*queue.Holds) error) error {
	in, err := open(ctx, file, env)
	if err != nil {
		return err
	}
	defer in.db.Close()
	return f(queue.NewHolds(in.db, message.Shards(in.Shards)))
}
