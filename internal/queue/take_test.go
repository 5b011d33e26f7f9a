package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ledger"
	"sluice/internal/message"
)

// setupRecords is setup with tasks that have records.
func setupRecords(t testing.TB) *fixture {
	f := setup(t)
	f.standing, f.records = ledger.StandingLua, ledger.RecordPrefix
	return f
}

// record writes tasks' records as the ledger does, changed by fields.
func (f *fixture) record(tasks []Task, fields ...any) {
	f.t.Helper()
	err := f.db.Pipe(f.t.Context(), func(p redis.Pipeliner) {
		for _, task := range tasks {
			key := ledger.RecordPrefix(shards.Of(task.Number)) + task.ID
			p.HSet(f.t.Context(), key, "st", "queued", "k", task.K, "exp", time.Now().Add(24*time.Hour).UnixMilli(), "next", 0)
			if len(fields) > 0 {
				p.HSet(f.t.Context(), key, fields...)
			}
		}
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// finish acknowledges tasks that were taken, as asynq's server does.
func (f *fixture) finish(c message.Class, ids ...string) {
	f.t.Helper()
	k := asynqKeys(name(shards.Of(phone), phone, c))
	err := f.db.Pipe(f.t.Context(), func(p redis.Pipeliner) {
		for _, id := range ids {
			p.LRem(f.t.Context(), k.active, 0, taskID(id, 1))
			p.ZRem(f.t.Context(), k.lease, taskID(id, 1))
			p.Del(f.t.Context(), k.task+taskID(id, 1))
		}
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// tat is the end of a number's line in microseconds.
func (f *fixture) tat(number string) int64 {
	n, _ := f.db.HGet(f.t.Context(), lineKey(shards.Of(number), number), "tat").Int64()
	return n
}

func TestRecordsTheLedgerMakesAreKnownToTheGate(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	book := ledger.New(f.db, ledger.Options{})
	ids := map[string]string{}
	accept := func(id string, m message.Message) {
		t.Helper()
		ids[id] = message.NewID(phone, id)
		m.ID, m.From, m.Class, m.Payload = ids[id], phone, message.Utility, []byte("{}")
		m.Content.To = "+4915112345678"
		a, err := book.Accept(m, "nonce")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.db.Tx(t.Context(), func(p redis.Pipeliner) error { a.Add(t.Context(), p); return nil }); err != nil {
			t.Fatal(err)
		}
		f.add(Task{ID: m.ID, K: 0, Number: phone, Class: m.Class})
	}
	tomorrow := time.Now().Add(24 * time.Hour)
	accept("old", message.Message{ExpiresAt: time.Now().Add(-time.Second)})
	accept("later", message.Message{ExpiresAt: tomorrow, SendAt: time.Now().Add(time.Hour)})
	accept("good", message.Message{ExpiresAt: tomorrow})
	f.add(Task{ID: phone + "-stranger", Number: phone, Class: message.Utility})
	g, _ := f.gate("w", Number{ID: phone, Rate: 80})
	if got := take(t, g, g.number(phone), 100); !slices.Equal(got, []string{ids["good"]}) {
		t.Errorf("taken %q", got)
	}
	if i := f.info(phone, message.Utility); i.Scheduled != 1 || i.Active != 1 || i.Pending != 0 || i.Size != 2 {
		t.Errorf("%+v", i)
	}
	if n := f.db.Exists(t.Context(), f.db.Keys(t.Context(), "sluice:*pair:*").Val()...).Val(); n != 1 {
		t.Errorf("%d recipients are remembered, want one", n)
	}
}

func TestWhatCannotBeSentIsSetAsideWithoutASlot(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	due := c.base.Add(90*time.Second + 300*time.Millisecond)
	kinds := []struct {
		name   string
		fields []any // nil: no record
		later  bool
	}{
		{"cancelled", []any{"st", "cancelled"}, false},
		{"expired", []any{"exp", c.base.UnixMilli()}, false},
		{"stray", nil, false},
		{"replaced", []any{"k", 2}, false},
		{"later", []any{"next", due.UnixMilli()}, true},
		{"settled", []any{"st", "delivered"}, false},
	}
	for _, kind := range kinds {
		tasks := []Task{{ID: phone + "-" + kind.name, K: 1, Number: phone, Class: message.Service}}
		f.add(tasks...)
		if kind.fields != nil {
			f.record(tasks, kind.fields...)
		}
	}
	good := many(2, phone, message.Service)
	f.add(good...)
	f.record(good)
	g, n := c.gate("w", 80)
	if got := take(t, g, n, 100); !slices.Equal(got, []string{good[0].ID, good[1].ID}) {
		t.Errorf("taken %q", got)
	}
	f.finish(message.Service, good[0].ID, good[1].ID)
	if line := f.tat(phone) - c.base.Add(2*time.Millisecond).UnixMicro(); line != (2 * spaced(80)).Microseconds() {
		t.Errorf("the line went on by %d us, want two slots", line)
	}
	k := asynqKeys(name(shards.Of(phone), phone, message.Service))
	for _, kind := range kinds {
		id := phone + "-" + kind.name + ".1"
		if there := f.db.Exists(t.Context(), k.task+id).Val() == 1; there != kind.later {
			t.Errorf("%s: the task is there: %t", kind.name, there)
		}
	}
	if at := f.db.ZScore(t.Context(), k.scheduled, phone+"-later.1").Val(); at != float64(due.Unix()+1) {
		t.Errorf("it is to come back at %.0f, want %d", at, due.Unix()+1)
	}
	c.set(92 * time.Second)
	g.tidyUp(t.Context(), n)
	if got := take(t, g, n, 100); !slices.Equal(got, []string{phone + "-later"}) {
		t.Errorf("taken when its time had come: %q", got)
	}
}

func TestAThousandToSetAsideDelayTheNextByALookOrTwo(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	bad, good := many(1000, phone, message.Marketing), many(1, phone, message.Utility)[:1]
	good[0].Class = message.Marketing
	f.add(bad...)
	f.add(good...)
	f.record(bad, "st", "cancelled")
	f.record(good)
	g, _ := f.gate("w", Number{ID: phone, Rate: 80})
	n := g.number(phone)
	for look := 1; ; look++ {
		tasks, next, err := g.takeTasks(t.Context(), n, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(tasks) == 1 {
			break
		}
		if look == 3 || next > 2*time.Millisecond {
			t.Fatalf("nothing after %d looks, the next is in %v", look, next)
		}
	}
	if i := f.info(phone, message.Marketing); i.Size != 1 || i.Active != 1 {
		t.Errorf("%+v", i)
	}
}

func TestOneRecipientGetsABurstThenOneEachSixSeconds(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	same, others := many(60, phone, message.Marketing), many(70, phone, message.Marketing)[60:]
	f.add(same...)
	f.record(same, "pair", "a")
	f.add(others...)
	f.record(others)
	g, n := c.gate("w", 2000)
	want := slices.Concat(same[:45], others) // the rest steps back, the others overtake
	if got := take(t, g, n, 1000); len(got) != 55 || got[44] != want[44].ID || got[45] != others[0].ID || got[54] != others[9].ID {
		t.Fatalf("taken %d: %q", len(got), got)
	} else {
		f.finish(message.Marketing, got...)
	}
	line := f.tat(phone) - c.base.Add(2*time.Millisecond).UnixMicro()
	if line != (55 * spaced(2000)).Microseconds() {
		t.Errorf("55 tasks used %d us of the line, want %v", line, 55*spaced(2000))
	}
	if i := f.info(phone, message.Marketing); i.Scheduled != 15 || i.Pending != 0 {
		t.Errorf("%+v", i)
	}
	for i, at := range []time.Duration{5 * time.Second, 6 * time.Second, 11 * time.Second, 12 * time.Second, 18 * time.Second, 90 * time.Second} {
		c.set(at)
		g.tidyUp(t.Context(), n)
		got := take(t, g, n, 1000)
		if want := []int{0, 1, 0, 1, 1, 12}[i]; len(got) != want {
			t.Errorf("after %v %d were taken, want %d", at, len(got), want)
		}
		f.finish(message.Marketing, got...)
	}
}

// Authentication without end leaves the others a 20th of the slots, however often the gate looks.
func TestAFloodLeavesTheOthersTheirShare(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, 90 * time.Millisecond} {
		t.Run(every.String(), func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			for _, class := range message.Classes() {
				f.add(many(900, phone, class)...)
			}
			c := f.stopClock()
			g, n := c.gate("w", 80)
			count := map[string]int{}
			total := 0
			for at := time.Duration(0); total < 600; at += every {
				c.set(at)
				for _, id := range take(t, g, n, 100) {
					class := strings.TrimRight(strings.TrimPrefix(id, phone+"-"), "0123456789")
					count[class]++
					total++
				}
			}
			for _, class := range message.Classes()[1:] {
				if got := count[string(class)]; got < 9 || got > 11 {
					t.Errorf("%d of %d slots went to %s, want a 60th", got, total, class)
				}
			}
		})
	}
}

// The same with handlers and a line between: those of the others do leave.
func TestAFloodStarvesNobodyAtTheWorker(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(1500, phone, message.Authentication)...)
	f.add(many(20, phone, message.Marketing)...)
	j := newJournal()
	f.serve("w", j.handle, Number{ID: phone, Rate: 200})
	j.wait(t, 600)
	marketing := 0
	for _, id := range j.sent()[:600] {
		if strings.Contains(id, "marketing") {
			marketing++
		}
	}
	if marketing < 15 {
		t.Errorf("%d of 600 were marketing messages, want about a 20th", marketing)
	}
}

// A worker that stands by takes nothing while the other keeps up, be it ever so urgent.
func TestTheStandbyLeavesTheLineToItsOwner(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(500, phone, message.Marketing)...)
	c := f.stopClock()
	a, na := c.gate("a", 80)
	b, nb := c.gate("b", 80)
	take(t, a, na, 100)
	for at := 40 * time.Millisecond; at < time.Second; at += 40 * time.Millisecond {
		c.set(at)
		f.add(Task{ID: fmt.Sprint(phone, "-", at), Number: phone, Class: message.Authentication})
		if got := take(t, b, nb, 100); len(got) != 0 {
			t.Fatalf("after %v the other worker took %q", at, got)
		}
		if got := take(t, a, na, 100); !slices.Contains(got, fmt.Sprint(phone, "-", at)) {
			t.Errorf("after %v the owner took %q, want the urgent one", at, got)
		}
	}
	c.set(1400 * time.Millisecond) // the owner is dead
	if got := take(t, b, nb, 100); len(got) == 0 {
		t.Error("the other worker does not take over")
	}
}

func TestRoomGoesByTheAnswerTime(t *testing.T) {
	t.Parallel()
	f := setupMini(t)
	for _, c := range []struct {
		rate   int
		answer time.Duration
		inHand int
		want   int
	}{
		{80, 0, 0, 20},
		{80, 200 * time.Millisecond, 0, 3*16 + 16},
		{80, time.Second, 0, 2*80 + 20}, // no more than two seconds' worth
		{80, time.Minute, 0, 2*80 + 20},
		{80, time.Minute, 180, 0},
		{1000, 200 * time.Millisecond, 0, 600 + 200},
		{1, time.Minute, 0, 22},
	} {
		g, _ := f.gate("w", Number{ID: phone, Rate: c.rate})
		n := g.number(phone)
		for range 1000 { // each lets the next be one more
			n.answered(c.answer)
		}
		for i := range c.inHand {
			n.hold([]task{{0, fmt.Sprint(i), ""}})
		}
		if got := n.room(true); got < c.want-1 || got > c.want+1 {
			t.Errorf("rate %d, answers after %v, %d in hand: room for %d, want %d", c.rate, c.answer, c.inHand, got, c.want)
		}
	}
}

// A worker begins with little in hand. When tasks miss their slots it takes on half of what it
// has, and then slowly more.
func TestRoomGoesByMissedSlots(t *testing.T) {
	t.Parallel()
	f := setupMini(t)
	g, _ := f.gate("w", Number{ID: phone, Rate: 1000})
	n := g.number(phone)
	room := func(want int) {
		t.Helper()
		if got := n.room(true); got != want {
			t.Errorf("room for %d, want %d", got, want)
		}
	}
	room(64)
	for range 100 {
		n.answered(time.Second)
	}
	room(164)
	for i := range 150 {
		n.hold([]task{{0, fmt.Sprint(i), ""}})
	}
	n.missed()
	n.missed() // of the same moment
	room(75 - 150)
	for range 30 {
		n.answered(time.Second)
	}
	if got := n.room(true) + 150; got < 76 || got > 78 {
		t.Errorf("after 30 answers %d in hand at most, want one or two more than 75", got)
	}
}

// A look for tasks is put off until there is room for an eighth of what may be in hand, unless
// somebody calls.
func TestALittleRoomIsWorthNoLook(t *testing.T) {
	t.Parallel()
	f := setupMini(t)
	g, _ := f.gate("w", Number{ID: phone, Rate: 1000})
	n := g.number(phone)
	for i := range 64 {
		n.hold([]task{{0, fmt.Sprint(i), ""}})
	}
	for i := range 8 {
		if quiet, called := n.room(false), n.room(true); quiet != 0 || called != i {
			t.Errorf("%d of 64 in hand: room for %d, when called for %d", 64-i, quiet, called)
		}
		n.release(fmt.Sprint(i))
	}
	if got := n.room(false); got != 8 {
		t.Errorf("56 of 64 in hand: room for %d", got)
	}
}

// A Meta that does not answer holds up its own number only, and is not buried.
func TestASlowNumberKeepsItsRequestsFew(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const slow, quick = phone, "206540352242922"
	f.add(many(400, slow, message.Utility)...)
	f.add(many(60, quick, message.Utility)...)
	j := newJournal()
	release := make(chan struct{})
	defer close(release)
	f.serve("w", func(ctx context.Context, id string, k int, slots *Slots) error {
		if strings.HasPrefix(id, slow) {
			if _, err := slots.Wait(ctx); err != nil {
				return Later{}
			}
			<-release
			return nil
		}
		return j.handle(ctx, id, k, slots)
	}, Number{ID: slow, Rate: 80}, Number{ID: quick, Rate: 80})
	j.wait(t, 60)
	if active := f.info(slow, message.Utility).Active; active < 20 || active > 180 {
		t.Errorf("%d tasks of the slow number are in hand, want 180 at most", active)
	}
}
