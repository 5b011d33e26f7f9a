package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/internal/message"
	"sluice/internal/rig"
)

const (
	lifeRounds    = 4  // pairs that are measured, after one that warms everything up
	reportsOfPost = 20 // statuses in one webhook
)

// lifeSteps are the steps of a message's life that are measured, in their order.
var lifeSteps = []string{"accept", "send", "reports: sent", "reports: delivered"}

// wholeLife is the case of the sum of all steps.
const wholeLife = "whole life"

// life measures Redis's processor time for the whole life of messages, and for as many tasks
// that asynq's client enqueues and an asynq handler that does nothing processes. Both
// have a Redis of their own that stays warm. They take turns, and the ratio is the median of
// the pairs. A record is dropped a day after its end, which no run includes.
func life(ctx context.Context, o Options) ([]Row, error) {
	o.Duration = cmp.Or(o.Duration, 60*time.Second)
	row := Row{Rate: unlimited, Workers: cmp.Or(o.Workers, 1), Numbers: cmp.Or(o.Numbers, 12), Backlog: cmp.Or(o.Backlog, 10_000)}
	var rows []Row
	for _, row.Durability = range o.durabilities(Relaxed) {
		o.say("life: %s", row.about())
		more, err := lifePairs(ctx, o, row)
		if err != nil {
			return rows, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func lifePairs(ctx context.Context, o Options, row Row) ([]Row, error) {
	ours, err := newLived(ctx, o, row)
	if err != nil {
		return nil, err
	}
	defer ours.close()
	asynqs, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return nil, err
	}
	defer asynqs.close()
	var pairs []lifePair
	for i := range 1 + cmp.Or(o.Rounds, lifeRounds) {
		steps, err := ours.round(ctx, i*row.Backlog)
		if err != nil {
			return nil, err
		}
		baseline, err := asynqs.asynqLife(ctx, row.Backlog, o.Duration)
		if err != nil {
			return nil, err
		}
		p := lifePair{steps, baseline}
		o.say("  round %d: whole life %s us of Redis, asynq %s us, ratio %s", i, show(micros(p.whole(), row.Backlog)), show(micros(baseline, row.Backlog)), show(p.ratio()))
		if i > 0 {
			pairs = append(pairs, p)
		}
	}
	return lifeRows(row, pairs), nil
}

// redisUse is what Redis used for a step.
type redisUse struct {
	cpu      time.Duration
	commands float64
}

func (u redisUse) add(v redisUse) redisUse {
	return redisUse{u.cpu + v.cpu, u.commands + v.commands}
}

func micros(u redisUse, n int) float64 { return ratio(float64(u.cpu)/1e3, float64(n)) }

// lifePair is one round: the steps of Sluice, and asynq's turn after them.
type lifePair struct {
	steps []redisUse // in the order of lifeSteps
	asynq redisUse
}

func (p lifePair) whole() (sum redisUse) {
	for _, s := range p.steps {
		sum = sum.add(s)
	}
	return sum
}

func (p lifePair) ratio() float64 { return ratio(float64(p.whole().cpu), float64(p.asynq.cpu)) }

// lifeRows are the medians of the pairs.
func lifeRows(row Row, pairs []lifePair) (rows []Row) {
	of := func(what string, f func(lifePair) redisUse) Row {
		r := row
		r.Case = what
		r.RedisCPU = new(median(pairs, func(p lifePair) float64 { return micros(f(p), row.Backlog) }))
		r.Commands = new(median(pairs, func(p lifePair) float64 { return f(p).commands / float64(row.Backlog) }))
		return r
	}
	for i, step := range lifeSteps {
		rows = append(rows, of(step, func(p lifePair) redisUse { return p.steps[i] }))
	}
	baseline := of("asynq: enqueue, and process with a handler that does nothing", func(p lifePair) redisUse { return p.asynq })
	baseline.Rate, baseline.Workers, baseline.Numbers = 0, 0, 0
	whole := of(wholeLife, lifePair.whole)
	whole.BaselineCPU = baseline.RedisCPU
	whole.CPURatio = new(median(pairs, lifePair.ratio))
	return append(rows, whole, baseline)
}

// median returns the median of a figure of several things; of an even count the mean of the middle two.
func median[T any](of []T, figure func(T) float64) float64 {
	var all []float64
	for _, one := range of {
		all = append(all, figure(one))
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// lived is a world whose programs move messages through their whole life.
type lived struct {
	*world
	row      Row
	numbers  []rig.Number
	producer *rig.Process
	hook     *rig.Process
}

// newLived starts all but the workers.
func newLived(ctx context.Context, o Options, row Row) (*lived, error) {
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return nil, err
	}
	l := &lived{world: w, row: row, numbers: rig.Numbers(row.Numbers, row.Rate)}
	if err := l.start(ctx, farSideSettings{Keep: true}); err != nil {
		w.close()
		return nil, err
	}
	return l, nil
}

func (l *lived) start(ctx context.Context, s farSideSettings) (err error) {
	if err := l.farSide(ctx, s); err != nil {
		return err
	}
	if err := l.configure(l.numbers); err != nil {
		return err
	}
	if l.producer, err = l.program(ctx, "producer"); err != nil {
		return err
	}
	l.hook, err = l.program(ctx, "webhook")
	return err
}

// round moves the messages from first on through their life: accepted while no worker runs, then
// sent and ended by workers that start cold, then reported.
func (l *lived) round(ctx context.Context, first int) ([]redisUse, error) {
	n := l.row.Backlog
	var steps []redisUse
	step := func(f func() error) error {
		used, err := l.used1(ctx, f)
		steps = append(steps, used)
		return err
	}
	err := step(func() error {
		return l.accept(ctx, l.producer, l.numbers, first, n, loads)
	})
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	var workers []*rig.Process
	err = step(func() (err error) {
		if workers, err = l.workers(ctx, l.row.Workers, false); err != nil {
			return err
		}
		return l.sent(ctx, first+n, l.o.Duration)
	})
	if err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	defer stopAll(workers)
	all, err := l.arrived(ctx, first)
	if err != nil {
		return nil, err
	}
	api := l.api(l.producer)
	for _, to := range []message.State{message.Sent, message.Delivered} {
		err := step(func() error {
			if err := l.report(ctx, l.hook, all, string(to), reportsOfPost, 0); err != nil {
				return err
			}
			return l.awaitState(ctx, api, all, to, l.o.Duration)
		})
		if err != nil {
			return nil, err
		}
		if err := l.verify(ctx, api, all, to); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

// sent waits at most d until the far side has n messages, and then until the workers have had
// time to end their tasks.
func (l *lived) sent(ctx context.Context, n int, d time.Duration) error {
	taken, _, err := l.arrivals(ctx, n, d)
	if err != nil {
		return err
	}
	if taken < n {
		return fmt.Errorf("%d of %d messages arrived at the far side in %s", taken, n, d)
	}
	return pause(ctx, 500*time.Millisecond)
}

// used1 returns what Redis used while f ran.
func (w *world) used1(ctx context.Context, f func() error) (u redisUse, err error) {
	before, err := info(ctx, w.db, "cpu", "stats")
	if err != nil {
		return u, err
	}
	if err := f(); err != nil {
		return u, err
	}
	after, err := info(ctx, w.db, "cpu", "stats")
	if err != nil {
		return u, err
	}
	since := func(name string) float64 { return after[name] - before[name] }
	u.cpu = time.Duration((since("used_cpu_user") + since("used_cpu_sys")) * float64(time.Second))
	u.commands = since("total_commands_processed")
	return u, nil
}

// asynqLife enqueues n tasks by asynq's client, and lets an asynq server that starts cold
// process them.
func (w *world) asynqLife(ctx context.Context, n int, d time.Duration) (redisUse, error) {
	return w.used1(ctx, func() error {
		if err := w.fillAsynq(ctx, "bulk", n); err != nil {
			return err
		}
		p, err := w.asynq(ctx, AsynqSettings{Servers: 1, Concurrency: 50, Queues: map[string]int{"bulk": 1}})
		if err != nil {
			return err
		}
		for deadline := time.Now().Add(d); ; {
			c, err := w.counts(ctx, p)
			if err != nil {
				return err
			}
			if c.Tasks >= int64(n) {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("asynq processed %d of %d tasks in %s", c.Tasks, n, d)
			}
			if err := errors.Join(pause(ctx, 20*time.Millisecond), p.Alive()); err != nil {
				return err
			}
		}
		p.Stop() // waits until its last tasks have ended
		return nil
	})
}
