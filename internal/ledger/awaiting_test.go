package ledger_test

import (
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/poll"
)

// TestSubmittedWithoutAStatus: a message that Meta took awaits its status until Meta reports one.
func TestSubmittedWithoutAStatus(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		a := f.attempting("a")
		before := time.Now().Add(-time.Second)
		if _, _, err := f.Finish(ctx, a, message.Move{To: message.Submitted, WAMID: "wamid.A"}); err != nil {
			t.Fatal(err)
		}
		after := time.Now().Add(time.Second)
		awaiting := func(from, to time.Time) int64 {
			n, err := f.CountAwaiting(ctx, f.shard, from, to)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if awaiting(time.Time{}, after) != 1 || awaiting(after, after.Add(time.Hour)) != 0 || awaiting(time.Time{}, before) != 0 {
			t.Error("the message does not await its status, or at another time")
		}
		if n, err := f.CountAllAwaiting(ctx, after); err != nil || n != 1 {
			t.Errorf("%d await a status in all shards, %v", n, err)
		}
		for _, tt := range []struct {
			number string
			before time.Time
			want   int
		}{{"", after, 1}, {number, after, 1}, {"999", after, 0}, {"", before, 0}} {
			some, err := f.AwaitingStatus(ctx, tt.number, tt.before, 10)
			if err != nil || len(some) != tt.want || tt.want == 1 && some[0].ID != a.ID {
				t.Errorf("without a status: %+v, %v; want %d", some, err, tt.want)
			}
		}
		if _, err := f.Apply(ctx, f.shard, []message.MarkedReport{{StatusReport: message.StatusReport{Number: number, WAMID: "wamid.A", Status: "sent"}}}, nil); err != nil {
			t.Fatal(err)
		}
		if n := awaiting(time.Time{}, after); n != 0 {
			t.Errorf("%d messages await a status after it came", n)
		}
	})
}

// TestPostpone: a postponed in-doubt message is not returned before that time, and keeps the time since when it is in doubt.
func TestPostpone(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		a := f.attempting("a")
		before := time.Now().Add(-time.Second)
		if _, _, err := f.Finish(ctx, a, message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer}); err != nil {
			t.Fatal(err)
		}
		now := time.Now().Add(time.Second)
		if err := f.Postpone(ctx, f.shard, []string{a.ID, "nobody"}, now.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			at   time.Duration
			want int
		}{{0, 0}, {time.Minute, 1}} {
			some, err := f.WindowEnded(ctx, f.shard, now.Add(tt.at), 10)
			if err != nil || len(some) != tt.want {
				t.Fatalf("after %s: %+v, %v", tt.at, some, err)
			}
			if tt.want == 1 && (some[0].Since.Before(before) || some[0].Since.After(now)) {
				t.Errorf("in doubt since %s, not between %s and %s", some[0].Since, before, now)
			}
		}
	})
}

// TestInDoubtAge: of the oldest message that is in doubt, also when its check was postponed.
func TestInDoubtAge(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		age := func() time.Duration {
			t.Helper()
			d, err := f.InDoubtAge(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return d[message.Utility]
		}
		if d := age(); d != 0 {
			t.Errorf("%s without an in-doubt message", d)
		}
		began := time.Now()
		for _, key := range []string{"a", "b"} {
			if _, _, err := f.Finish(ctx, f.attempting(key), message.Move{To: message.InDoubt, In: time.Minute, Reason: message.ReasonNoAnswer}); err != nil {
				t.Fatal(err)
			}
			if err := f.Postpone(ctx, f.shard, []string{message.NewID(number, key)}, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			poll.Until(t, "its age grows", func() bool { return age() > 20*time.Millisecond })
		}
		if d := age(); d > time.Since(began)+time.Second {
			t.Errorf("%s after %s", d, time.Since(began))
		}
	})
}
