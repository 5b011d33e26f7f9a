package backlog_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/message"
	"sluice/internal/portfolio"
	"sluice/internal/queue"
)

// waiting is a number with so many pending, by class.
func waiting(n backlog.Number, pending ...int) backlog.Number {
	for i, c := range message.Classes() {
		n.Waiting = append(n.Waiting, backlog.Waiting{Class: c, Pending: pending[i]})
	}
	return n
}

// TestSendETA: a new message is sent after those of its class and flow that wait and the new ones before it. They need capacity under the
// messaging limit too.
func TestSendETA(t *testing.T) {
	t.Parallel()
	f := setup(t)
	limits := portfolio.New(f.db, 24*time.Hour)
	if err := limits.Learn(t.Context(), phone, "p", 1000); err != nil {
		t.Fatal(err)
	}
	state, err := limits.State(t.Context(), phone)
	if err != nil {
		t.Fatal(err)
	}
	steady := waiting(backlog.Number{Configured: 80, Rate: 80, Full: 80}, 0, 0, 80, 160)
	limited := steady
	limited.Portfolio = state
	for _, c := range []struct {
		name       string
		number     backlog.Number
		class      message.Class
		ahead      int
		least, max time.Duration
	}{
		{"the first", steady, message.Marketing, 0, 3 * time.Second, 3 * time.Second},
		{"after 800", steady, message.Marketing, 800, 13 * time.Second, 13 * time.Second},
		{"after 800 of a more urgent class", steady, message.Utility, 800, 11 * time.Second, 11 * time.Second},
		{"within the messaging limit", limited, message.Marketing, 400, 8 * time.Second, 8 * time.Second},
		{"over the messaging limit", limited, message.Marketing, 1600, 24 * time.Hour, 48 * time.Hour},
		{"service needs no capacity", limited, message.Service, 1600, 20 * time.Second, 20 * time.Second},
	} {
		if got := c.number.SendETA(c.class, message.Flow{}, c.ahead); got < c.least-time.Millisecond || got > c.max+time.Millisecond {
			t.Errorf("%s: %v, want %v to %v", c.name, got, c.least, c.max)
		}
	}
}

func TestETA(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := func(d time.Duration) time.Time { return time.Now().Add(d) }
		steady := backlog.Number{Configured: 80, Rate: 80, Full: 80}
		paused := waiting(steady, 0, 8000, 0, 0)
		paused.Waiting[1].Paused = true
		cases := []struct {
			name   string
			number backlog.Number
			class  message.Class
			want   time.Duration
			empty  time.Duration
		}{
			{"nothing waits", waiting(steady, 0, 0, 0, 0), message.Marketing, 0, 0},
			{"the class and more urgent ones", waiting(steady, 80, 160, 80, 8000), message.Utility, 4 * time.Second, 104 * time.Second},
			{"less urgent ones are overtaken", waiting(steady, 0, 0, 0, 80e6), message.Authentication, 0, 1e6 * time.Second},
			{"a least share", waiting(steady, 80e6, 0, 3, 0), message.Utility, 3 * time.Second, 0},
			{"no share for the most urgent", waiting(steady, 80e3, 0, 0, 0), message.Authentication, 1000 * time.Second, 1000 * time.Second},
			{"a pause", waiting(backlog.Number{Configured: 80, Rate: 80, Full: 80, Pause: in(time.Second)}, 80, 0, 0, 0), message.Authentication, 2 * time.Second, 2 * time.Second},
			{"a pause that is over", waiting(backlog.Number{Configured: 80, Rate: 80, Full: 80, Pause: in(-time.Hour)}, 80, 0, 0, 0), message.Authentication, time.Second, time.Second},
			// 50 increases to 100 by 2 a second, in 25 s, which takes 75 * 25 messages.
			{"increasing again", waiting(backlog.Number{Configured: 100, Rate: 50, Full: 100}, 75*25+100, 0, 0, 0), message.Authentication, 26 * time.Second, 26 * time.Second},
			// After 10 s it is at 70: (50+70)/2 * 10 messages.
			{"during the increase", waiting(backlog.Number{Configured: 100, Rate: 50, Full: 100}, 600, 0, 0, 0), message.Authentication, 10 * time.Second, 10 * time.Second},
			{"set at run time", waiting(backlog.Number{Configured: 80, Ordered: 10, Rate: 10, Full: 10}, 80, 0, 0, 0), message.Authentication, 8 * time.Second, 8 * time.Second},
			// 10 to 30 in 100 s; after half of it, at 20.
			{"a ramp", waiting(backlog.Number{Configured: 80, Ordered: 30, Rate: 10, Full: 10, Ramp: in(100 * time.Second)}, 750, 0, 0, 0), message.Authentication, 50 * time.Second, 50 * time.Second},
			{"after a ramp", waiting(backlog.Number{Configured: 80, Ordered: 30, Rate: 10, Full: 10, Ramp: in(100 * time.Second)}, 2000+30, 0, 0, 0), message.Authentication, 101 * time.Second, 101 * time.Second},
			{"a paused class is not waited for", paused, message.Utility, 0, 0},
			{"in a paused class", paused, message.Service, 100 * time.Second, 0},
		}
		for _, c := range cases {
			if got := c.number.SlotETA(c.class, message.Flow{}); (got - c.want).Abs() > time.Millisecond {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
			if got := c.number.ETAAll(); c.empty != 0 && (got-c.empty).Abs() > time.Millisecond {
				t.Errorf("%s: empty in %v, want %v", c.name, got, c.empty)
			}
		}
	})
}

