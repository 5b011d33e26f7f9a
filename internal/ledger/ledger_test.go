package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/record"
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

// openFixture is a ledger on the Redis at a URL.
func openFixture(t testing.TB, url string) fixture {
	t.Helper()
	db, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return fixture{trusting(t, db), t, db, message.DefaultShards.Of(number)}
}

// trusting returns a ledger on whose servers attempts may begin.
func trusting(t testing.TB, db *store.DB) *ledger.Ledger {
	t.Helper()
	book := ledger.New(db, ledger.Options{})
	for _, s := range message.DefaultShards.All() {
		run, err := book.CurrentEpoch(t.Context(), s)
		if err == nil {
			err = book.BeginEpoch(t.Context(), s, run.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return book
}

// on runs a test on a real Redis, on the one that the demo carries with it, and where transactions are
// scripts.
func on(t *testing.T, f func(t *testing.T, f fixture)) {
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		f(t, newFixture(t, redistest.Client(t)))
	})
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		f(t, newFixture(t, mini(t)))
	})
	t.Run("by scripts", func(t *testing.T) {
		t.Parallel()
		f(t, openFixture(t, redistest.Start(t).URL()+"?transactions=script"))
	})
}

// mini returns a client of the Redis that the demo carries with it.
func mini(t testing.TB) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	return c
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

// tasks is the list to which accepting adds the task of a message.
const tasks = "tasks"

// accepting is a message with a task.
func (f fixture) accepting(m message.Message) ledger.Accepting {
	return ledger.Accepting{Message: m, Enqueue: func(w *store.Writes) error {
		w.RPush(store.Key(message.DefaultShards.Of(m.From), tasks), m.ID)
		return nil
	}}
}

func (f fixture) tryAccept(m message.Message) (message.Acceptance, error) {
	f.t.Helper()
	r := f.Accept(f.t.Context(), []ledger.Accepting{f.accepting(m)})[0]
	return r.Acceptance, r.Err
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
	if _, err := f.tryAccept(m); err != nil {
		f.t.Fatal(err)
	}
}

// tasksOf counts the tasks of a message.
func (f fixture) tasksOf(id string) (n int) {
	f.t.Helper()
	for _, task := range f.db.LRange(f.t.Context(), store.Key(f.shard, tasks), 0, -1).Val() {
		if task == id {
			n++
		}
	}
	return n
}

func (f fixture) begun(id string, k int, token string) message.Attempt {
	f.t.Helper()
	return f.begunAs(id, k, token, nil)
}

// begunAs begins an attempt on a record as it was read.
func (f fixture) begunAs(id string, k int, token string, known *record.Record) message.Attempt {
	f.t.Helper()
	a, err := f.Begin(f.t.Context(), id, k, token, known)
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
	return f.read(id).Record
}

// read returns all that is stored of a message.
func (f fixture) read(id string) record.Record {
	f.t.Helper()
	r, err := f.Read(f.t.Context(), id)
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
	return f.read(id).Payload != ""
}

// wantLife tells whether a record is to be forgotten a time after it came into its state; 0: only
// after something else has happened to it.
func (f fixture) wantLife(id string, want time.Duration) {
	f.t.Helper()
	r := f.read(id)
	hour := r.Since().Add(want).Unix() / 3600
	entered := slices.Contains(f.db.LRange(f.t.Context(), store.Key(f.shard, fmt.Sprint("ended:", hour)), 0, -1).Val(), id)
	switch want {
	case 0:
		if r.State.Final() || r.State == message.Submitted || r.State == message.Sent {
			f.t.Errorf("a record that does not end is %s", r.State)
		}
	case month:
		if r.State.Final() || !reflect.DeepEqual(f.names(r), r.WAMIDs()) {
			f.t.Errorf("a record that waits for reports is %s, Meta's ids %q, found by %q", r.State, r.WAMIDs(), f.names(r))
		}
	default:
		if !entered {
			f.t.Errorf("a record that came into %s at %s is not to be forgotten %s later", r.State, r.Since(), want)
		}
		if got := f.names(r); !slices.Equal(got, r.Awaited()) {
			f.t.Errorf("a message that is %s is found by %q, not by %q", r.State, got, r.Awaited())
		}
	}
}

const (
	day   = 24 * time.Hour
	week  = 7 * day
	month = 31 * day
)

// names returns those of Meta's ids of a message by which it is found.
func (f fixture) names(r record.Record) (found []string) {
	f.t.Helper()
	index := store.Key(f.shard, "wamids:"+r.AcceptedAt.Format(time.DateOnly))
	for _, wamid := range r.WAMIDs() {
		sum := sha256.Sum256([]byte(wamid))
		if f.db.HGet(f.t.Context(), index, hex.EncodeToString(sum[:8])).Val() == r.ID {
			found = append(found, wamid)
		}
	}
	return found
}

