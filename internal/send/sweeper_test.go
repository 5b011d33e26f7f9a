package send_test

import (
	"context"
	"errors"
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
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/message"
	"sluice/internal/send"
)

// world is the records as a sweeper sees them, on the bubble's clock, and what was done to
// them, when: "12s id attempting->in_doubt worker_died".
type world struct {
	sight    func(now time.Duration) send.Sight // of the sweeper's own worker
	ahead    time.Duration                      // of the server's clock
	others   map[string]lastBeat
	attempts []message.Open
	doubts   []message.Open
	overdue  []message.Open
	parked   []message.Open
	mark     func(now time.Duration) time.Time             // the reconciler's watermark
	heard    func(now time.Duration) time.Time             // when a webhook came last
	status   time.Time                                     // when the number's last status was made
	open     func(now time.Duration) (gap, open time.Time) // of the channel; nil: no webhook program ever reported
	owed     func(after, before time.Time) int64
	sends    int
	holds    []message.Hold
	waiting  []message.Open // by deadline
	gone     []string       // of those, the ids of those without a task
	returned []string       // the messages whose tasks were put back
	mu       sync.Mutex
	forgot   []message.Shard

	fail   func(call string) error // nil: never
	before func(call string)       // to take its time, say

	start time.Time
	parts [][]message.Shard
	did   []string
	ends  []time.Time // of the doubts' windows, beside doubts
	reg   *prometheus.Registry
}

// lastBeat tells another worker's last beat; times are counted from the world's start.
type lastBeat func(now time.Duration) time.Duration

func living(now time.Duration) time.Duration { return now }

func diedAt(end time.Duration) lastBeat {
	return func(now time.Duration) time.Duration { return min(now, end) }
}

func newWorld() *world {
	w := &world{others: map[string]lastBeat{}, start: time.Now(), reg: prometheus.NewRegistry(), parts: [][]message.Shard{{0, 1}}}
	w.sight = func(time.Duration) send.Sight { return send.Sight{Unbroken: w.start, Steady: w.start.Add(-time.Hour)} }
	w.mark = func(time.Duration) time.Time { return w.start }
	w.heard = func(now time.Duration) time.Time { return w.start.Add(now) }
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
		all = append(all, message.Unsettled{Shard: s, Doubts: true, Overdue: true, Forgotten: true})
	}
	return all, w.call("unsettled")
}

