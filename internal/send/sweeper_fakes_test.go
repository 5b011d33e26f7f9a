package send_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
	"sluice/internal/send"
)

// world has the records as a sweeper reads them, on the bubble's clock, and a log of the changes with their times:
// "12s id attempting->in_doubt worker_died".
type world struct {
	sight       func(now time.Duration) send.ShardView // of the sweeper's own worker
	ahead       time.Duration                          // of the server's clock
	others      map[string]lastBeat
	attempts    []message.Open
	inDoubt     []message.Open
	overdue     []message.Open
	parked      []message.Open
	mark        func(now time.Duration) time.Time             // the reconciler's watermark
	lastWebhook func(now time.Duration) time.Time             // when a webhook came last
	status      time.Time                                     // when the number's last status was made
	open        func(now time.Duration) (gap, open time.Time) // of the channel; nil: no webhook program ever reported
	missing     func(after, before time.Time) int64
	sends       int
	holds       []message.Hold
	waiting     []message.Open // by deadline
	gone        []string       // of those, the ids of those without a task
	returned    []string       // the messages whose tasks were put back
	mu          sync.Mutex
	forgot      []message.Shard

	fail   func(call string) error // nil: never
	before func(call string)       // for example to take its time

	start time.Time
	parts [][]message.Shard
	did   []string
	ends  []time.Time // of the in-doubt windows, in the order of doubts
	reg   *prometheus.Registry

	logged bytes.Buffer
}

// lastBeat returns the time of another worker's last heartbeat; times are counted from the start of the test.
type lastBeat func(now time.Duration) time.Duration

func living(now time.Duration) time.Duration { return now }

func diedAt(end time.Duration) lastBeat {
	return func(now time.Duration) time.Duration { return min(now, end) }
}

func newWorld() *world {
	w := &world{others: map[string]lastBeat{}, start: time.Now(), reg: prometheus.NewRegistry(), parts: [][]message.Shard{{0, 1}}}
	w.sight = func(time.Duration) send.ShardView {
		return send.ShardView{Unbroken: w.start, Steady: w.start.Add(-time.Hour)}
	}
	w.mark = func(time.Duration) time.Time { return w.start }
	w.lastWebhook = func(now time.Duration) time.Time { return w.start.Add(now) }
	w.open = func(now time.Duration) (gap, open time.Time) { return time.Time{}, w.start.Add(now) }
	return w
}

func (w *world) call(name string) error {
	if w.before != nil {
		w.before(name)
	}
	if w.fail != nil {
		return w.fail(name)
	}
	return nil
}

func (w *world) Alive(ctx context.Context, shards []message.Shard, d time.Duration) []message.LiveWorkers {
	now := time.Since(w.start)
	alive := map[string]bool{"me": true}
	for name, last := range w.others {
		alive[name] = now-last(now) < d
	}
	all := make([]message.LiveWorkers, len(shards))
	for i, s := range shards {
		if all[i].Err = w.call(fmt.Sprintf("alive %d", s)); all[i].Err == nil {
			all[i] = message.LiveWorkers{Workers: alive, Now: time.Now().Add(w.ahead)}
		}
	}
	return all
}

func (w *world) Unsettled(_ context.Context, now map[message.Shard]time.Time) (all []message.Unsettled, err error) {
	for _, s := range slices.Sorted(maps.Keys(now)) {
		all = append(all, message.Unsettled{Shard: s, InDoubt: true, Overdue: true, ParkedTooLong: true})
	}
	return all, w.call("unsettled")
}

// fetched returns each attempt as a task that its worker has fetched.
func (w *world) fetched(ctx context.Context, shards []message.Shard) (all []send.FetchedTasks, err error) {
	err = w.call("fetched")
	if !slices.Contains(shards, 1) {
		return nil, err
	}
	for _, o := range w.attempts {
		all = append(all, send.FetchedTasks{Worker: o.Worker, Shard: 1, IDs: []string{o.ID}, Return: func(context.Context) error {
			w.returned = append(w.returned, o.ID)
			return w.call("return")
		}})
	}
	return all, err
}

// suspects finds all attempts when their tasks come up.
func (w *world) suspects(shards []message.Shard) (ids []string) {
	if !slices.Contains(shards, w.shardOf()) {
		return nil
	}
	for _, o := range w.attempts {
		ids = append(ids, o.ID)
	}
	return ids
}

func (w *world) ReadOpenAll(ctx context.Context, s message.Shard, ids []string) ([]message.Open, error) {
	if err := w.call("opens"); err != nil {
		return nil, err
	}
	var found []message.Open
	for _, o := range w.attempts {
		if slices.Contains(ids, o.ID) {
			found = append(found, o)
		}
	}
	return found, nil
}

func (w *world) Follow(ctx context.Context, s message.Shard, waiting []message.Open) error {
	for _, o := range waiting {
		w.did = append(w.did, "follow "+o.ID)
	}
	return w.call("follow")
}

func (w *world) Purge(ctx context.Context, s message.Shard) (int, error) {
	w.mu.Lock()
	w.forgot = append(w.forgot, s)
	w.mu.Unlock()
	return 0, w.call("forget")
}

func (w *world) WindowEnded(ctx context.Context, s message.Shard, until time.Time, limit int) ([]message.Open, error) {
	if err := w.call("in doubt"); err != nil {
		return nil, err
	}
	var past []message.Open
	for i, o := range w.inDoubt {
		if !w.ends[i].After(until) {
			past = append(past, o)
		}
	}
	return w.of(s, past), nil
}

func (w *world) Postpone(ctx context.Context, s message.Shard, ids []string, until time.Time) error {
	for i, d := range w.inDoubt {
		if slices.Contains(ids, d.ID) {
			w.ends[i] = until
		}
	}
	return w.call("postpone")
}

