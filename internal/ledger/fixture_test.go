package ledger_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
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
	known *readEvents
}

// readEvents are the events of a stream that has not changed since they were read: to read them again and again would
// take most of the time of the tests.
type readEvents struct {
	mu   sync.Mutex
	last string // id of the last entry
	n    int64  // entries
	all  []message.Event
}

func newFixture(t testing.TB, c redis.UniversalClient) fixture {
	t.Helper()
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return fixture{ready(t, db), t, db, message.DefaultShards.Of(number), new(readEvents)}
}

// openFixture is a ledger on the Redis at a URL.
func openFixture(t testing.TB, url string) fixture {
	t.Helper()
	db, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return fixture{ready(t, db), t, db, message.DefaultShards.Of(number), new(readEvents)}
}

// ready returns a ledger on whose servers attempts may begin.
func ready(t testing.TB, db *store.DB) *ledger.Ledger {
	t.Helper()
	book := ledger.New(db, ledger.Options{RecipientHash: secrets.Hasher("a key of the tests", "recipient index")})
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
	return ledger.Accepting{Message: m, Enqueue: func(w *store.Writes, _ time.Time) error {
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

// hasPayload reports whether the message's content is still stored.
func (f fixture) hasPayload(id string) bool {
	f.t.Helper()
	return f.read(id).Payload != ""
}

// wantLife checks whether Purge deletes a record a given time after it came into its state; 0: only after another
// change.
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
		if got := f.names(r); !slices.Equal(got, r.IndexedWAMIDs()) {
			f.t.Errorf("a message that is %s is found by %q, not by %q", r.State, got, r.IndexedWAMIDs())
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

// events returns the events of messages. Each must be as package message documents it, and have no secret.
func (f fixture) events() (all []message.Event) {
	f.t.Helper()
	key := events.MessageKey(f.shard)
	f.known.mu.Lock()
	defer f.known.mu.Unlock()
	n := f.db.XLen(f.t.Context(), key).Val()
	if end := f.db.XRevRangeN(f.t.Context(), key, "+", "-", 1).Val(); n > 0 && n == f.known.n && end[0].ID == f.known.last {
		return f.known.all
	}
	entries, err := f.db.XRange(f.t.Context(), key, "-", "+").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, entry := range entries {
		lines, _ := entry.Values[events.Field].(string)
		for raw := range strings.SplitSeq(lines, "\n") {
			if strings.Contains(raw, secret) || strings.Contains(raw, full) {
				f.t.Errorf("event has too much: %s", raw)
			}
			var e message.Event
			d := json.NewDecoder(strings.NewReader(raw))
			d.DisallowUnknownFields()
			if err := d.Decode(&e); err != nil || d.More() {
				f.t.Fatalf("event %s: %v", raw, err)
			}
			if e.Version != message.EventVersion || (e.Type != message.EventMessage) == (e.State != nil) || (e.Type != message.EventFinal) == (e.Final != nil) || e.At == 0 || e.Number != e.Message.From {
				f.t.Errorf("event %s", raw)
			}
			all = append(all, e)
		}
		f.known.last = entry.ID
	}
	f.known.n, f.known.all = int64(len(entries)), all
	return all
}

// changes returns the state changes in the stream in one line each.
func (f fixture) changes(id string) []string {
	f.t.Helper()
	var all []string
	for _, e := range f.events() {
		if e.Message.ID == id && e.State != nil {
			all = append(all, fmt.Sprintf("%s %d %s %d %s", e.State.To, e.State.Attempt, e.State.WAMID, e.State.Code, e.State.Reason))
		}
	}
	return all
}

// finals returns the final events of a message, each as its result and state.
func (f fixture) finals(id string) []string {
	f.t.Helper()
	var all []string
	for _, e := range f.events() {
		if e.Message.ID == id && e.Final != nil {
			all = append(all, fmt.Sprint(e.Final.Result, " ", e.Final.State))
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