// hands has each attempt in its worker's hand.
func (w *world) hands(ctx context.Context, shards []message.Shard) (all []send.Hand, err error) {
	err = w.call("hands")
	if !slices.Contains(shards, 1) {
		return nil, err
	}
	for _, o := range w.attempts {
		all = append(all, send.Hand{Worker: o.Worker, Shard: 1, IDs: []string{o.ID}, Return: func(context.Context) error {
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

func (w *world) Opens(ctx context.Context, s message.Shard, ids []string) ([]message.Open, error) {
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

func (w *world) Forget(ctx context.Context, s message.Shard) (int, error) {
	w.mu.Lock()
	w.forgot = append(w.forgot, s)
	w.mu.Unlock()
	return 0, w.call("forget")
}

func (w *world) Doubts(ctx context.Context, s message.Shard, until time.Time, limit int) ([]message.Open, error) {
	if err := w.call("doubts"); err != nil {
		return nil, err
	}
	var past []message.Open
	for i, o := range w.doubts {
		if !w.ends[i].After(until) {
			past = append(past, o)
		}
	}
	return w.of(s, past), nil
}

func (w *world) Postpone(ctx context.Context, s message.Shard, ids []string, until time.Time) error {
	for i, d := range w.doubts {
		if slices.Contains(ids, d.ID) {
			w.ends[i] = until
		}
	}
	return w.call("postpone")
}

func (w *world) Owed(ctx context.Context, s message.Shard, after, before time.Time) (int64, error) {
	if w.owed == nil {
		return 0, w.call("owed")
	}
	return w.owed(after, before), w.call("owed")
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
	for i, d := range w.doubts {
		if is(d) {
			w.doubts, w.ends = slices.Delete(w.doubts, i, i+1), slices.Delete(w.ends, i, i+1)
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
		Worker: "me", Shards: 2, Workers: w, Open: w, Changes: w, Requeue: w.requeue, Lost: w.lost, Hands: w.hands, Suspects: w.suspects,
		Policy: func(_ string, c message.Class) message.Policy { return message.DefaultPolicy(c) },
		Watermark: func(context.Context, message.Shard) (time.Time, error) {
			return w.mark(time.Since(w.start)), w.call("watermark")
		},
		Channel: func(context.Context, string) (message.Channel, error) {
			c := message.Channel{LastWebhook: w.heard(time.Since(w.start)), LastStatus: w.status}
			if w.open != nil {
				c.Reported = true
				c.Gap, c.Open = w.open(time.Since(w.start))
			}
			return c, w.call("heard")
		},
		Sends: func() int { return w.sends },
		Holds: func(context.Context) ([]message.Hold, error) { return w.holds, w.call("holds") },
		Sight: func(message.Shard) send.Sight { return w.sight(time.Since(w.start)) }, Parts: w.parts,
		Log: slog.New(slog.DiscardHandler), Registerer: w.reg,
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

// attempt is one that worker began at a time counted from the world's start.
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

func TestDeadWorker(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.attempts = []message.Open{
			w.attempt("of-the-dead", "dead", -time.Minute/2),
			w.attempt("of-the-living", "living", -time.Minute/2),
			w.attempt("mine", "me", -time.Minute/2),
		}
		w.others["dead"], w.others["living"] = diedAt(-time.Minute), living
		w.sweepFor(t, 21*time.Second)
		w.want(t, "8s of-the-dead attempting->in_doubt worker_died in 2m0s")
		if !slices.Equal(w.returned, []string{"of-the-dead"}) {
			t.Errorf("the tasks of %v were put back", w.returned)
		}
		if n := swept(t, w.reg, "attempting", "in_doubt"); n != 1 {
			t.Errorf("counted %v", n)
		}
	})
}

// TestWorkerDies: it is noticed within ten seconds, and a late beat or two is no death.
func TestWorkerDies(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.attempts = []message.Open{w.attempt("a", "other", 20*time.Second)}
		w.others["other"] = diedAt(21 * time.Second)
		w.sweepFor(t, 40*time.Second)
		w.want(t, "28s a attempting->in_doubt worker_died in 2m0s")
	})
}

// TestNewWorker: who came after the beats were read is not dead.
func TestNewWorker(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.before = func(call string) {
			if call == "alive 1" && time.Since(w.start) == 12*time.Second && len(w.attempts) == 0 {
				w.others["new"] = living
				w.attempts = []message.Open{w.attempt("a", "new", 12*time.Second)}
			}
		}
		w.sweepFor(t, 30*time.Second)
		w.want(t)
		if len(w.attempts) != 1 {
			t.Error("the new worker never came")
		}
	})
}

// TestOutage: while and after this worker's view was broken all heartbeats look old, and nobody is dead.
func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.sight = func(now time.Duration) send.Sight {
			switch {
			case now < 20*time.Second:
				return send.Sight{Unbroken: w.start, Steady: w.start}
			case now < 40*time.Second:
				return send.Sight{Steady: w.start}
			}
			return send.Sight{Unbroken: w.start.Add(40 * time.Second), Steady: w.start}
		}
		w.attempts = []message.Open{w.attempt("a", "other", 10*time.Second)}
		w.others["other"] = func(now time.Duration) time.Duration {
			if now >= 20*time.Second && now < 45*time.Second { // it too needs a moment to come back
				return 19 * time.Second
			}
			return now
		}
		w.sweepFor(t, 69*time.Second)
		w.want(t)
		w.sweepAgain(t)
		w.want(t, "1m14s a attempting->in_doubt no_answer in 2m0s") // whoever it was, it is too old
	})
}

