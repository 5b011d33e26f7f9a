package send_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/message"
	"sluice/internal/send"
)

func TestDeadWorker(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.attempts = []message.Open{
			w.attempt("of-the-dead", "dead", -time.Minute/2),
			w.attempt("of-the-living", "living", -time.Minute/2),
			w.attempt("mine", "me", -time.Minute/2),
		}
		w.attempts[0].Message.Trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		w.others["dead"], w.others["living"] = diedAt(-time.Minute), living
		w.sweepFor(t, 21*time.Second)
		w.want(t, "8s of-the-dead attempting->in_doubt worker_died in 2m0s")
		if !strings.Contains(w.logged.String(), `"trace_id":"0af7651916cd43dd8448eb211c80319c"`) {
			t.Errorf("log without the trace: %s", w.logged.String())
		}
		if !slices.Equal(w.returned, []string{"of-the-dead"}) {
			t.Errorf("the tasks of %v were put back", w.returned)
		}
		if n := swept(t, w.reg, "attempting", "in_doubt"); n != 1 {
			t.Errorf("counted %v", n)
		}
	})
}

// TestWorkerDies: it is noticed within ten seconds; one or two late heartbeats do not count as death.
func TestWorkerDies(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.attempts = []message.Open{w.attempt("a", "other", 20*time.Second)}
		w.others["other"] = diedAt(21 * time.Second)
		w.sweepFor(t, 40*time.Second)
		w.want(t, "28s a attempting->in_doubt worker_died in 2m0s")
	})
}

// TestNewWorker: a worker that started after the heartbeats were read is not dead.
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

// TestOutage: while and after this worker's view was not reliable, all heartbeats look old, and no worker counts as dead.
func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.sight = func(now time.Duration) send.ShardView {
			switch {
			case now < 20*time.Second:
				return send.ShardView{Unbroken: w.start, Steady: w.start}
			case now < 40*time.Second:
				return send.ShardView{Steady: w.start}
			}
			return send.ShardView{Unbroken: w.start.Add(40 * time.Second), Steady: w.start}
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
		w.want(t, "1m14s a attempting->in_doubt no_answer in 2m0s") // for any owner it is too old
	})
}

// TestTheClockOfRedisIsSetAhead: the attempt of a live worker is not in doubt, although it looks a minute old.
func TestTheClockOfRedisIsSetAhead(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.others["other"] = living
		w.attempts = []message.Open{w.attempt("a", "other", 0)}
		w.sight = func(now time.Duration) send.ShardView {
			if now < 10*time.Second {
				return send.ShardView{Unbroken: w.start, Steady: w.start}
			}
			w.ahead = 90 * time.Second
			return send.ShardView{Unbroken: w.start.Add(10 * time.Second), Steady: w.start.Add(10 * time.Second)}
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

// TestOldAttempt: an attempt older than the limit is in doubt, although its owner is alive.
func TestOldAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.attempts = []message.Open{w.attempt("a", "me", 0), w.attempt("b", "me", 10*time.Second)}
		w.sweepFor(t, 71*time.Second)
		w.want(t, "1m4s a attempting->in_doubt no_answer in 2m0s")
	})
}

// TestInDoubtMessagesWaitForTheWatermark: the applied statuses count, not the clock.
func TestInDoubtMessagesWaitForTheWatermark(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.inDoubt = []message.Open{{ID: "a", State: message.InDoubt, Reason: message.ReasonNoAnswer, Message: message.Context{Class: message.Service}}}
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
	type inDoubt struct {
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
	for d, want := range map[inDoubt]string{
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
				w.inDoubt = []message.Open{{
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
				Message: message.Context{From: number, Class: message.Utility, Template: template},
			}
		}
		w.holds = []message.Hold{{Number: number, Template: "sale/en"}}
		w.overdue = []message.Open{late("a", 0, ""), late("b", 2, ""), late("c", 2, "sale/en"), late("d", 0, "sale/en")}
		w.overdue[3].After.ID = "x"
		w.sweepFor(t, 11*time.Second)
		w.want(t, "4s a queued->expired deadline", "4s b queued->expired deadline_in_retry", "4s c queued->expired deadline_on_hold", "4s d queued->expired deadline_of_after")
		want := `# HELP sluice_messages_expired_total Messages whose deadline passed before Meta accepted them, by where they waited: queue, retry, hold, or after (for another message).
# TYPE sluice_messages_expired_total counter
`
		for _, stage := range []string{"queue", "retry", "hold", "after"} {
			for _, class := range message.Classes() {
				want += fmt.Sprintf("sluice_messages_expired_total{class=%q,stage=%q} %d\n", class, stage, map[bool]int{true: 1}[class == message.Utility])
			}
		}
		if err := testutil.GatherAndCompare(w.reg, strings.NewReader(want), "sluice_messages_expired_total"); err != nil {
			t.Error(err)
		}
	})
}

