// Package bench is the load runs of docs/performance.md. Each starts a real redis-server,
// the simulator and Sluice's programs as processes of their own, and measures. On the same machine it measures
// what a team would build without Sluice: asynq alone, or net/http alone.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Options say how a load run is made. Zero means the default of that run.
type Options struct {
	Rate       int           // messages per second of each number
	Workers    int           // worker processes
	Numbers    int           // phone numbers (idle: those without work)
	Backlog    int           // messages that wait when the run begins
	Duration   time.Duration // of one measurement
	Durability string        // Fsync or Relaxed, of Redis
	Rounds     int           // how often cold, life, peers and relay take turns
	Peers      string        // the folder with the packages of the peers, see peers
	Profiles   string        // a folder for CPU profiles of the programs; empty: no profiles

	Program string    // the executable that has rig.Run behind rig.Command; required
	Log     io.Writer // gets what the run does; nil: nothing is logged
}

// The durability of Redis in a run.
const (
	Fsync   = "fsync"   // appendfsync always
	Relaxed = "relaxed" // appendfsync everysec
)

// runs are all load runs in the order of "all".
var runs = []struct {
	name string
	run  func(context.Context, Options) ([]Row, error)
}{
	{"pace", pace},
	{"clients", clients},
	{"urgent", urgent},
	{"idle", idle},
	{"drain", drain},
	{"cold", cold},
	{"life", life},
	{"instructions", instructions},
	{"foreign", foreign},
	{"peers", peers},
	{"intake", intake},
	{"webhook", webhook},
	{"feed", feed},
	{"relay", relayed},
	{"memory", memory},
}

// Names returns the names of the load runs.
func Names() []string {
	var names []string
	for _, r := range runs {
		names = append(names, r.name)
	}
	return names
}

// Run makes the load run with this name, or all of them for "all", and calls show with each result. When one run
// fails, the others of "all" go on. "all" leaves out a run that needs a program that is not installed. All
// processes have ended when Run returns, also when ctx ends early.
func Run(ctx context.Context, name string, o Options, show func(Row)) error {
	if name != "all" && !slices.Contains(Names(), name) {
		return fmt.Errorf("no load run is called %q: there are %s and all", name, strings.Join(Names(), ", "))
	}
	if err := o.check(); err != nil {
		return err
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	var errs []error
	for _, r := range runs {
		if name != "all" && name != r.name {
			continue
		}
		rows, err := r.run(ctx, o)
		for _, row := range rows {
			row.Bench = r.name
			show(row)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if name == "all" && errors.Is(err, errMissing) {
			o.say("%s: left out: %v", r.name, err)
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.name, err))
		}
	}
	return errors.Join(errs...)
}

// The limits of a run. Beyond them it would measure the machine, not Sluice.
const (
	maxWorkers  = 64
	maxNumbers  = 10_000
	maxBacklog  = 2_000_000
	maxDuration = 10 * time.Minute
	maxRate     = 10_000 // the limit of the configuration
	maxRounds   = 100
)

func (o Options) check() error {
	for _, c := range []struct {
		what      string
		have, max int64
	}{
		{"rate", int64(o.Rate), maxRate},
		{"workers", int64(o.Workers), maxWorkers},
		{"numbers", int64(o.Numbers), maxNumbers},
		{"backlog", int64(o.Backlog), maxBacklog},
		{"rounds", int64(o.Rounds), maxRounds},
		{"duration in seconds", int64(o.Duration / time.Second), int64(maxDuration / time.Second)},
	} {
		if c.have < 0 || c.have > c.max {
			return fmt.Errorf("%s must be between 0 (the default) and %d", c.what, c.max)
		}
	}
	if o.Durability != "" && o.Durability != Fsync && o.Durability != Relaxed {
		return fmt.Errorf("durability is %s or %s", Fsync, Relaxed)
	}
	return nil
}

// durabilities returns those to measure: the one in the options, else those given.
func (o Options) durabilities(usual ...string) []string {
	if o.Durability != "" {
		return []string{o.Durability}
	}
	return usual
}

func (o Options) say(format string, args ...any) { fmt.Fprintf(o.Log, format+"\n", args...) }