// TestTheClockOfRedisIsSetAhead: the attempt of a living worker is no doubt, though it looks a minute old.
func TestTheClockOfRedisIsSetAhead(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.others["other"] = living
		w.attempts = []message.Open{w.attempt("a", "other", 0)}
		w.sight = func(now time.Duration) send.Sight {
			if now < 10*time.Second {
				return send.Sight{Unbroken: w.start, Steady: w.start}
			}
			w.ahead = 90 * time.Second
			return send.Sight{Unbroken: w.start.Add(10 * time.Second), Steady: w.start.Add(10 * time.Second)}
		}
		w.sweepFor(t, 71*time.Second)
		w.want(t)
		w.sweepAgainFor(t, 5*time.Second)
		w.want(t, "1m13s a attempting->in_doubt no_answer in 2m0s")
	})
}

// TestOneShardAway: its server is away, and the shards of others are swept all the same.
func TestOneShardAway(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"alive 0", "hangs"} {
		t.Run(call, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.parts = [][]message.Shard{{0}, {1}}
				w.overdue = []message.Open{{ID: "o", State: message.Queued, ExpiresAt: w.start.Add(time.Second)}}
				w.before = func(name string) {
					if call == "hangs" && name == "alive 0" {
						time.Sleep(time.Hour)
					}
				}
				w.fail = func(name string) error {
					if name == "alive 0" {
						return errAway
					}
					return nil
				}
				w.sweepFor(t, 3*time.Second)
				w.want(t, "2s o queued->expired deadline")
			})
		})
	}
}

// sweepAgain goes on with a new sweeper of the same worker.
func (w *world) sweepAgain(t *testing.T) {
	time.Sleep(70*time.Second - time.Since(w.start))
	w.sweepAgainFor(t, 20*time.Second)
}

func (w *world) sweepAgainFor(t *testing.T, d time.Duration) {
	w.fail, w.before, w.reg = nil, nil, prometheus.NewRegistry()
	w.sweepFor(t, d)
}

// TestOldAttempt: an attempt older than any may be is a doubt, though its owner lives.
func TestOldAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.attempts = []message.Open{w.attempt("a", "me", 0), w.attempt("b", "me", 10*time.Second)}
		w.sweepFor(t, 71*time.Second)
		w.want(t, "1m4s a attempting->in_doubt no_answer in 2m0s")
	})
}

// TestDoubtsWaitForTheWatermark: what counts is not the clock but what has been folded.
func TestDoubtsWaitForTheWatermark(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.doubts = []message.Open{{ID: "a", State: message.InDoubt, Reason: message.ReasonNoAnswer, Message: message.Context{Class: message.Service}}}
		w.ends = []time.Time{w.start.Add(5 * time.Second)}
		w.mark = func(now time.Duration) time.Time {
			if now < 30*time.Second {
				return w.start
			}
			if now < 60*time.Second {
				return w.start.Add(5*time.Second - 1)
			}
			return w.start.Add(5 * time.Second)
		}
		w.sweepFor(t, 61*time.Second)
		w.want(t, "1m0s a in_doubt->parked no_answer")
	})
}

