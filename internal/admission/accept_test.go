package admission_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sluice/internal/admission"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const number = "106540352242922"

// fixture accepts messages into the Redis of the test, as the API does.
type fixture struct {
	*admission.Loader
	t       *testing.T
	db      *store.DB
	records *ledger.Ledger
}

func newFixture(t *testing.T, c redis.UniversalClient) fixture {
	t.Helper()
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return fixture{admission.NewLoader(db, message.DefaultShards), t, db, trusting(t, db)}
}

// trusting returns a ledger in which every shard has an epoch, so that attempts may begin.
func trusting(t testing.TB, db *store.DB) *ledger.Ledger {
	t.Helper()
	records := ledger.New(db, ledger.Options{})
	for _, s := range message.DefaultShards.All() {
		run, err := records.CurrentEpoch(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if err := records.BeginEpoch(t.Context(), s, run.ID); err != nil {
			t.Fatal(err)
		}
	}
	return records
}

func newMessage(key string) message.Message {
	return message.Message{
		ID: message.NewID(number, key), From: number, Class: message.Utility, Key: key,
		ExpiresAt: time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC(),
		Payload:   json.RawMessage(`{"type":"text","text":{"body":"hello ` + key + `"}}`),
		Content:   message.Content{Type: "text", To: "+4915123456789"},
		Hash:      "hash of " + key,
	}
}

// pending returns the pending tasks of the number and class of the test.
func (f fixture) pending() []string {
	f.t.Helper()
	shard := message.DefaultShards.Of(number)
	ids, err := f.db.LRange(f.t.Context(), "asynq:{"+shard.String()+"}:"+number+":utility}:pending", 0, -1).Result()
	if err != nil {
		f.t.Fatal(err)
	}
	return ids
}

func (f fixture) wantPending(n int) {
	f.t.Helper()
	seen := map[string]bool{}
	for _, id := range f.pending() {
		seen[id] = true
	}
	if len(seen) != n || len(f.pending()) != n {
		f.t.Errorf("%d tasks wait, want %d", len(f.pending()), n)
	}
}

// together runs f for 0 to n-1 at the same time.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// TestAcceptTogether: concurrent requests share transactions, and each gets its own answer.
func TestAcceptTogether(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	if _, err := f.Accept(t.Context(), newMessage("first")); err != nil { // asynq's client asks Redis once
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	f.db.Measure(reg)
	trips := func() float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		return families[0].GetMetric()[0].GetCounter().GetValue()
	}
	before := trips()
	const n = 100
	together(n, func(i int) {
		m := newMessage(fmt.Sprint(i))
		a, err := f.Accept(t.Context(), m)
		want := message.Acceptance{ID: m.ID, State: message.Queued, Class: m.Class, ExpiresAt: m.ExpiresAt}
		if err != nil || a != want {
			t.Errorf("%+v, %v, want %+v", a, err, want)
		}
	})
	if n := trips() - before; n > 25 {
		t.Errorf("%v round trips for 100 messages", n)
	}
	f.wantPending(n + 1)
	for i := range n {
		m := newMessage(fmt.Sprint(i))
		a, err := f.records.Begin(t.Context(), m.ID, 0, "w/1", nil)
		if err != nil || a.Verdict != message.Go || !strings.Contains(string(a.Payload), `"hello `+m.Key+`"`) {
			t.Errorf("%s: %s %s, %v", m.Key, a.Verdict, a.Payload, err)
		}
	}
}

// TestAcceptTheSameTogether: of concurrent requests with one key, one is new, those with the same content
// are duplicates, and those with other content get ErrKeyReused.
func TestAcceptTheSameTogether(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	const rounds, repeats = 20, 8
	for round := range rounds {
		var mu sync.Mutex
		fresh, repeated, reused := 0, 0, 0
		together(repeats, func(i int) {
			m := newMessage(fmt.Sprint("k", round))
			if i >= repeats/2 {
				m.Hash = "another hash"
			}
			a, err := f.Accept(t.Context(), m)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, message.ErrKeyReused):
				reused++
			case err != nil || a.ID != m.ID:
				t.Errorf("%+v, %v", a, err)
			case a.Duplicate:
				repeated++
			default:
				fresh++
			}
		})
		if fresh != 1 || repeated != repeats/2-1 || reused != repeats/2 {
			t.Errorf("%d new, %d duplicates, %d reused keys", fresh, repeated, reused)
		}
	}
	f.wantPending(rounds)
}

