package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/events"
	"sluice/internal/fleet"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/ratelimit"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// snapshots are two snapshots, 2 s apart, of three numbers.
func snapshots() (before, now snapshot) {
	pace := func(number string, rate, full float64, done int, classes ...backlog.Waiting) backlog.Number {
		p := backlog.Number{Number: number, Configured: int(full), Rate: rate, Full: full, Waiting: make([]backlog.Waiting, 4)}
		for i, c := range message.Classes() {
			p.Waiting[i].Class = c
		}
		for _, w := range classes {
			p.Waiting[w.Class.Order()] = w
		}
		p.Waiting[0].Done = done
		return p
	}
	ago := func(d time.Duration) time.Time { return time.Now().UTC().Add(-d) }
	before = snapshot{at: ago(2 * time.Second), rates: []backlog.Number{pace("106540352242922", 80, 80, 1000)}}
	held := pace("106540352242924", 1000, 1000, 0, backlog.Waiting{Class: message.Utility, Pending: 400, Oldest: ago(time.Hour)})
	cut := pace("106540352242923", 40, 80, 7,
		backlog.Waiting{Class: message.Service, Pending: 500, Oldest: ago(125 * time.Second), Paused: true},
		backlog.Waiting{Class: message.Utility, Pending: 60, Oldest: ago(3 * time.Second)},
	)
	cut.Ceiling, cut.Pause = 80, time.Now().Add(time.Second)
	now = snapshot{ago(0), []backlog.Number{held, cut, pace("106540352242922", 80, 80, 1157,
		backlog.Waiting{Class: message.Authentication, Active: 3, Delayed: 1},
		backlog.Waiting{Class: message.Marketing, Pending: 1e6, Oldest: ago(26 * time.Hour), Active: 9, Delayed: 20},
	)}, ledger.Backlog{Waiting: 1000593, InDoubt: 3, Parked: 1, Dead: 2}, []message.Hold{
		{Number: "106540352242922", Template: "a/en"},
		{Number: "106540352242922", Template: "b/en"},
		{Number: "106540352242924", Template: "a/en"},
		{Number: "106540352242924"},
	}, map[string]int{"106540352242922": 77, "106540352242924": 400}, events.Kept{}}
	return before, now
}

func compare(t *testing.T, got, want string) {
	t.Helper()
	var trimmed strings.Builder
	for line := range strings.Lines(got) {
		trimmed.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if want = strings.TrimPrefix(want, "\n"); trimmed.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &trimmed, want)
	}
}

func TestTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where it is midnight of 2000-01-01
		before, now := snapshots()
		compare(t, now.table(before, 0), `
00:00:00  waiting 1000581 (held 477), attempting 12, in doubt 3, parked 1, dead letters 2

PHONE NUMBER ID  RATE/LIMIT  REFUSED AT  PAUSE  HOLD         HELD  DONE/S  ACTIVE  AUTHENTICATION  SERVICE             UTILITY      MARKETING        LATER  ETA
106540352242922  80/80       -           -      2 templates  77    78.5    12      -               -                   -            1000000 (1d02h)  21     3h28m
106540352242923  40/80       80          1s     -            -     -       0       -               500 (2m05s) paused  60 (3s)      -                -      2s
106540352242924  1000/1000   -           -      all          400   -       0       -               -                   400 (1h00m)  -                -      held
`)
		now.holds = now.holds[1:]
		now.kept = events.Kept{At: time.Now(), Bytes: 1300 << 20, Budget: 4 << 30, Retention: 24 * time.Hour, Effective: 24 * time.Hour}
		compare(t, now.table(snapshot{}, 1), `
00:00:00  waiting 1000581 (held 477), attempting 12, in doubt 3, parked 1, dead letters 2

PHONE NUMBER ID  RATE/LIMIT  REFUSED AT  PAUSE  HOLD        HELD  DONE/S  ACTIVE  AUTHENTICATION  SERVICE  UTILITY  MARKETING        LATER  ETA
106540352242922  80/80       -           -      1 template  77    -       12      -               -        -        1000000 (1d02h)  21     3h28m
and 2 more numbers, with 960 waiting

EVENTS: 1.2 GiB of 4.0 GiB, kept for 1d00h
`)
		now.kept.Bytes, now.kept.Effective = 4<<30, 370*time.Minute
		if got := now.table(snapshot{}, 1); !strings.HasSuffix(got, "\n\nEVENTS: 4.0 GiB of 4.0 GiB, kept for 6h10m instead of 1d00h: they use all their memory\n") {
			t.Errorf("events dropped before their time:\n%s", got)
		}
	})
}

