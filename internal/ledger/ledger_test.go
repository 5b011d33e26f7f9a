package ledger_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const (
	number = "106540352242922"
	secret = "the text of the message"
	full   = "+4915123456789"
)

// fixture is a ledger on a Redis of the test's own.
type fixture struct {
	*ledger.Ledger
	t     testing.TB
	db    *store.DB
	shard message.Shard
}

func newFixture(t testing.TB, c redis.UniversalClient) fixture {
	t.Helper()
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return fixture{trusting(t, db), t, db, message.DefaultShards.Of(number)}
}

// trusting returns a ledger on whose servers attempts may begin.
func trusting(t testing.TB, db *store.DB) *ledger.Ledger {
	t.Helper()
	book := ledger.New(db, ledger.Options{})
	for _, s := range message.DefaultShards.All() {
		run, err := book.Meet(t.Context(), s, 0)
		if err != nil {
			t.Fatal(err)
		}
		book.Trust(s, run.ID)
	}
	return book
}

// on runs a test on a real Redis and on the one that the demo carries with it.
func on(t *testing.T, f func(t *testing.T, f fixture)) {
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		f(t, newFixture(t, redistest.Client(t)))
	})
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), DisableIdentity: true})
		t.Cleanup(func() { c.Close() })
		f(t, newFixture(t, c))
	})
}

func newMessage(key string) message.Message {
	return message.Message{
		ID: message.NewID(number, key), From: number, Class: message.Utility, Key: key,
		Ref: "order-1", Tags: []string{"spring"}, Callback: "theirs",
		ExpiresAt: time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC(),
		Payload:   json.RawMessage(`{"type":"text","text":{"body":"` + secret + `"}}`),
		Content:   message.Content{Type: "text", To: full},
		Hash:      "hash-1",
	}
}

func (f fixture) tryAccept(m message.Message, nonce string) (message.Acceptance, error) {
	f.t.Helper()
	a, err := f.Accept(m, nonce)
	if err != nil {
		return message.Acceptance{}, err
	}
	p := f.db.Join(true, a.Part)
	return a.Result(f.db.Run(f.t.Context(), p.Script, p.Keys, p.Args...))
}

// accepted makes a message and returns its id.
func (f fixture) accepted(key string) string {
	f.t.Helper()
	m := newMessage(key)
	f.acceptedAs(m)
	return m.ID
}

func (f fixture) acceptedAs(m message.Message) {
	f.t.Helper()
	if _, err := f.tryAccept(m, "nonce of "+m.Key); err != nil {
		f.t.Fatal(err)
	}
}

