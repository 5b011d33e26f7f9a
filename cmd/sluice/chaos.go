package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"sluice/internal/chaos"
	"sluice/internal/ops"
)

type chaosCmd struct {
	Seed     uint64        `help:"Seed of all random choices. The same seed gives the same faults. 0: a random seed, which is printed." placeholder:"N"`
	Only     []string      `help:"Run only these rows of the matrix, for example C1,C4." placeholder:"ROWS"`
	CI       bool          `name:"ci" help:"Run a part of the rows, chosen by the seed, for 5 minutes at most."`
	Long     time.Duration `help:"Repeat the rows for this long, each time with another seed." placeholder:"TIME"`
	Parallel int           `default:"2" help:"Number of rows that run at the same time." placeholder:"N"`
	Scale    float64       `default:"1" help:"Factor for the number of messages of each row." placeholder:"SHARE"`
	Previous string        `type:"existingfile" help:"This command of an earlier version. The rows that run both versions need it." placeholder:"FILE"`
	Keep     string        `default:"out/chaos" help:"Folder for the histories of messages for which a promise was broken." placeholder:"DIR"`
	Markdown bool          `help:"Print the table of docs/reliability.md."`
	Quiet    bool          `help:"Do not print progress."`
}

// Run plays the fault matrix. It fails when a promise was broken.
func (c chaosCmd) Run(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program, to start parts of it: %w", err)
	}
	keep, err := filepath.Abs(c.Keep)
	if err != nil {
		return err
	}
	ops.RouteRedis(slog.New(slog.DiscardHandler)) // it is away often enough
	seed := cmp.Or(c.Seed, rand.Uint64N(1_000_000))
	fmt.Fprintf(os.Stderr, "seed %d\n", seed)
	o := chaos.Options{
		Seed: seed, Only: c.Only, CI: c.CI, Long: c.Long, Lanes: c.Parallel, Scale: c.Scale,
		Keep: keep, Program: program, Previous: c.Previous,
	}
	if !c.Quiet {
		o.Log = os.Stderr
	}
	results, err := chaos.Run(ctx, o, func(r chaos.Result) {
		verdict := "holds"
		if !r.OK() {
			verdict = "BROKEN"
		}
		fmt.Fprintf(os.Stderr, "%s %s: %s (%d messages, %.0f s)\n", r.ID, verdict, r.Fault, r.Messages, r.Took.Seconds())
	})
	if c.Markdown {
		chaos.Markdown(os.Stdout, results)
	} else {
		chaos.Table(os.Stdout, results)
	}
	chaos.Broken(os.Stderr, results)
	fmt.Println(chaos.Line(results, seed))
	for _, r := range results {
		if !r.OK() && err == nil {
			err = errors.New("a promise was broken")
		}
	}
	return err
}