func (f fixture) backlog() ledger.Backlog {
	f.t.Helper()
	b, err := f.Backlog(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// events returns the events of messages, each of which must be what package message documents
// and must tell no secret.
func (f fixture) events() (all []message.Event) {
	f.t.Helper()
	entries, err := f.db.XRange(f.t.Context(), events.MessageKey(f.shard), "-", "+").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, entry := range entries {
		lines, _ := entry.Values[events.Field].(string)
		for raw := range strings.SplitSeq(lines, "\n") {
			if strings.Contains(raw, secret) || strings.Contains(raw, full) {
				f.t.Errorf("event tells too much: %s", raw)
			}
			var e message.Event
			d := json.NewDecoder(strings.NewReader(raw))
			d.DisallowUnknownFields()
			if err := d.Decode(&e); err != nil || d.More() {
				f.t.Fatalf("event %s: %v", raw, err)
			}
			if e.Version != message.EventVersion || e.Type != message.EventMessage || e.At == 0 || e.Number != e.Message.From {
				f.t.Errorf("event %s", raw)
			}
			all = append(all, e)
		}
	}
	return all
}

// changes returns the state changes in the stream in one line each.
func (f fixture) changes(id string) []string {
	f.t.Helper()
	var all []string
	for _, e := range f.events() {
		if e.Message.ID == id {
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
		if got, err := f.tryAccept(m); err != nil || got != want {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}

		later := m
		later.ExpiresAt = m.ExpiresAt.Add(time.Minute)
		want.Duplicate = true
		for range 2 { // a repeat by the caller, or after a lost answer: nobody can tell these apart
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

func TestAcceptRefusesWhatIsNoID(t *testing.T) {
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

// beats sends a heartbeat of a worker in the fixture's shard.
func (f fixture) beats(worker string, n, answered int64, replayed string) message.Epoch {
	f.t.Helper()
	run := f.Heartbeat(f.t.Context(), []message.Heartbeat{{Shard: f.shard, Worker: worker, N: n, Answered: answered, Replayed: replayed}})[0]
	if run.Err != nil {
		f.t.Fatal(run.Err)
	}
	return run
}

func TestBeat(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for i, w := range []string{"a", "b", "b"} {
			f.beats(w, int64(i+1), 0, "")
		}
		workers := store.Key(f.shard, "workers")
		for name, age := range map[string]time.Duration{"silent": 9 * time.Second, "from the future": -time.Minute} {
			at := float64(time.Now().Add(-age).UnixMilli())
			if err := f.db.ZAdd(t.Context(), workers, redis.Z{Score: at, Member: name}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		wantAlive := func(want ...string) {
			t.Helper()
			other := message.DefaultShards.All()[(int(f.shard)+1)%16]
			all := f.Alive(t.Context(), []message.Shard{other, f.shard}, 8*time.Second)
			if all[0].Err != nil || len(all[0].Workers) != 0 {
				t.Errorf("in another shard: %+v", all[0])
			}
			alive := all[1]
			if alive.Err != nil {
				t.Fatal(alive.Err)
			}
			if d := time.Since(alive.Now).Abs(); d > time.Minute {
				t.Errorf("the server's clock is %s off", d)
			}
			if got := slices.Sorted(maps.Keys(alive.Workers)); !slices.Equal(got, want) {
				t.Errorf("alive: %v, want %v", got, want)
			}
		}
		wantAlive("a", "b")

		ancient := float64(time.Now().Add(-25 * time.Hour).UnixMilli())
		if err := f.db.ZAdd(t.Context(), workers, redis.Z{Score: ancient, Member: "long dead"}).Err(); err != nil {
			t.Fatal(err)
		}
		f.beats("a", 2, 1, "")
		if known := f.db.ZRange(t.Context(), workers, 0, -1).Val(); slices.Contains(known, "long dead") || len(known) != 4 {
			t.Errorf("known: %v, want all but the long dead", known)
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
		"fold": func() error {
			_, err := f.Fold(ctx, f.shard, []message.Evidence{evidence(a.ID, 1, "w1", "sent")}, nil)
			return err
		},
		"orphan": func() error {
			_, err := f.Fold(ctx, f.shard, []message.Evidence{evidence("", 0, "w1", "sent")}, nil)
			return err
		},
		"rejoin": func() error { _, _, err := f.Rejoin(ctx, f.shard, time.Now()); return err },
		"forget": func() error { _, err := f.Forget(ctx, f.shard); return err },
		"list":   func() error { _, err := f.Waiting(ctx, f.shard, 0, 9); return err },
		"by ref": func() error { _, err := f.ByRef(ctx, number, "order-1"); return err },
		"assert": func() error {
			_, err := f.Replay(ctx, f.shard, []message.RememberedAttempt{{ID: a.ID, N: 1}})
			return err
		},
		"meet":    func() error { _, err := f.CurrentEpoch(ctx, f.shard); return err },
		"trust":   func() error { return f.BeginEpoch(ctx, f.shard, "run") },
		"beat":    func() error { return f.Heartbeat(ctx, []message.Heartbeat{{Shard: f.shard, Worker: "w", N: 1}})[0].Err },
		"leave":   func() error { return f.Leave(ctx, "w") },
		"alive":   func() error { return f.Alive(ctx, []message.Shard{f.shard}, time.Second)[0].Err },
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
