package send_test

import (
	"fmt"
	"testing"
	"time"

	"sluice/internal/message"
)

// doubt adds one whose window is over, in doubt since the world's start.
func (w *world) doubt(id string, c message.Class, reason string, deadline time.Duration) {
	w.doubts = append(w.doubts, message.Open{
		ID: id, State: message.InDoubt, Reason: reason, Since: w.start, ExpiresAt: w.start.Add(deadline),
		Message: message.Context{From: number, Class: c},
	})
	w.ends = append(w.ends, w.start)
}

// TestSilenceIsNoEvidence: without webhooks nothing is resent or closed, for their evidence
// may be what we do not hear; a person may be asked, and at the deadline is.
func TestSilenceIsNoEvidence(t *testing.T) {
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
	never := func(w *world) { w.heard = func(time.Duration) time.Time { return time.Time{} } }
	owing := func(w *world) {
		never(w)
		w.owed = func(after, before time.Time) int64 { return 1 }
	}
	for name, tt := range map[string]test{
		"resend waits, then a person decides": {message.Authentication, message.ReasonNoAnswer, 90 * time.Second, never, "1m30s a in_doubt->parked no_answer"},
		"resend once a webhook came": {message.Authentication, message.ReasonNoAnswer, 10 * time.Minute, func(w *world) {
			w.heard = func(now time.Duration) time.Time {
				if now < 40*time.Second {
					return w.start.Add(-2 * time.Minute)
				}
				return w.start.Add(39 * time.Second)
			}
		}, "40s a " + resend},
		"a status made since the doubt began will do": {message.Authentication, message.ReasonNoAnswer, 10 * time.Minute, func(w *world) {
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
			heard := w.start.Add(-2 * time.Minute)
			w.heard = func(time.Duration) time.Time { return heard }
			w.owed = func(after, before time.Time) int64 {
				if !after.Equal(heard) || !before.Equal(w.start.Add(-time.Minute)) {
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
				w.doubt("a", tt.class, tt.reason, tt.deadline)
				w.sweepFor(t, 2*time.Minute)
				w.want(t, tt.want)
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
					w.doubt(fmt.Sprint(i), message.Authentication, message.ReasonNoAnswer, time.Hour)
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

// TestAWatermarkFromTheFuture: it was written before somebody set the server's clock back, and proves
// nothing: no policy is applied.
func TestAWatermarkFromTheFuture(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.doubts = []message.Open{{ID: "a", State: message.InDoubt, Reason: message.ReasonNoAnswer, Message: message.Context{Class: message.Service}}}
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