// TestFollowersAreChecked: the store decides about messages that wait for others, and about no more.
func TestFollowersAreChecked(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.waiting = []message.Open{{ID: "a", State: message.Queued}, {ID: "b", State: message.Queued, After: message.After{ID: "a", State: message.Read}}}
		w.sweepFor(t, time.Second)
		w.want(t, "follow b")
	})
}

// TestParkedMessagesEnd: a message fails after 30 days without a decision of an operator.
func TestParkedMessagesEnd(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for id, age := range map[string]time.Duration{"old": 30*24*time.Hour - 3*time.Second, "young": 29 * 24 * time.Hour} {
			w.parked = append(w.parked, message.Open{ID: id, State: message.Parked, Since: w.start.Add(-age)})
		}
		w.sweepFor(t, 11*time.Second)
		w.want(t, "4s old parked->failed undetermined")
	})
}

// TestSweepContinuesAfterErrors: whatever fails, the rest is swept, and what failed next time.
func TestSweepContinuesAfterErrors(t *testing.T) {
	t.Parallel()
	const (
		dead = "attempting->in_doubt no_answer in 2m0s"
		park = "in_doubt->parked no_answer"
		late = "queued->expired deadline"
	)
	for failing, want := range map[string][]string{
		"opens":     {"0s d " + park, "0s o " + late, "2s a " + dead},
		"watermark": {"0s a " + dead, "0s o " + late, "2s d " + park},
		"in doubt":  {"0s a " + dead, "0s o " + late, "2s d " + park},
		"overdue":   {"0s a " + dead, "0s d " + park, "2s o " + late},
		"alive 1":   {"2s a " + dead, "2s d " + park, "2s o " + late},
		"alive 0":   {"0s a " + dead, "0s d " + park, "0s o " + late},
		"unsettled": {"0s a " + dead, "0s d " + park, "0s o " + late},
		"follow":    {"0s a " + dead, "0s d " + park, "0s o " + late},
		"sweep":     {"2s a " + dead, "2s d " + park, "2s o " + late},
	} {
		t.Run(failing, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.attempts = []message.Open{w.attempt("a", "me", -2*time.Minute)}
				w.inDoubt = []message.Open{{ID: "d", State: message.InDoubt, Reason: message.ReasonNoAnswer, Message: message.Context{Class: message.Service}}}
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

// TestRequeueFails: the message stays in doubt, and is not counted as settled.
func TestRequeueFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.inDoubt = []message.Open{{ID: "a", State: message.InDoubt, Reason: message.ReasonServerError, ExpiresAt: w.start.Add(time.Hour)}}
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
		inDoubt := func(id string, c message.Class, reason string) {
			w.inDoubt = append(w.inDoubt, message.Open{
				ID: id, State: message.InDoubt, Reason: reason, ExpiresAt: w.start.Add(time.Hour), Message: message.Context{Class: c},
			})
			w.ends = append(w.ends, w.start)
		}
		inDoubt("a", message.Utility, message.ReasonServerError)
		inDoubt("b", message.Utility, message.ReasonNoAnswer)
		inDoubt("c", message.Utility, message.ReasonServerError)
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

// TestLostTasks: every message that waits without a task gets one, however many there are, except overdue messages;
// and only one worker does it.
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