// TestAcceptAllOrNothing: a message that a full Redis refuses leaves neither a record nor a task, and is
// accepted when the caller retries later.
func TestAcceptAllOrNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	maxmemory := func(v string) {
		t.Helper()
		if err := f.db.ConfigSet(t.Context(), "maxmemory", v).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Accept(t.Context(), newMessage("first")); err != nil {
		t.Fatal(err)
	}
	const n = 100
	maxmemory("1")
	together(n, func(i int) {
		m := newMessage(fmt.Sprint(i))
		if a, err := f.Accept(t.Context(), m); err == nil || !strings.Contains(err.Error(), "OOM") {
			t.Errorf("%+v, %v", a, err)
		}
		if _, err := f.records.Get(t.Context(), m.ID); !errors.Is(err, message.ErrNotFound) {
			t.Errorf("a refused message left a record: %v", err)
		}
	})
	f.wantPending(1)
	maxmemory("0")
	together(n, func(i int) {
		if a, err := f.Accept(t.Context(), newMessage(fmt.Sprint(i))); err != nil || a.Duplicate {
			t.Errorf("%+v, %v", a, err)
		}
	})
	f.wantPending(n + 1)
}

// TestAcceptFailsWithItsTask: a message whose task cannot be stored is not accepted.
func TestAcceptFailsWithItsTask(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	if _, err := f.Accept(t.Context(), newMessage("first")); err != nil {
		t.Fatal(err)
	}
	shard := message.DefaultShards.Of(number)
	if err := f.db.Set(t.Context(), "asynq:{"+shard.String()+"}:"+number+":marketing}:pending", "no list", 0).Err(); err != nil {
		t.Fatal(err)
	}
	together(20, func(i int) {
		m := newMessage(fmt.Sprint(i))
		if i%2 == 0 {
			m.Class = message.Marketing
		}
		a, err := f.Accept(t.Context(), m)
		// The other messages of the same transaction may fail too: their callers retry.
		if err == nil && m.Class == message.Marketing {
			t.Errorf("%s: %+v, %v", m.Class, a, err)
		}
	})
	if _, err := f.Accept(t.Context(), newMessage("alone")); err != nil {
		t.Error(err)
	}
}

// TestAcceptWithoutCachedScripts: after a failover, Redis does not have the scripts, and no request fails.
func TestAcceptWithoutCachedScripts(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	for round := range 3 {
		if err := f.db.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		together(20, func(i int) {
			if a, err := f.Accept(t.Context(), newMessage(fmt.Sprint(round, "-", i))); err != nil || a.Duplicate {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
	f.wantPending(60)
}

// TestAcceptOfADisconnectedCaller: a cancelled request returns, and the requests of its transaction succeed.
func TestAcceptOfADisconnectedCaller(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	if _, err := f.Accept(t.Context(), newMessage("first")); err != nil { // asynq's client asks Redis once
		t.Fatal(err)
	}
	gone := errors.New("gone")
	together(40, func(i int) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		if i%2 == 0 {
			cancel(gone)
		}
		if _, err := f.Accept(ctx, newMessage(fmt.Sprint(i))); err != nil && !(i%2 == 0 && errors.Is(err, gone)) {
			t.Errorf("caller %d: %v", i, err)
		}
	})
	for i := 1; i < 40; i += 2 {
		if _, err := f.records.Get(t.Context(), newMessage(fmt.Sprint(i)).ID); err != nil {
			t.Error(err)
		}
	}
}
