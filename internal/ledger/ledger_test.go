package ledger_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/redistest"
)

func TestAccept(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		m := newMessage("k1")
		want := message.Acceptance{ID: m.ID, State: message.Queued, Class: message.Utility, ExpiresAt: m.ExpiresAt}
		if got, err := f.tryAccept(m); err != nil || got != want {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}

		later := m
		later.ExpiresAt = m.ExpiresAt.Add(time.Minute)
		want.Duplicate = true
		for range 2 { // a repeated request, or one after a lost answer: they look the same
			if got, err := f.tryAccept(later); err != nil || got != want {
				t.Errorf("a repeat: %+v, %v, want %+v", got, err, want)
			}
		}

		other := m
		other.Hash, other.Payload = "hash-2", json.RawMessage(`{}`)
		if got, err := f.tryAccept(other); err != message.ErrKeyReused {
			t.Errorf("other content under the same key: %+v, %v", got, err)
		}
		if n := f.tasksOf(m.ID); n != 1 {
			t.Errorf("it has %d tasks", n)
		}

		f.wantChanges(m.ID, "queued 0  0 ")
		r := f.get(m.ID)
		if age := time.Since(r.AcceptedAt); age < -time.Second || age > time.Minute {
			t.Errorf("accepted at %s", r.AcceptedAt)
		}
		wantRecord := message.Record{
			Context: m.Context(), State: message.Queued, AcceptedAt: r.AcceptedAt, ExpiresAt: m.ExpiresAt,
			Timeline: []message.Step{{At: r.AcceptedAt, State: message.Queued}},
		}
		if !reflect.DeepEqual(r, wantRecord) {
			t.Errorf("record %+v\nwant   %+v", r, wantRecord)
		}
		if got := f.begun(m.ID, 0, "w/1").Payload; !bytes.Equal(got, m.Payload) {
			t.Errorf("payload %s", got)
		}
		f.wantLife(m.ID, 0)
		if ttl := f.db.TTL(t.Context(), ledger.RecordPrefix(f.shard)+m.ID).Val(); ttl != -1 {
			t.Errorf("Redis would drop it after %s", ttl)
		}
		if e := f.events()[0]; !reflect.DeepEqual(*e.Message, m.Context()) {
			t.Errorf("event's message %+v, want %+v", *e.Message, m.Context())
		}
	})
}

func TestAcceptOfAnEndedMessage(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("k1")
		f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		got, err := f.tryAccept(newMessage("k1"))
		if err != nil || !got.Duplicate || got.State != message.Submitted {
			t.Errorf("%+v, %v", got, err)
		}
		if f.tasksOf(a.ID) > 1 || f.backlog() != (ledger.Backlog{}) {
			t.Error("the repeat revived the message")
		}
	})
}

func TestAcceptRefusesAnInvalidID(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	m := newMessage("k1")
	m.ID = "order-1"
	if _, err := f.tryAccept(m); err == nil {
		t.Error("accepted")
	}
}

func TestSendAt(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		m := newMessage("k1")
		m.SendAt = m.ExpiresAt.Add(-30 * time.Minute)
		f.acceptedAs(m)
		if r := f.get(m.ID); !r.SendAt.Equal(m.SendAt) || !r.NextAt.Equal(m.SendAt) {
			t.Errorf("send at %s, next at %s, want %s", r.SendAt, r.NextAt, m.SendAt)
		}
		a := f.begun(m.ID, 0, "w/1")
		if a.Verdict != message.Early || a.Wait > 30*time.Minute || a.Wait < 29*time.Minute {
			t.Errorf("%s, wait %s", a.Verdict, a.Wait)
		}
		f.wantState(m.ID, message.Queued)
	})
}

func TestGetUnknown(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for _, id := range []string{message.NewID(number, ""), "no id", ""} {
			if r, err := f.Get(t.Context(), id); !errors.Is(err, message.ErrNotFound) {
				t.Errorf("%q: %+v, %v", id, r, err)
			}
		}
	})
}