// TestRatesOfCampaigns: an estimate for a campaign with a rate knows the rate and its ramp, also those of other classes. Others do not wait for it.
func TestRatesOfCampaigns(t *testing.T) {
	t.Parallel()
	f := setup(t)
	slow, ramping, free := message.Flow{Client: "a", Campaign: "slow"}, message.Flow{Client: "a", Campaign: "ramping"}, message.Flow{Client: "a", Campaign: "free"}
	for _, flow := range []message.Flow{slow, ramping, free} {
		for i := range 61 {
			f.add(queue.Task{ID: fmt.Sprintf("%s-%s%d", phone, flow.Campaign, i), K: 1, Number: phone, Class: message.Marketing, Flow: flow})
			if i == 60 && flow == slow { // what waits long because of its rate is not late
				key := queue.KeysOf(shards.Of(phone), phone, message.Marketing).Task + taskID(phone+"-slow0", 1)
				f.db.HSet(t.Context(), key, "pending_since", time.Now().Add(-time.Hour).UnixNano())
			}
		}
	}
	r := backlog.New(f.db, shards, func(string) int { return 80 })
	read := func() backlog.Number {
		t.Helper()
		n, err := r.Read(t.Context(), phone)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	in := func(what string, got, want time.Duration) {
		t.Helper()
		if got < want-100*time.Millisecond || got > want+100*time.Millisecond {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	if n := read(); n.Waiting[3].Slowed != 0 || n.Waiting[3].Age() < time.Hour-time.Minute || n.ETAAll() > 5*time.Second {
		t.Errorf("without settings: %+v, all in %v", n.Waiting[3], n.ETAAll())
	}
	now := time.Now()
	r.RateCampaigns(func(f message.Flow) message.CampaignSettings {
		return map[message.Flow]message.CampaignSettings{
			slow: {Rate: 0.5}, ramping: {Rate: 2, RampFrom: 1, RampOver: 20 * time.Second, RampAt: now},
		}[f]
	})
	n := read()
	if w := n.Waiting[3]; w.Slowed != 122 || w.Age() > time.Minute {
		t.Errorf("with settings: %d slowed, the oldest other one waits for %v", w.Slowed, w.Age())
	}
	last := func(f message.Flow) time.Duration {
		pending, in := backlog.FlowETA([]backlog.Number{n}, f)
		return in(pending - 1)
	}
	in("0.5 a second", last(slow), 120*time.Second)
	in("a ramp", last(ramping), 35*time.Second) // 30 while it grows, then 30
	in("a new one", n.SendETA(message.Marketing, slow, 9), 140*time.Second)
	in("all", n.ETAAll(), 122*time.Second)
	in("the class", n.ETA(message.Marketing), 122*time.Second)
	if got := last(free); got > 5*time.Second {
		t.Errorf("a campaign without a rate: %v", got)
	}
	f.db.Set(t.Context(), queue.FlowRateKey(shards.Of(phone), phone, slow), time.Now().Add(1500*time.Millisecond).UnixMicro(), 0)
	first, err := r.Position(t.Context(), phone, message.Marketing, slow, phone+"-slow0", 1)
	if err != nil || !first.Rated || first.Ahead != 0 || first.In < time.Second {
		t.Errorf("the next one of a campaign with a rate: %+v, %v", first, err)
	}
	for id, rated := range map[string]bool{phone + "-slow60": true, phone + "-free60": false} {
		flow := free
		if rated {
			flow = slow
		}
		s, err := r.Position(t.Context(), phone, message.Marketing, flow, id, 1)
		if err != nil || s.Rated != rated || s.Ahead != 60 {
			t.Errorf("%s: %+v, %v", id, s, err)
		}
	}
}