func (w *world) CountAwaiting(ctx context.Context, s message.Shard, after, before time.Time) (int64, error) {
	if w.missing == nil {
		return 0, w.call("missing")
	}
	return w.missing(after, before), w.call("missing")
}

func (w *world) Waiting(ctx context.Context, s message.Shard, offset, limit int) ([]message.Open, error) {
	all := w.of(s, w.waiting)
	return all[min(offset, len(all)):min(offset+limit, len(all))], w.call("waiting")
}

func (w *world) lost(ctx context.Context, some []message.Open) ([]message.Open, error) {
	return slices.DeleteFunc(some, func(o message.Open) bool { return !slices.Contains(w.gone, o.ID) }), w.call("lost")
}

func (w *world) Parked(_ context.Context, s message.Shard, before time.Time, limit int) ([]message.Open, error) {
	return w.of(s, slices.DeleteFunc(slices.Clone(w.parked), func(o message.Open) bool { return o.Since.After(before) })), nil
}

func (w *world) Overdue(ctx context.Context, s message.Shard, now time.Time, limit int) ([]message.Open, error) {
	if err := w.call("overdue"); err != nil {
		return nil, err
	}
	var late []message.Open
	for _, o := range w.overdue {
		if o.ExpiresAt.Before(now) {
			late = append(late, o)
		}
	}
	return w.of(s, late), nil
}

// shardOf is the shard of the suspects' number.
func (w *world) shardOf() message.Shard { return message.Shards(2).Of("") }

// of puts everything into the last of two shards.
func (w *world) of(s message.Shard, all []message.Open) []message.Open {
	if s != 1 {
		return nil
	}
	return slices.Clone(all)
}

func (w *world) Sweep(ctx context.Context, o message.Open, m message.Move) (bool, error) {
	if err := w.call("sweep"); err != nil {
		return false, err
	}
	w.note(o, m)
	return true, nil
}

func (w *world) requeue(ctx context.Context, o message.Open, m message.Move) error {
	if err := w.call("requeue"); err != nil {
		return err
	}
	w.note(o, m)
	return nil
}

func (w *world) note(o message.Open, m message.Move) {
	line := fmt.Sprintf("%s %s %s->%s %s", time.Since(w.start), o.ID, o.State, m.To, m.Reason)
	if m.In > 0 {
		line += fmt.Sprintf(" in %s", m.In)
	}
	if m.Resend {
		line += " resend"
	}
	w.did = append(w.did, line)
	is := func(other message.Open) bool { return other.ID == o.ID }
	w.attempts = slices.DeleteFunc(w.attempts, is)
	w.gone = slices.DeleteFunc(w.gone, func(id string) bool { return id == o.ID })
	w.overdue, w.parked = slices.DeleteFunc(w.overdue, is), slices.DeleteFunc(w.parked, is)
	for i, d := range w.inDoubt {
		if is(d) {
			w.inDoubt, w.ends = slices.Delete(w.inDoubt, i, i+1), slices.Delete(w.ends, i, i+1)
			break
		}
	}
}

// sweepFor lets a sweeper run for d.
func (w *world) sweepFor(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	s := &send.Sweeper{
		Worker: "me", Shards: 2, Workers: w, Open: w, Changes: w, Requeue: w.requeue, LostTasks: w.lost, Fetched: w.fetched, Suspects: w.suspects,
		Policy: func(_ string, c message.Class) message.Policy { return message.DefaultPolicy(c) },
		Watermark: func(context.Context, message.Shard) (time.Time, error) {
			return w.mark(time.Since(w.start)), w.call("watermark")
		},
		Channel: func(context.Context, string) (message.Channel, error) {
			c := message.Channel{LastWebhook: w.lastWebhook(time.Since(w.start)), LastStatus: w.status}
			if w.open != nil {
				c.Reported = true
				c.Gap, c.Open = w.open(time.Since(w.start))
			}
			return c, w.call("channel")
		},
		Sends: func() int { return w.sends },
		Holds: func(context.Context) ([]message.Hold, error) { return w.holds, w.call("holds") },
		View:  func(message.Shard) send.ShardView { return w.sight(time.Since(w.start)) }, Parts: w.parts,
		Log: slog.New(slog.NewJSONHandler(&w.logged, nil)), Registerer: w.reg,
	}
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}

func (w *world) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(w.did, want) {
		t.Errorf("did\n%s\nwant\n%s", strings.Join(w.did, "\n"), strings.Join(want, "\n"))
	}
}

// attempt is an attempt that a worker began at a time counted from the start of the test.
func (w *world) attempt(id, worker string, at time.Duration) message.Open {
	return message.Open{
		ID: id, State: message.Attempting, N: 1, Worker: worker, Since: w.start.Add(at),
		Message: message.Context{From: number, Class: message.Service},
	}
}

func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld()) })
}

// sweepAgain continues with a new sweeper of the same worker.
func (w *world) sweepAgain(t *testing.T) {
	time.Sleep(70*time.Second - time.Since(w.start))
	w.sweepAgainFor(t, 20*time.Second)
}

func (w *world) sweepAgainFor(t *testing.T, d time.Duration) {
	w.fail, w.before, w.reg = nil, nil, prometheus.NewRegistry()
	w.sweepFor(t, d)
}

// swept returns how many moves were counted.
func swept(t *testing.T, reg *prometheus.Registry, from, to string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if f.GetName() == "sluice_sweeper_transitions_total" && maps.Equal(labels, map[string]string{"from": from, "to": to}) {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no series %s -> %s", from, to)
	return 0
}