func TestSettle(t *testing.T) {
	t.Parallel()
	type doubt struct {
		class  message.Class
		reason string
		resent int
		late   bool // its deadline has passed
	}
	const (
		park   = "in_doubt->parked "
		closed = "in_doubt->failed undetermined"
		resend = "in_doubt->queued resent_by_policy resend"
		retry  = "in_doubt->queued server_error"
	)
	for d, want := range map[doubt]string{
		{message.Authentication, message.ReasonNoAnswer, 0, false}:    resend,
		{message.Authentication, message.ReasonWorkerDied, 0, false}:  resend,
		{message.Authentication, message.ReasonNoAnswer, 1, false}:    closed,
		{message.Authentication, message.ReasonNoAnswer, 0, true}:     closed,
		{message.Authentication, message.ReasonServerError, 1, false}: retry,
		{message.Authentication, message.ReasonServerError, 0, true}:  closed,
		{message.Service, message.ReasonNoAnswer, 0, false}:           park + "no_answer",
		{message.Service, message.ReasonWorkerDied, 0, false}:         park + "worker_died",
		{message.Service, message.ReasonNoAnswer, 0, true}:            park + "no_answer",
		{message.Service, message.ReasonServerError, 0, false}:        retry,
		{message.Service, message.ReasonServerError, 0, true}:         park + "server_error",
		{message.Utility, message.ReasonNoAnswer, 0, false}:           park + "no_answer",
		{message.Utility, message.ReasonServerError, 0, false}:        retry,
		{message.Utility, message.ReasonServerError, 0, true}:         park + "server_error",
		{message.Marketing, message.ReasonNoAnswer, 0, false}:         closed,
		{message.Marketing, message.ReasonWorkerDied, 0, true}:        closed,
		{message.Marketing, message.ReasonServerError, 0, false}:      retry,
		{message.Marketing, message.ReasonServerError, 0, true}:       closed,
	} {
		t.Run(fmt.Sprint(d), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				expires := w.start.Add(time.Hour)
				if d.late {
					expires = w.start
				}
				w.doubts = []message.Open{{
					ID: "a", State: message.InDoubt, Reason: d.reason, Resent: d.resent, ExpiresAt: expires,
					Message: message.Context{From: number, Class: d.class},
				}}
				w.ends = []time.Time{w.start}
				w.sweepFor(t, time.Second)
				w.want(t, "0s a "+want)
				from, to, _ := strings.Cut(strings.Fields(want)[0], "->")
				if n := swept(t, w.reg, from, to); n != 1 {
					t.Errorf("counted %v", n)
				}
			})
		})
	}
}

// TestOverdue: what expires says where it was.
func TestOverdue(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		late := func(id string, n int, template string) message.Open {
			return message.Open{
				ID: id, State: message.Queued, N: n, ExpiresAt: w.start.Add(3 * time.Second),
				Message: message.Context{From: number, Template: template},
			}
		}
		w.holds = []message.Hold{{Number: number, Template: "sale/en"}}
		w.overdue = []message.Open{late("a", 0, ""), late("b", 2, ""), late("c", 2, "sale/en")}
		w.sweepFor(t, 11*time.Second)
		w.want(t, "4s a queued->expired deadline", "4s b queued->expired deadline_in_retry", "4s c queued->expired deadline_on_hold")
		want := strings.NewReader(`# HELP sluice_messages_expired_total Messages whose deadline passed before Meta accepted them, by where they waited: queue, retry or hold.
# TYPE sluice_messages_expired_total counter
sluice_messages_expired_total{stage="hold"} 1
sluice_messages_expired_total{stage="queue"} 1
sluice_messages_expired_total{stage="retry"} 1
`)
		if err := testutil.GatherAndCompare(w.reg, want, "sluice_messages_expired_total"); err != nil {
			t.Error(err)
		}
	})
}

// TestParkedMessagesEnd: a message about which nobody decides for 30 days fails.
func TestParkedMessagesEnd(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for id, age := range map[string]time.Duration{"old": 30*24*time.Hour - 3*time.Second, "young": 29 * 24 * time.Hour} {
			w.parked = append(w.parked, message.Open{ID: id, State: message.Parked, Since: w.start.Add(-age)})
		}
		w.sweepFor(t, 11*time.Second)
		w.want(t, "4s old parked->failed undetermined")
	})
}

