package backlog_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sluice/internal/backlog"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
	"sluice/internal/redistest"
)

func TestReadReturnsWhatWaits(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]func(t *testing.T) string{
		"redis":     func(t *testing.T) string { return redistest.Start(t).Addr },
		"miniredis": func(t *testing.T) string { return miniredis.RunT(t).Addr() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testRead(t, open(t, addr(t)))
		})
	}
}

func testRead(t *testing.T, f *fixture) {
	const number = phone
	ctx, db := t.Context(), f.db
	add := func(id string, c message.Class, at time.Time) {
		t.Helper()
		f.add(queue.Task{ID: id, Number: number, Class: c, At: at})
	}
	keys := func(c message.Class) queue.Keys { return queue.KeysOf(shards.Of(number), number, c) }
	configured := func(string) int { return 80 }
	reader, controller := backlog.New(db, shards, configured), ratelimit.NewController(db, shards, configured)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	// Of utility 200 wait, the first for an hour; 100 that came again went to the head.
	k := keys(message.Utility)
	for i := range 200 {
		id := "m" + string(rune('0'+i/100)) + string(rune('0'+i/10%10)) + string(rune('0'+i%10))
		add(id, message.Utility, time.Time{})
		age := time.Hour - time.Duration(i)*time.Second
		check(db.HSet(ctx, k.Task+taskID(id, 0), "pending_since", time.Now().Add(-age).UnixNano()).Err())
	}
	for range 100 {
		id, err := db.LPop(ctx, k.Pending).Result()
		check(err)
		check(db.HSet(ctx, k.Task+id, "pending_since", time.Now().UnixNano()).Err())
		check(db.RPush(ctx, k.Pending, id).Err())
	}
	add("later", message.Marketing, time.Now().Add(time.Hour))
	k = keys(message.Marketing)
	check(db.ZAdd(ctx, k.Retry, redis.Z{Score: 1, Member: "again"}).Err())
	check(db.LPush(ctx, k.Active, "now").Err())
	check(db.Set(ctx, k.Paused, 1, 0).Err())
	check(db.Set(ctx, k.Processed, 12345, 0).Err())

	p, err := reader.Read(ctx, number)
	check(err)
	if p.Rate != 80 || p.Full != 80 || p.Configured != 80 || p.Ordered != 0 || !p.Ramp.IsZero() || p.Ceiling != 0 || !p.Pause.IsZero() {
		t.Errorf("untouched: %+v", p)
	}
	u, m := p.Waiting[message.Utility.Order()], p.Waiting[message.Marketing.Order()]
	// The 128th place from the head is looked at, and the oldest stands at the 101st.
	if u.Pending != 200 || u.Paused || u.Age() < 58*time.Minute || u.Age() > time.Hour+time.Minute {
		t.Errorf("utility: %+v, first for %v", u, u.Age())
	}
	if m.Pending != 0 || !m.Paused || m.Delayed != 2 || m.Active != 1 || m.Done != 12345 || m.Age() != 0 {
		t.Errorf("marketing: %+v", m)
	}
	if a := p.Waiting[0]; !reflect.DeepEqual(a, backlog.Waiting{Class: message.Authentication}) {
		t.Errorf("authentication: %+v", a)
	}

	check(controller.Set(ctx, number, 100, 20, time.Hour))
	check(controller.Pause(ctx, number, time.Minute))
	p, err = reader.Read(ctx, number)
	check(err)
	if p.Ordered != 100 || p.Rate < 20 || p.Rate > 30 || p.Full != p.Rate || time.Until(p.Ramp).Round(time.Minute) != time.Hour {
		t.Errorf("ramp: %+v", p)
	}
	if time.Until(p.Pause).Round(10*time.Second) != time.Minute {
		t.Errorf("pauses until %v", p.Pause)
	}
	check(controller.Set(ctx, number, 0, 0, 0))
	cut, err := controller.Throttled(ctx, number)
	check(err)
	p, err = reader.Read(ctx, number)
	check(err)
	if !cut || p.Rate != 40 || p.Full != 80 || p.Ceiling != 80 || p.Ordered != 0 || !p.Ramp.IsZero() {
		t.Errorf("cut: %+v", p)
	}
}
