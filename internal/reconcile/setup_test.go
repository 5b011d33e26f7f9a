package reconcile_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/reconcile"
	"sluice/internal/store"
)

const (
	number                = "106540352242922"
	shards message.Shards = 2
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLedger records the status reports that it applies. answer, if it is set, decides the results.
type fakeLedger struct {
	answer func([]message.MarkedReport) ([]message.ApplyResult, error)

	mu      sync.Mutex
	applied []message.MarkedReport
	shards  []message.Shard
	also    []map[string]string
	store   *store.DB // stores also; may be nil
	wake    chan struct{}
}

func (f *fakeLedger) Apply(ctx context.Context, shard message.Shard, reports []message.MarkedReport, also map[string]string) ([]message.ApplyResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	results := slices.Repeat([]message.ApplyResult{message.Applied}, len(reports))
	if f.answer != nil {
		var err error
		if results, err = f.answer(reports); err != nil {
			return nil, err
		}
	}
	if f.store != nil {
		if err := f.store.MSet(ctx, also).Err(); err != nil {
			return nil, err
		}
	}
	f.applied = append(f.applied, reports...)
	f.shards, f.also = append(f.shards, shard), append(f.also, also)
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return results, nil
}

func (f *fakeLedger) until(t *testing.T, n int) []message.MarkedReport {
	t.Helper()
	for late := time.After(poll.Limit); ; {
		f.mu.Lock()
		applied := slices.Clone(f.applied)
		f.mu.Unlock()
		if len(applied) >= n {
			return applied
		}
		select {
		case <-f.wake:
		case <-late:
			t.Fatalf("%d of %d status reports applied after %s", len(applied), n, poll.Limit)
		}
	}
}

// mark parses the markers of these tests, "mark:<id>:<attempt>". It returns 17 as the time of acceptance.
func mark(s string) (id string, attempt int, accepted int64, ok bool) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 || parts[0] != "mark" {
		return "", 0, 0, false
	}
	_, err := fmt.Sscan(parts[2], &attempt)
	return parts[1], attempt, 17, err == nil
}

type setup struct {
	db     *store.DB
	stream *events.Stream
	ledger *fakeLedger
	reg    *prometheus.Registry
	logs   *bytes.Buffer
}

func newSetup(t *testing.T, c redis.UniversalClient) *setup {
	t.Helper()
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return &setup{
		db: db, stream: events.New(db, shards, events.Options{}), reg: prometheus.NewRegistry(),
		ledger: &fakeLedger{store: db, wake: make(chan struct{}, 1)}, logs: &bytes.Buffer{},
	}
}

// run starts a Reconciler. stop stops it and waits until it has ended.
func (s *setup) run(t *testing.T, known func(string) bool) (stop func()) {
	t.Helper()
	r := reconcile.New(s.stream, s.ledger, reconcile.Options{
		Name: "one", Mark: mark, Known: known, Registerer: s.reg,
		Log: slog.New(slog.NewJSONHandler(s.logs, nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (s *setup) add(t *testing.T, all ...message.Event) {
	t.Helper()
	if err := s.stream.Append(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

func (s *setup) metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no series %s %q", name, label)
	return 0
}

func statusEvent(number, wamid, status, marker string) message.Event {
	return message.Event{
		Type: message.EventStatus, At: 1750030073000, Number: number,
		Report: &message.StatusReport{Number: number, WAMID: wamid, Status: status, Marker: marker},
	}
}

// oneBatch is a stream that delivers one batch and ends.
type oneBatch struct {
	shard  message.Shard
	events []message.Event
}

// position is the strings to store with the batch.
var position = map[string]string{"applied": "1-0"}

func (o oneBatch) Read(ctx context.Context, _ string, handle func(context.Context, message.Shard, []message.Event, map[string]string) (bool, error)) error {
	_, err := handle(ctx, o.shard, o.events, position)
	return err
}

func (oneBatch) Lag() time.Duration { return 0 }

func (oneBatch) Trim(context.Context) error { return nil }

func (oneBatch) KeepUpdates(context.Context, message.Shard, []message.Event) error { return nil }

func (oneBatch) ApplyUpdates(context.Context, func(context.Context, message.Event) error) error {
	return nil
}

func (oneBatch) NoteReceived(context.Context, map[message.Shard]message.LastReceived) error {
	return nil
}

// apply applies events in one batch.
func apply(t *testing.T, l *fakeLedger, shard message.Shard, all ...message.Event) {
	t.Helper()
	r := reconcile.New(oneBatch{shard, all}, l, reconcile.Options{
		Mark: mark, Known: func(n string) bool { return n == number },
	})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (l *fakeLedger) ApplyAllUnmatched(context.Context) (int, error) { return 0, nil }