// TestSweepGoesOn: whatever fails, the rest is swept, and what failed next time.
func TestSweepGoesOn(t *testing.T) {
	t.Parallel()
	const (
		dead = "attempting->in_doubt no_answer in 2m0s"
		park = "in_doubt->parked no_answer"
		late = "queued->expired deadline"
	)
	for failing, want := range map[string][]string{
		"opens":     {"0s d " + park, "0s o " + late, "2s a " + dead},
		"watermark": {"0s a " + dead, "0s o " + late, "2s d " + park},
		"doubts":    {"0s a " + dead, "0s o " + late, "2s d " + park},
		"overdue":   {"0s a " + dead, "0s d " + park, "2s o " + late},
		"alive 1":   {"2s a " + dead, "2s d " + park, "2s o " + late},
		"alive 0":   {"0s a " + dead, "0s d " + park, "0s o " + late},
		"unsettled": {"0s a " + dead, "0s d " + park, "0s o " + late},
		"sweep":     {"2s a " + dead, "2s d " + park, "2s o " + late},
	} {
		t.Run(failing, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.attempts = []message.Open{w.attempt("a", "me", -2*time.Minute)}
				w.doubts = []message.Open{{ID: "d", State: message.InDoubt, Reason: message.ReasonNoAnswer, Message: message.Context{Class: message.Service}}}
				w.ends = []time.Time{w.start}
				w.overdue = []message.Open{{ID: "o", State: message.Queued, ExpiresAt: w.start.Add(-time.Second)}}
				w.fail = func(call string) error {
					if call == failing && time.Since(w.start) == 0 {
						return errAway
					}
					return nil
				}
				w.sweepFor(t, 3*time.Second)
				w.want(t, want...)
			})
		})
	}
}

// TestRequeueFails: the doubt stays one, and is not counted as settled.
func TestRequeueFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.doubts = []message.Open{{ID: "a", State: message.InDoubt, Reason: message.ReasonServerError, ExpiresAt: w.start.Add(time.Hour)}}
		w.ends = []time.Time{w.start}
		w.fail = func(call string) error {
			if call == "requeue" && time.Since(w.start) < 3*time.Second {
				return errors.New("full")
			}
			return nil
		}
		w.sweepFor(t, 5*time.Second)
		w.want(t, "4s a in_doubt->queued server_error")
		if n := swept(t, w.reg, "in_doubt", "queued"); n != 1 {
			t.Errorf("counted %v", n)
		}
	})
}

// TestRequeueFailsForOne: a Redis that is full refuses new tasks, and nothing else.
func TestRequeueFailsForOne(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		doubt := func(id string, c message.Class, reason string) {
			w.doubts = append(w.doubts, message.Open{
				ID: id, State: message.InDoubt, Reason: reason, ExpiresAt: w.start.Add(time.Hour), Message: message.Context{Class: c},
			})
			w.ends = append(w.ends, w.start)
		}
		doubt("a", message.Utility, message.ReasonServerError)
		doubt("b", message.Utility, message.ReasonNoAnswer)
		doubt("c", message.Utility, message.ReasonServerError)
		w.overdue = []message.Open{{ID: "o", State: message.Queued, ExpiresAt: w.start.Add(-time.Second)}}
		w.fail = func(call string) error {
			if call == "requeue" && time.Since(w.start) < time.Second {
				return errors.New("full")
			}
			return nil
		}
		w.sweepFor(t, 3*time.Second)
		w.want(t, "0s b in_doubt->parked no_answer", "0s o queued->expired deadline",
			"2s a in_doubt->queued server_error", "2s c in_doubt->queued server_error")
	})
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

// TestLostTasks: who waits without a task gets one, however many wait; but not who is overdue,
// and only one worker looks.
func TestLostTasks(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"nobody", "a", "z"} { // the other living worker; this one is "me"
		t.Run(other, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				if other != "nobody" {
					w.others[other] = living
				}
				for i := range 1200 {
					w.waiting = append(w.waiting, message.Open{
						ID: fmt.Sprint(i), State: message.Queued, ExpiresAt: w.start.Add(time.Hour), NextAt: w.start.Add(time.Minute),
					})
				}
				w.waiting[7].ExpiresAt = w.start
				w.gone = []string{"3", "7", "1100"}
				w.sweepFor(t, 20*time.Second)
				if other == "a" {
					w.want(t)
					return
				}
				w.want(t, "0s 3 queued->queued task_lost in 1m0s", "4s 1100 queued->queued task_lost in 56s")
				if n := swept(t, w.reg, "queued", "queued"); n != 2 {
					t.Errorf("counted %v", n)
				}
			})
		})
	}
}
