package events_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const numberA = "106540352242922"

// shards is small, so that a test uses every shard and few connections.
const shards message.Shards = 2

var numberB = otherShard(numberA)

func otherShard(number string) string {
	for i := 1; ; i++ {
		if n := strconv.Itoa(i); shards.Of(n) != shards.Of(number) {
			return n
		}
	}
}

// on runs a test on a real Redis and on miniredis, which the demo uses.
func on(t *testing.T, f func(t *testing.T, db *store.DB)) {
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		f(t, open(t, redistest.Client(t)))
	})
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), DisableIdentity: true})
		t.Cleanup(func() { c.Close() })
		f(t, open(t, c))
	})
}

func open(t testing.TB, c redis.UniversalClient) *store.DB {
	t.Helper()
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func status(number string, n int) message.Event {
	return message.Event{
		Version: 1, Type: message.EventStatus, At: 1750030073000, Number: number,
		Report: &message.StatusReport{Number: number, WAMID: fmt.Sprintf("wamid.%d", n), Status: "sent"},
	}
}

func statuses(number string, from, to int) []message.Event {
	var all []message.Event
	for n := from; n < to; n++ {
		all = append(all, status(number, n))
	}
	return all
}

// seen collects the events of a handler.
type seen struct {
	mu     sync.Mutex
	wamids []string
	wake   chan struct{}
}

func newSeen() *seen { return &seen{wake: make(chan struct{}, 1)} }

func (s *seen) handle(_ context.Context, _ message.Shard, batch []message.Event, _ map[string]string) (bool, error) {
	s.mu.Lock()
	for _, e := range batch {
		s.wamids = append(s.wamids, e.Report.WAMID)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return false, nil
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wamids)
}

// until waits for n events.
func (s *seen) until(t *testing.T, n int) []string {
	t.Helper()
	for late := time.After(poll.Limit); ; {
		if all := s.all(); len(all) >= n {
			return all
		}
		select {
		case <-s.wake:
		case <-late:
			t.Fatalf("%d of %d events after %s", len(s.all()), n, poll.Limit)
		}
	}
}

// read runs a reader until the test or stop ends it.
func read(t *testing.T, s *events.Stream, name string, h events.Handler) (stop func()) {
	t.Helper()
	return run(t, func(ctx context.Context) error { return s.Read(ctx, name, h) })
}

// run runs f until the test or stop ends it.
func run(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func appendAll(t *testing.T, s *events.Stream, all []message.Event) {
	t.Helper()
	if err := s.Append(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

// add writes an entry past Append.
func add(t *testing.T, db *store.DB, key, id string, values ...string) {
	t.Helper()
	if err := db.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: id, Values: values}).Err(); err != nil {
		t.Fatal(err)
	}
}

// line returns an event as a line of an entry.
func line(number string, n int) string {
	return fmt.Sprintf(`{"v":2,"type":"status","at":1,"phone_number_id":%q,"report":{"phone_number_id":%q,"wamid":"wamid.%d","status":"sent"}}`, number, number, n)
}

// applied waits until all events from Meta are applied.
func applied(t *testing.T, s *events.Stream) {
	t.Helper()
	eventually(t, "all applied", func() bool {
		n, err := s.Behind(t.Context())
		return err == nil && n == 0
	})
}

// eventually polls until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	poll.Until(t, what, ok)
}

func wamids(from, to int) []string {
	var all []string
	for n := from; n < to; n++ {
		all = append(all, fmt.Sprintf("wamid.%d", n))
	}
	return all
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
