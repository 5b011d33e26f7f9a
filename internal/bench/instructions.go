package bench

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/internal/message"
	"sluice/internal/rig"
)

// groupSizes are how many messages come together. A batch of this size is posted to the producer, and the next one
// when all of its messages have arrived at the far side and their tasks have ended. The same applies to reports.
var groupSizes = []int{20, 4, 1}

const (
	groupRest = 300 * time.Millisecond // after a group's last message arrived at the far side
	groupGap  = 600 * time.Millisecond // from one webhook to the next
	// groupsFirst messages are stored before the measurement, as in a store that is in use: Redis keeps a small
	// hash or sorted set as a list, in which it searches a member from the front, and short event streams
	// need no check of how many events each entry has.
	groupsFirst = 600
)

// instructions counts the instructions that Redis runs for each message, by callgrind, step by
// step, and those that it runs for a task of asynq. What the programs cost Redis while they are
// idle is measured too, and subtracted for the duration of each step.
func instructions(ctx context.Context, o Options) ([]Row, error) {
	o.Duration = cmp.Or(o.Duration, 10*time.Second)
	row := Row{Rate: unlimited, Workers: cmp.Or(o.Workers, 1), Numbers: 1}
	var rows []Row
	for _, row.Durability = range o.durabilities(Relaxed) {
		o.say("instructions: asynq (%s)", row.Durability)
		baseline, err := instructionsAsynq(ctx, o, row)
		if err != nil {
			return rows, err
		}
		rows = append(rows, baseline)
		for _, size := range groupSizes {
			row.Backlog = min(cmp.Or(o.Backlog, 400), 40+20*size)
			row.Backlog -= row.Backlog % size
			o.say("instructions: groups of %d (%s)", size, row.about())
			more, err := instructionsOf(ctx, o, row, size)
			if err != nil {
				return rows, err
			}
			for i := range more {
				if called(wholeLife)(more[i]) {
					more[i].InstructionRatio = new(ratio(*more[i].Instructions, *baseline.Instructions))
				}
			}
			rows = append(rows, more...)
		}
	}
	return rows, nil
}

// counts are what Redis did in a step, and how many round trips the programs made.
type counts struct {
	instructions float64
	commands     map[string]command
	trips        float64
	took         time.Duration
}

// tally measures steps of a lived world.
type tally struct {
	*callgrind
	lived *lived
}

