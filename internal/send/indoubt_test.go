package send_test

import (
	"fmt"
	"testing"
	"time"

	"sluice/internal/message"
)

// addInDoubt adds a message whose window has ended, in doubt since the start of the test.
func (w *world) addInDoubt(id string, c message.Class, reason string, deadline time.Duration) {
	w.inDoubt = append(w.inDoubt, message.Open{
		ID: id, State: message.InDoubt, Reason: reason, Since: w.start, ExpiresAt: w.start.Add(deadline),
		Message: message.Context{From: number, Class: c},
	})
	w.ends = append(w.ends, w.start)
}

// TestAMissingStatusProvesNothing: without webhooks nothing is resent or closed, because statuses may have been lost.
// A message may be parked, and at the deadline it is.
func TestAMissingStatusProvesNothing(t *testing.T) {
	t.Parallel()
	const (
		resend = "in_doubt->queued resent_by_policy resend"
		retry  = "in_doubt->queued server_error"
	)
	type test struct {
		class    message.Class
		reason   string
		deadline time.Duration
		world    func(w *world)
		want     string
	}
	never := func(w *world) { w.lastWebhook = func(time.Duration) time.Time { return time.Time{} } }
	owing := func(w *world) {
		never(w)
		w.missing = func(after, before time.Time) int64 { return 1 }
	}
	for name, tt := range map[string]test{
		"resend waits, then a person decides": {message.Authentication, message.ReasonNoAnswer, 90 * time.Second, never, "1m30s a in_doubt->parked no_answer"},
		"resend once a webhook came": {message.Authentication, message.ReasonNoAnswer, 10 * time.Minute, func(w *world) {
			w.lastWebhook = func(now time.Duration) time.Time {
				if now < 40*time.Second {
					return w.start.Add(-2 * time.Minute)
				}
				return w.start.Add(39 * time.Second)
			}
		}, "40s a " + resend},
		"a status made since it is in doubt will do": {message.Authentication, message.ReasonNoAnswer, 10 * time.Minute, func(w *world) {
			never(w)
			w.status = w.start.Add(1)
		}, "0s a " + resend},
		"one made before will not": {message.Authentication, message.ReasonNoAnswer, 70 * time.Second, func(w *world) {
			never(w)
			w.status = w.start
		}, "1m10s a in_doubt->parked no_answer"},
		"closing waits too":                     {message.Marketing, message.ReasonNoAnswer, 30 * time.Second, never, "30s a in_doubt->parked no_answer"},
		"parking does not":                      {message.Utility, message.ReasonNoAnswer, time.Hour, owing, "0s a in_doubt->parked no_answer"},
		"a server error goes again":             {message.Marketing, message.ReasonServerError, time.Hour, never, "0s a " + retry},
		"unless Meta owes us reports of others": {message.Marketing, message.ReasonServerError, 20 * time.Second, owing, "20s a in_doubt->parked server_error"},
		"which count from a minute after they went": {message.Marketing, message.ReasonServerError, time.Hour, func(w *world) {
			lastWebhook := w.start.Add(-2 * time.Minute)
			w.lastWebhook = func(time.Duration) time.Time { return lastWebhook }
			w.missing = func(after, before time.Time) int64 {
				if !after.Equal(lastWebhook) || !before.Equal(w.start.Add(-time.Minute)) {
					t.Errorf("asked for what went between %s and %s", after, before)
				}
				return 0
			}
		}, "0s a " + retry},
		"too little time for a resend": {message.Authentication, message.ReasonNoAnswer, 59 * time.Second, func(w *world) {}, "0s a in_doubt->failed undetermined"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				tt.world(w)
				// The watermark follows the clock, and a pass comes every two seconds.
				w.mark = func(now time.Duration) time.Time { return w.start.Add(now) }
				w.addInDoubt("a", tt.class, tt.reason, tt.deadline)
				w.sweepFor(t, 2*time.Minute)
				w.want(t, tt.want)
			})
		})
	}
}