func TestTimelineKeepsTwenty(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		id := f.accepted("k1")
		for n := 1; n <= 15; n++ {
			a := f.begun(id, 0, fmt.Sprintf("w/%d", n))
			f.finished(a, message.Move{To: message.Queued, Code: 130429, Reason: "code 130429: a:b"})
		}
		r := f.get(id)
		if len(r.Timeline) != 20 {
			t.Fatalf("%d steps", len(r.Timeline))
		}
		for i, s := range r.Timeline { // of attempts 6 to 15
			want := message.Step{At: s.At, State: message.Attempting, Attempt: 6 + i/2}
			if i%2 == 1 {
				want = message.Step{At: s.At, State: message.Queued, Attempt: 6 + i/2, Code: 130429, Reason: "code 130429: a:b"}
			}
			if s != want || s.At.IsZero() || i > 0 && s.At.Before(r.Timeline[i-1].At) {
				t.Errorf("step %d: %+v, want %+v", i, s, want)
			}
		}
	})
}

func TestCheckShards(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for range 2 {
			if err := f.CheckShards(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		other := ledger.New(f.db, ledger.Options{Shards: 8})
		err := other.CheckShards(t.Context())
		if !errors.Is(err, ledger.ErrShards) || !strings.Contains(err.Error(), "16") || !strings.Contains(err.Error(), "8") {
			t.Errorf("another number of shards: %v", err)
		}
		if err := f.CheckShards(t.Context()); err != nil {
			t.Errorf("the refused one left its mark: %v", err)
		}
	})
}

// TestStoreAway: whatever is asked of a store that is away is an error, never an answer.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	c := redis.NewClient(&redis.Options{Addr: srv.Addr, MaxRetries: -1, DialerRetries: 1, PoolSize: 500, DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	f := newFixture(t, c)
	a := f.attempting("k1")
	srv.Kill()

	ctx := t.Context()
	o := message.Open{ID: a.ID, State: message.Attempting, N: 1}
	for name, call := range map[string]func() error{
		"accept": func() error { _, err := f.tryAccept(newMessage("k2")); return err },
		"begin":  func() error { _, err := f.Begin(ctx, a.ID, 0, "w/1", nil); return err },
		"finish": func() error { _, _, err := f.Finish(ctx, a, message.Move{To: message.Submitted}); return err },
		"get":    func() error { _, err := f.Get(ctx, a.ID); return err },
		"sweep":  func() error { _, err := f.Sweep(ctx, o, message.Move{To: message.InDoubt}); return err },
		"apply": func() error {
			_, err := f.Apply(ctx, f.shard, []message.MarkedReport{report(a.ID, 1, "w1", "sent")}, nil)
			return err
		},
		"unmatched": func() error {
			_, err := f.Apply(ctx, f.shard, []message.MarkedReport{report("", 0, "w1", "sent")}, nil)
			return err
		},
		"rejoin":          func() error { _, _, err := f.ApplyUnmatched(ctx, f.shard, time.Now()); return err },
		"forget":          func() error { _, err := f.Purge(ctx, f.shard); return err },
		"list":            func() error { _, err := f.Waiting(ctx, f.shard, 0, 9); return err },
		"by ref":          func() error { _, err := f.ByRef(ctx, []string{number}, "order-1"); return err },
		"by id of Meta's": func() error { _, err := f.ByWAMID(ctx, nil, "wamid.1"); return err },
		"by recipient":    func() error { _, err := f.ByRecipient(ctx, nil, full); return err },
		"assert": func() error {
			_, err := f.Replay(ctx, f.shard, []message.RememberedAttempt{{ID: a.ID, N: 1}})
			return err
		},
		"meet":      func() error { _, err := f.CurrentEpoch(ctx, f.shard); return err },
		"trust":     func() error { return f.BeginEpoch(ctx, f.shard, "run") },
		"heartbeat": func() error { return f.Heartbeat(ctx, []message.Heartbeat{{Shard: f.shard, Worker: "w", N: 1}})[0].Err },
		"leave":     func() error { return f.Leave(ctx, "w") },
		"alive":     func() error { return f.Alive(ctx, []message.Shard{f.shard}, time.Second)[0].Err },
		"backlog":   func() error { _, err := f.Backlog(ctx); return err },
		"shards":    func() error { return f.CheckShards(ctx) },
	} {
		if err := call(); err == nil || errors.Is(err, message.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	srv.Restart()
	f.wantState(a.ID, message.Attempting) // fsync: what was answered is there
}