// step returns what Redis did while f ran.
func (t tally) step(ctx context.Context, programs []*rig.Process, f func() error) (c counts, err error) {
	trips := func() (sum float64, err error) {
		for _, p := range programs {
			n, err := t.Metric(ctx, p, "sluice_redis_round_trips_total")
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	}
	before, err := t.commands(ctx)
	if err != nil {
		return c, err
	}
	tripsBefore, err := trips()
	if err != nil {
		return c, err
	}
	if _, err := t.counted(ctx); err != nil {
		return c, err
	}
	began := time.Now()
	if err := f(); err != nil {
		return c, err
	}
	c.took = time.Since(began)
	if c.instructions, err = t.counted(ctx); err != nil {
		return c, err
	}
	after, err := t.commands(ctx)
	if err != nil {
		return c, err
	}
	c.commands = map[string]command{}
	for name, ran := range after {
		c.commands[name] = command{ran.calls - before[name].calls, ran.micros - before[name].micros}
	}
	tripsAfter, err := trips()
	c.trips = tripsAfter - tripsBefore
	return c, err
}

// idle measures what Redis does in a second without messages.
func (t tally) idle(ctx context.Context, programs []*rig.Process) (counts, error) {
	return t.step(ctx, programs, func() error { return pause(ctx, t.o.Duration) })
}

// beyond returns c without the cost of an idle time of the same length.
func (c counts) beyond(idle counts) counts {
	share := ratio(float64(c.took), float64(idle.took))
	return c.minus(idle, share)
}

// minus returns c minus a multiple of d.
func (c counts) minus(d counts, times float64) counts {
	rest := counts{c.instructions - times*d.instructions, map[string]command{}, c.trips - times*d.trips, c.took}
	for name, ran := range c.commands {
		ran.calls -= int(times*float64(d.commands[name].calls) + 0.5)
		rest.commands[name] = ran
	}
	return rest
}

func (c counts) plus(d counts) counts {
	all := counts{c.instructions + d.instructions, map[string]command{}, c.trips + d.trips, c.took + d.took}
	for name, ran := range c.commands {
		all.commands[name] = ran
	}
	for name, ran := range d.commands {
		all.commands[name] = command{all.commands[name].calls + ran.calls, 0}
	}
	return all
}

// list returns the commands that Redis ran most often, with their count for each of n messages.
func (c counts) list(n int) string {
	names := slices.SortedFunc(maps.Keys(c.commands), func(a, b string) int {
		return cmp.Or(c.commands[b].calls-c.commands[a].calls, strings.Compare(a, b))
	})
	var parts []string
	for _, name := range names[:min(12, len(names))] {
		if calls := c.commands[name].calls; calls > 0 {
			parts = append(parts, name+" "+show(float64(calls)/float64(n)))
		}
	}
	return strings.Join(parts, ", ")
}

// row returns what n messages of a step cost.
func (c counts) row(like Row, what string, n int) Row {
	like.Case = what
	each := func(f float64) *float64 { return new(ratio(f, float64(n))) }
	like.Instructions = each(c.instructions)
	all := 0
	for name, ran := range c.commands {
		switch name {
		case "info", "ping": // the run itself calls these
		default:
			all += ran.calls
		}
	}
	like.Commands = each(float64(all))
	if c.trips > 0 {
		like.Trips = each(c.trips)
	}
	like.Scripts = each(float64(c.commands["evalsha"].calls))
	if calls := c.commands["exec"].calls; calls > 0 {
		like.PerExec = new(float64(n) / float64(calls))
	}
	return like
}

// instructionsOf measures one group size. It measures the acceptance while no worker runs. Then a
// worker sends this backlog, which is a row of its own. Then the producer accepts and the worker sends group by
// group: the cost of sending is the cost of that without the acceptance.
func instructionsOf(ctx context.Context, o Options, row Row, size int) ([]Row, error) {
	cg, err := newCallgrind(ctx, o, row.Durability)
	if err != nil {
		return nil, err
	}
	defer cg.close()
	l := &lived{world: cg.world, row: row, numbers: rig.Numbers(row.Numbers, row.Rate)}
	if err := l.start(ctx, farSideSettings{Keep: true}); err != nil {
		return nil, err
	}
	t := tally{cg, l}
	n, first := row.Backlog, groupsFirst
	fronts := []*rig.Process{l.producer, l.hook}
	// They also load the scripts and open the connections.
	if err := l.accept(ctx, l.producer, l.numbers, 0, first, group{lines: 2, connections: 1}); err != nil {
		return nil, err
	}
	quiet, err := t.idle(ctx, fronts)
	if err != nil {
		return nil, err
	}
	accept, err := t.step(ctx, fronts, func() error {
		return l.accept(ctx, l.producer, l.numbers, first, n, group{lines: size, connections: 1})
	})
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	accept = accept.beyond(quiet)

	var workers []*rig.Process
	drained, err := t.step(ctx, nil, func() (err error) {
		if workers, err = l.workers(ctx, row.Workers, false); err != nil {
			return err
		}
		return l.sent(ctx, first+n, 2*time.Minute)
	})
	if err != nil {
		return nil, fmt.Errorf("send from a backlog: %w", err)
	}
	all := append(fronts, workers...)
	if err := pause(ctx, 2*settle); err != nil { // for a while after a backlog the programs are not idle
		return nil, err
	}
	working, err := t.idle(ctx, all)
	if err != nil {
		return nil, err
	}
	both, err := t.step(ctx, all, func() error { return t.alive(ctx, first+n, n, size) })
	if err != nil {
		return nil, fmt.Errorf("accept and send: %w", err)
	}
	both, drained = both.beyond(working), drained.beyond(working)
	var rows []Row
	add := func(what string, c counts, n int) {
		r := c.row(row, fmt.Sprintf("%s, groups of %d", what, size), n)
		o.say("  %s: %s", r.Case, c.list(n))
		rows = append(rows, r)
	}
	add("accept", accept, n)
	add("send from a backlog, with the worker's start", drained, first+n)
	add("send", both.minus(accept, 1), n)
	sent, err := l.arrived(ctx, first+n)
	if err != nil {
		return nil, err
	}
	whole, api := both, l.api(l.producer)
	for _, to := range []message.State{message.Sent, message.Delivered} {
		reported, err := t.step(ctx, all, func() error { return l.report(ctx, l.hook, sent, string(to), size, groupGap) })
		if err != nil {
			return rows, err
		}
		if err := l.verify(ctx, api, sent, to); err != nil {
			return rows, err
		}
		reported = reported.beyond(working)
		whole = whole.plus(reported)
		add("reports: "+string(to), reported, n)
	}
	add(wholeLife, whole, n)
	return rows, nil
}

// alive accepts messages first to first+n-1 group by group while workers run, each group when
// the one before is sent and its tasks have ended.
func (t tally) alive(ctx context.Context, first, n, size int) error {
	for at := first; at < first+n; at += size {
		if err := t.lived.accept(ctx, t.lived.producer, t.lived.numbers, at, size, group{lines: size, connections: 1}); err != nil {
			return err
		}
		if taken, _, err := t.lived.arrivals(ctx, at+size, 2*time.Minute); err != nil || taken < at+size {
			return fmt.Errorf("%d of %d messages arrived at the far side: %w", taken, at+size, cmp.Or(err, context.DeadlineExceeded))
		}
		if err := pause(ctx, groupRest); err != nil {
			return err
		}
	}
	return nil
}

// instructionsAsynq counts what a task of asynq costs from its enqueueing to its end.
func instructionsAsynq(ctx context.Context, o Options, row Row) (Row, error) {
	row.Rate, row.Workers, row.Numbers, row.Backlog = 0, 0, 0, cmp.Or(o.Backlog, 1_000)
	cg, err := newCallgrind(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer cg.close()
	t := tally{callgrind: cg}
	if _, err := cg.asynqLife(ctx, 10, time.Minute); err != nil { // to load the scripts
		return row, err
	}
	used, err := t.step(ctx, nil, func() error {
		_, err := cg.asynqLife(ctx, row.Backlog, 2*time.Minute)
		return err
	})
	if err != nil {
		return row, err
	}
	return used.row(row, "asynq: enqueue, and process with a handler that does nothing", row.Backlog), nil
}