func (f fixture) begun(id string, k int, token string) message.Attempt {
	f.t.Helper()
	a, err := f.Begin(f.t.Context(), id, k, token)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

// attempting makes a message with an attempt under way.
func (f fixture) attempting(key string) message.Attempt {
	f.t.Helper()
	a := f.begun(f.accepted(key), 0, "w/1")
	if a.Verdict != message.Go {
		f.t.Fatalf("begin: %s", a.Verdict)
	}
	return a
}

func (f fixture) finished(a message.Attempt, m message.Move) message.State {
	f.t.Helper()
	st, _, err := f.Finish(f.t.Context(), a, m)
	if err != nil {
		f.t.Fatal(err)
	}
	return st
}

func (f fixture) get(id string) message.Record {
	f.t.Helper()
	r, err := f.Get(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f fixture) wantState(id string, want message.State) {
	f.t.Helper()
	if got := f.get(id).State; got != want {
		f.t.Fatalf("state %s, want %s", got, want)
	}
}

// hasPayload tells whether the message's content is still kept.
func (f fixture) hasPayload(id string) bool {
	f.t.Helper()
	n, err := f.db.Exists(f.t.Context(), f.shard.Key("p:"+id)).Result()
	if err != nil {
		f.t.Fatal(err)
	}
	return n == 1
}

// life returns how long a key lives on; 0: without end.
func (f fixture) life(name string) time.Duration {
	f.t.Helper()
	d, err := f.db.PTTL(f.t.Context(), f.shard.Key(name)).Result()
	if err != nil {
		f.t.Fatal(err)
	}
	if d == -2 {
		f.t.Fatalf("there is no %s", name)
	}
	return max(d, 0)
}

// wantLife allows for the time that the test takes.
func (f fixture) wantLife(name string, want time.Duration) {
	f.t.Helper()
	if got := f.life(name); got > want || got < want-time.Minute {
		f.t.Errorf("%s lives %s on, want %s", name, got, want)
	}
}

func (f fixture) backlog() ledger.Backlog {
	f.t.Helper()
	b, err := f.Backlog(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// events returns the streams' events, each of which must be what package message documents
// and must tell no secret.
func (f fixture) events() []message.Event {
	f.t.Helper()
	var lines []string
	for _, stream := range []string{f.shard.MessageEventsKey(), f.shard.MetaEventsKey()} {
		entries, err := f.db.XRange(f.t.Context(), stream, "-", "+").Result()
		if err != nil {
			f.t.Fatal(err)
		}
		for _, e := range entries {
			text, _ := e.Values[message.EventsField].(string)
			for line := range strings.SplitSeq(text, "\n") {
				if ours := strings.Contains(line, `"type":"message"`); ours != (stream == f.shard.MessageEventsKey()) {
					f.t.Errorf("in %s is %s", stream, line)
				}
				lines = append(lines, line)
			}
		}
	}
	all := make([]message.Event, len(lines))
	for i, raw := range lines {
		if strings.Contains(raw, secret) || strings.Contains(raw, full) {
			f.t.Errorf("event tells too much: %s", raw)
		}
		d := json.NewDecoder(strings.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&all[i]); err != nil || d.More() {
			f.t.Fatalf("event %s: %v", raw, err)
		}
		if all[i].Version != message.EventVersion || all[i].Number != number || all[i].At == 0 && all[i].Type == message.EventMessage {
			f.t.Errorf("event %s", raw)
		}
	}
	return all
}

// changes returns the state changes in the stream in one line each.
func (f fixture) changes(id string) []string {
	f.t.Helper()
	var all []string
	for _, e := range f.events() {
		if e.Type == message.EventMessage && e.Message.ID == id {
			all = append(all, fmt.Sprintf("%s %d %s %d %s", e.State.To, e.State.Attempt, e.State.WAMID, e.State.Code, e.State.Reason))
		}
	}
	return all
}

func (f fixture) wantChanges(id string, want ...string) {
	f.t.Helper()
	if got := f.changes(id); !reflect.DeepEqual(got, want) {
		f.t.Errorf("events of state changes:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		m := newMessage("k1")
		want := message.Acceptance{ID: m.ID, State: message.Queued, Class: message.Utility, ExpiresAt: m.ExpiresAt}
		for range 2 { // the second as after a lost answer
			got, err := f.tryAccept(m, "request 1")
			if err != nil || got != want {
				t.Fatalf("%+v, %v, want %+v", got, err, want)
			}
		}

		later := m
		later.ExpiresAt = m.ExpiresAt.Add(time.Minute)
		want.Duplicate = true
		if got, err := f.tryAccept(later, "request 2"); err != nil || got != want {
			t.Errorf("a repeat by the caller: %+v, %v, want %+v", got, err, want)
		}

		other := m
		other.Hash, other.Payload = "hash-2", json.RawMessage(`{}`)
		if got, err := f.tryAccept(other, "request 3"); !errors.Is(err, message.ErrKeyReused) {
			t.Errorf("other content under the same key: %+v, %v", got, err)
		}
		if _, err := f.tryAccept(other, "request 1"); !errors.Is(err, message.ErrKeyReused) {
			t.Errorf("other content under the same key and nonce: %v", err)
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
		if life := f.life("m:"+m.ID) + f.life("p:"+m.ID); life != 0 {
			t.Errorf("an open message ends after %s", life)
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
		got, err := f.tryAccept(newMessage("k1"), "request 2")
		if err != nil || !got.Duplicate || got.State != message.Submitted {
			t.Errorf("%+v, %v", got, err)
		}
		if f.hasPayload(a.ID) || f.backlog() != (ledger.Backlog{}) {
			t.Error("the repeat revived the message")
		}
	})
}

func TestAcceptRefusesWhatIsNoID(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	m := newMessage("k1")
	m.ID = "order-1"
	if _, err := f.tryAccept(m, "request 1"); err == nil {
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

func TestBeat(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for _, w := range []string{"a", "b", "b"} {
			if err := f.Beat(t.Context(), w); err != nil {
				t.Fatal(err)
			}
		}
		old := float64(time.Now().Add(-9 * time.Second).UnixMilli())
		if err := f.db.ZAdd(t.Context(), "sluice:workers", redis.Z{Score: old, Member: "silent"}).Err(); err != nil {
			t.Fatal(err)
		}
		wantAlive := func(want ...string) {
			t.Helper()
			alive, err := f.Alive(t.Context(), 8*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range want {
				if !alive[w] {
					t.Errorf("%s is not alive", w)
				}
			}
			if len(alive) != len(want) {
				t.Errorf("alive: %v, want %v", alive, want)
			}
		}
		wantAlive("a", "b")

		ancient := float64(time.Now().Add(-25 * time.Hour).UnixMilli())
		if err := f.db.ZAdd(t.Context(), "sluice:workers", redis.Z{Score: ancient, Member: "long dead"}).Err(); err != nil {
			t.Fatal(err)
		}
		if err := f.Beat(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if known := f.db.ZRange(t.Context(), "sluice:workers", 0, -1).Val(); len(known) != 3 {
			t.Errorf("known: %v, want a, b and silent", known)
		}
		if err := f.Leave(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		wantAlive("a")
	})
}

// TestStoreAway: whatever is asked of a store that is away is an error, never an answer.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	c := redis.NewClient(&redis.Options{Addr: srv.Addr, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	f := newFixture(t, c)
	a := f.attempting("k1")
	srv.Kill()

	ctx := t.Context()
	o := message.Open{ID: a.ID, State: message.Attempting, N: 1}
	for name, call := range map[string]func() error{
		"accept": func() error { _, err := f.tryAccept(newMessage("k2"), "n"); return err },
		"begin":  func() error { _, err := f.Begin(ctx, a.ID, 0, "w/1"); return err },
		"finish": func() error { _, _, err := f.Finish(ctx, a, message.Move{To: message.Submitted}); return err },
		"get":    func() error { _, err := f.Get(ctx, a.ID); return err },
		"sweep":  func() error { _, err := f.Sweep(ctx, o, message.Move{To: message.InDoubt}); return err },
		"fold": func() error {
			_, err := f.Fold(ctx, f.shard, []message.Evidence{evidence(a.ID, 1, "w1", "sent")}, nil)
			return err
		},
		"orphan": func() error {
			_, err := f.Fold(ctx, f.shard, []message.Evidence{evidence("", 0, "w1", "sent")}, nil)
			return err
		},
		"list":    func() error { _, err := f.Attempting(ctx, f.shard, 9); return err },
		"beat":    func() error { return f.Beat(ctx, "w") },
		"leave":   func() error { return f.Leave(ctx, "w") },
		"alive":   func() error { _, err := f.Alive(ctx, time.Second); return err },
		"backlog": func() error { _, err := f.Backlog(ctx); return err },
		"shards":  func() error { return f.CheckShards(ctx) },
	} {
		if err := call(); err == nil || errors.Is(err, message.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	srv.Restart()
	f.wantState(a.ID, message.Attempting) // fsync: what was answered is there
}

// TestFullRedis: a full Redis lets what was accepted drain, and refuses what is new as a
// whole: a record without its task would be a message that nobody sends.
func TestFullRedis(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	f := newFixture(t, srv.Client())
	ctx := context.Background()
	var ids []string
	for i := range 3 {
		ids = append(ids, f.accepted(fmt.Sprint(i)))
	}
	if err := f.db.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := f.db.Set(ctx, "x", "y", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "OOM") {
		t.Fatalf("the Redis is not full: %v", err)
	}

	m := newMessage("new")
	if _, err := f.tryAccept(m, "request 1"); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("accepted on a full Redis: %v", err)
	}
	if _, err := f.Get(ctx, m.ID); !errors.Is(err, message.ErrNotFound) {
		t.Errorf("a refused message left a record: %v", err)
	}

	a := f.begun(ids[0], 0, "w/1")
	f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
	f.finished(f.begun(ids[1], 0, "w/2"), message.Move{To: message.InDoubt})
	f.finished(f.begun(ids[2], 0, "w/3"), message.Move{To: message.Queued})
	f.wantFolded(message.Applied, evidence(ids[1], 1, "wamid.2", "delivered"))
	f.wantFolded(message.Orphan, evidence("", 0, "wamid.3", "sent"))
	for i, want := range []message.State{message.Submitted, message.Delivered, message.Queued} {
		f.wantState(ids[i], want)
	}
}