// The live view draws every snapshot over the last, says when Redis does not answer, and leaves the
// terminal as it was.
func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		begin, n := time.Now(), 0
		var out bytes.Buffer
		err := topCmd{Interval: 2 * time.Second}.live(ctx, &out, func(context.Context) (snapshot, error) {
			if took := time.Since(begin); took != time.Duration(n)*2*time.Second {
				t.Errorf("snapshot %d after %v", n, took)
			}
			switch n++; n {
			case 2, 3:
				return snapshot{}, errors.New("redis is away")
			case 5:
				defer stop()
			}
			_, now := snapshots()
			seconds := int(time.Since(begin).Seconds())
			now.rates[2].Waiting[0].Done = 10 * seconds * seconds
			return now, nil
		})
		if err != nil || n != 5 {
			t.Fatalf("%v after %d snapshots", err, n)
		}
		text, on := strings.CutPrefix(out.String(), screenOn)
		text, off := strings.CutSuffix(text, screenOff)
		if !on || !off {
			t.Errorf("the terminal is not as it was: %q", out.String())
		}
		if !strings.Contains(text, "  60.0  ") || !strings.Contains(text, "  140.0  ") { // since the last snapshot that succeeded
			t.Errorf("throughput: %s", text)
		}
		var heads []string
		for i, frame := range strings.SplitAfter(text, screenEnd) {
			if frame == "" {
				break
			}
			if !strings.HasPrefix(frame, home) || strings.Count(frame, "\n") != 6 || strings.Count(frame, "\n") != strings.Count(frame, lineEnd) {
				t.Errorf("frame %d: %q", i, frame)
			}
			head, _, _ := strings.Cut(strings.TrimPrefix(frame, home), lineEnd)
			heads = append(heads, head)
		}
		compare(t, strings.Join(heads, "\n"), `
00:00:00  waiting 1000581 (held 477), attempting 12, in doubt 3, parked 1, dead letters 2
since 00:00:00: redis is away
since 00:00:00: redis is away
00:00:06  waiting 1000581 (held 477), attempting 12, in doubt 3, parked 1, dead letters 2
00:00:08  waiting 1000581 (held 477), attempting 12, in doubt 3, parked 1, dead letters 2
`)
	})
}

// env is an environment of these names and values.
func env(pairs ...string) getenv {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestTopOnRedis(t *testing.T) {
	t.Chdir(t.TempDir()) // no sluice.yaml here
	const number = "106540352242922"
	url := redistest.Start(t).URL()
	top := func() string {
		t.Helper()
		var out strings.Builder
		if err := (topCmd{Interval: time.Second}).run(t.Context(), env("SLUICE_REDIS_URL", url, "PHONE_NUMBER_ID", number), &out, false); err != nil {
			t.Fatal(err)
		}
		return strings.Join(strings.Fields(out.String()), " ")
	}
	db, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rates := ratelimit.NewController(db, message.DefaultShards, func(string) int { return 80 })
	if err := rates.Set(t.Context(), number, 30, 0, 0); err != nil {
		t.Fatal(err)
	}
	if got := top(); !strings.HasSuffix(got, " ETA "+number+" 30/30 - - - - - 0 - - - - - -") || !strings.Contains(got, "waiting 0 (held 0), attempting 0, in doubt 0, parked 0, dead letters 0") {
		t.Errorf("top: %s", got)
	}
	if err := rates.Set(t.Context(), number, 500, 10, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := top(); !strings.Contains(got, number+" 10/10 ") {
		t.Errorf("top: %s", got)
	}
	var out strings.Builder
	if err := (topCmd{Interval: time.Second}).run(t.Context(), env("SLUICE_REDIS_URL", url), &out, false); err == nil || !strings.Contains(err.Error(), "no phone number id is configured") {
		t.Errorf("no numbers: %v", err)
	}
}

func TestDescribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for want, n := range map[string]fleet.Number{
			"80 messages per second, as configured":                                                                           {Configured: 80, Rate: 80, Limit: 80},
			"30 messages per second, set instead of the configured 80":                                                        {Configured: 80, Rate: 30, Limit: 30, SetRate: 30},
			"40 messages per second, increasing back to 80, as configured; Meta last refused at 80 per second; paused for 1s": {Configured: 80, Rate: 40, Limit: 80, RefusedAt: 80, PauseUntil: time.Now().Add(time.Second)},
			"10 messages per second, increasing to 500 until 2000-01-01 01:00 UTC, set instead of the configured 80":          {Configured: 80, Rate: 10, Limit: 500, SetRate: 500, RampUntil: time.Now().Add(time.Hour)},
		} {
			if got := describe(n); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	})
}