// TestARefusedWebhookProvesNothing: if webhooks were refused or missed while a message was in doubt, its status may be
// one of them. Then the sweeper waits for Meta to repeat them.
func TestARefusedWebhookProvesNothing(t *testing.T) {
	t.Parallel()
	const (
		resend = "in_doubt->queued resent_by_policy resend"
		retry  = "in_doubt->queued server_error"
	)
	always := func(gap time.Duration) func(w *world) {
		return func(w *world) {
			w.open = func(now time.Duration) (time.Time, time.Time) { return w.start.Add(gap), w.start.Add(now) }
		}
	}
	// The attempt began 20 s before the message was in doubt; its window of 10 s ends at 0 s.
	for name, tt := range map[string]struct {
		class    message.Class
		reason   string
		deadline time.Duration
		world    func(w *world)
		want     string
	}{
		"refused before the attempt": {message.Authentication, message.ReasonNoAnswer, 10 * time.Minute, always(-40 * time.Second), "0s a " + resend},
		"refused a moment before it": {message.Authentication, message.ReasonNoAnswer, 10 * time.Minute, always(-30*time.Second - time.Millisecond), "0s a " + resend},
		"refused during the attempt": {message.Authentication, message.ReasonNoAnswer, 90 * time.Second, always(-25 * time.Second), "1m30s a in_doubt->parked no_answer"},
		"refused in the window":      {message.Authentication, message.ReasonNoAnswer, 90 * time.Second, always(-time.Second), "1m30s a in_doubt->parked no_answer"},
		"a server error too":         {message.Marketing, message.ReasonServerError, 90 * time.Second, always(-time.Second), "1m30s a in_doubt->parked server_error"},
		"to close it as well":        {message.Marketing, message.ReasonNoAnswer, 90 * time.Second, always(-time.Second), "1m30s a in_doubt->parked no_answer"},
		"parking needs no proof":     {message.Utility, message.ReasonNoAnswer, time.Hour, always(-time.Second), "0s a in_doubt->parked no_answer"},
		"until Meta has repeated it": {message.Marketing, message.ReasonServerError, time.Hour, always(-time.Second), "15m0s a " + retry},
		"no webhook program runs": {message.Authentication, message.ReasonNoAnswer, 90 * time.Second, func(w *world) {
			w.open = func(time.Duration) (time.Time, time.Time) { return w.start.Add(-time.Hour), time.Time{} }
		}, "1m30s a in_doubt->parked no_answer"},
		"none ever reported":                     {message.Authentication, message.ReasonNoAnswer, 90 * time.Second, func(w *world) { w.open = nil }, "1m30s a in_doubt->parked no_answer"},
		"none ever reported, and a server error": {message.Marketing, message.ReasonServerError, time.Hour, func(w *world) { w.open = nil }, "0s a " + retry},
		"the proof lags behind the window": {message.Authentication, message.ReasonNoAnswer, 10 * time.Minute, func(w *world) {
			w.open = func(now time.Duration) (time.Time, time.Time) { return time.Time{}, w.start.Add(now - 3*time.Second) }
		}, "4s a " + resend},
		"the proof stands still before it": {message.Authentication, message.ReasonNoAnswer, 80 * time.Second, func(w *world) {
			w.open = func(time.Duration) (time.Time, time.Time) { return time.Time{}, w.start.Add(-time.Second) }
		}, "1m26s a in_doubt->parked no_answer"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.mark = func(now time.Duration) time.Time { return w.start.Add(now) }
				tt.world(w)
				w.addInDoubt("a", tt.class, tt.reason, tt.deadline)
				d := &w.inDoubt[0]
				d.Began, d.Since, d.NextAt = w.start.Add(-30*time.Second), w.start.Add(-10*time.Second), w.start
				w.sweepFor(t, 20*time.Minute)
				w.want(t, tt.want)
			})
		})
	}
}

// TestARefusedWebhookAndAnOldRecord: a record without the start of its attempt may be of one that began a whole
// attempt before the message was in doubt.
func TestARefusedWebhookAndAnOldRecord(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.mark = func(now time.Duration) time.Time { return w.start.Add(now) }
		w.open = func(now time.Duration) (time.Time, time.Time) {
			return w.start.Add(-59 * time.Second), w.start.Add(now)
		}
		w.addInDoubt("a", message.Authentication, message.ReasonNoAnswer, 90*time.Second)
		w.sweepFor(t, 2*time.Minute)
		w.want(t, "1m30s a in_doubt->parked no_answer")
	})
}

// TestAMessageThatMeetsServerErrors: the number works, and the message has had the error as often as allowed: an
// operator decides.
func TestAMessageThatMeetsServerErrors(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]string{4: "0s a in_doubt->queued server_error", 5: "0s a in_doubt->parked attempts_used_up"} {
		t.Run(want, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.addInDoubt("a", message.Marketing, message.ReasonServerError, time.Hour)
				w.inDoubt[0].Failures = failures
				w.sweepFor(t, time.Second)
				w.want(t, want)
			})
		})
	}
}

// TestFewResends: more resends in a minute than one of a hundred sends mean that something
// else is wrong.
func TestFewResends(t *testing.T) {
	t.Parallel()
	for sends, resent := range map[int]int{0: 5, 499: 5, 1000: 10, 5000: 12} {
		t.Run(fmt.Sprint(sends), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.sends = sends
				for i := range 12 {
					w.addInDoubt(fmt.Sprint(i), message.Authentication, message.ReasonNoAnswer, time.Hour)
				}
				w.sweepFor(t, time.Second)
				var want []string
				for i := range 12 {
					if i < resent {
						want = append(want, fmt.Sprintf("0s %d in_doubt->queued resent_by_policy resend", i))
					} else {
						want = append(want, fmt.Sprintf("0s %d in_doubt->parked too_many_resends", i))
					}
				}
				w.want(t, want...)
			})
		})
	}
}

// TestAWatermarkFromTheFuture: it was written before the server's clock was set back, and proves nothing: no policy is
// applied.
func TestAWatermarkFromTheFuture(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.inDoubt = []message.Open{{ID: "a", State: message.InDoubt, Reason: message.ReasonNoAnswer, Message: message.Context{Class: message.Service}}}
		w.ends = []time.Time{w.start.Add(5 * time.Second)}
		w.mark = func(now time.Duration) time.Time {
			if now < 30*time.Second {
				return w.start.Add(time.Minute)
			}
			return w.start.Add(now)
		}
		w.sweepFor(t, 31*time.Second)
		w.want(t, "30s a in_doubt->parked no_answer")
	})
}
