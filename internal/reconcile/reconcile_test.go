package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/reconcile"
	"sluice/internal/redistest"
)

func TestMarkedReports(t *testing.T) {
	t.Parallel()
	mine, theirs := message.NewID(number, "a"), message.NewID("42", "a")
	for _, tt := range []struct {
		name  string
		event message.Event
		want  *message.MarkedReport // nil: none
	}{
		{"marker and wamid", statusEvent(number, "wamid.1", "sent", "mark:"+mine+":3"), &message.MarkedReport{ID: mine, Attempt: 3, Accepted: 17}},
		{"marker only", statusEvent(number, "", "sent", "mark:"+mine+":1"), &message.MarkedReport{ID: mine, Attempt: 1, Accepted: 17}},
		{"wamid only", statusEvent(number, "wamid.1", "sent", ""), &message.MarkedReport{}},
		{"93 a marker of another system", statusEvent(number, "wamid.1", "sent", "order 77"), &message.MarkedReport{}},
		{"93 a marker of another number's message", statusEvent(number, "wamid.1", "sent", "mark:"+theirs+":1"), &message.MarkedReport{}},
		{"a marker of no message", statusEvent(number, "wamid.1", "sent", "mark:x:1"), &message.MarkedReport{}},
		{"92 an unknown status", statusEvent(number, "wamid.1", "teleported", ""), &message.MarkedReport{}},
		{"neither", statusEvent(number, "", "sent", "order 77"), nil},
		{"91 not our number", statusEvent("555", "wamid.1", "sent", ""), nil},
		{"a marker of ours from a number that is not configured", statusEvent("42", "wamid.1", "sent", "mark:"+theirs+":2"), &message.MarkedReport{ID: theirs, Attempt: 2, Accepted: 17}},
		{"the same without Meta's id", statusEvent("42", "", "sent", "mark:"+theirs+":2"), &message.MarkedReport{ID: theirs, Attempt: 2, Accepted: 17}},
		{"no number", statusEvent("", "wamid.1", "sent", ""), nil},
		{"an inbound message", message.Event{Type: message.EventInbound, Number: number}, nil},
		{"a change of ours", message.Event{Type: message.EventMessage, Number: number, State: &message.Change{To: message.Sent}}, nil},
		{"an update", message.Event{Type: message.EventUpdate, WABA: "1"}, nil},
		{"a status without a report", message.Event{Type: message.EventStatus, Number: number}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &setup{ledger: &fakeLedger{wake: make(chan struct{}, 1)}}
			shard := shards.Of(tt.event.Number)
			apply(t, s.ledger, shard, tt.event)
			if tt.want == nil {
				if len(s.ledger.applied) != 0 {
					t.Errorf("applied %+v, want nothing", s.ledger.applied)
				}
				return
			}
			tt.want.StatusReport, tt.want.Received = *tt.event.Report, time.UnixMilli(tt.event.At)
			if !slices.Equal(s.ledger.applied, []message.MarkedReport{*tt.want}) || s.ledger.shards[0] != shard {
				t.Errorf("applied %+v in %v, want %+v", s.ledger.applied, s.ledger.shards, *tt.want)
			}
			if !maps.Equal(s.ledger.also[0], position) {
				t.Errorf("with it goes %v", s.ledger.also[0])
			}
		})
	}
}

func TestRun(t *testing.T) {
	for name, client := range map[string]func(*testing.T) redis.UniversalClient{
		"redis": func(t *testing.T) redis.UniversalClient { return redistest.Client(t) },
		"miniredis": func(t *testing.T) redis.UniversalClient {
			c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), DisableIdentity: true})
			t.Cleanup(func() { c.Close() })
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t, client(t))
			results := []message.ApplyResult{message.Applied, message.Repeated, message.Unmatched, message.UnknownStatus, message.Duplicate}
			given := 0
			s.ledger.answer = func(all []message.MarkedReport) ([]message.ApplyResult, error) {
				given += len(all)
				return results[given-len(all) : given], nil
			}
			id := message.NewID(number, "a")
			s.add(t,
				statusEvent(number, "wamid.1", "sent", ""), statusEvent(number, "wamid.1", "sent", ""),
				statusEvent("555", "wamid.9", "sent", ""), statusEvent(number, "", "sent", ""),
				statusEvent(number, "wamid.2", "delivered", ""), statusEvent(number, "wamid.1", "teleported", ""),
				statusEvent(number, "wamid.3", "failed", "mark:"+id+":2"))
			stop := s.run(t, func(n string) bool { return n == number })
			s.ledger.until(t, 5)
			before, err := s.db.Now(t.Context(), "k")
			if err != nil {
				t.Fatal(err)
			}
			untilWatermark(t, s, shards.Of(number), before)
			if age := s.metric(t, "sluice_reconcile_watermark_age_seconds", ""); age <= 0 || age > 20 {
				t.Errorf("watermark age %v s", age)
			}
			stop()

			for _, want := range []struct {
				name, label string
				n           float64
			}{
				{"sluice_status_events_total", "sent", 2},
				{"sluice_status_events_total", "delivered", 1},
				{"sluice_status_events_total", "read", 0},
				{"sluice_status_events_total", "failed", 1},
				{"sluice_status_events_total", "other", 1},
				{"sluice_status_applied_total", "applied", 1},
				{"sluice_status_applied_total", "repeat", 1},
				{"sluice_status_applied_total", "unmatched", 1},
				{"sluice_status_applied_total", "unknown_status", 1},
				{"sluice_status_applied_total", "duplicate", 1},
				{"sluice_status_applied_total", "outdated", 0},
				{"sluice_status_unconfigured_number_total", "", 1},
				{"sluice_status_unusable_total", "", 1},
			} {
				if got := s.metric(t, want.name, want.label); got != want.n {
					t.Errorf("%s{%s} = %v, want %v", want.name, want.label, got, want.n)
				}
			}
			if log := s.logs.String(); !strings.Contains(log, id) || !strings.Contains(log, "wamid.3") {
				t.Errorf("the duplicate is not in the log: %s", log)
			}
		})
	}
}

// untilWatermark waits until the watermark of a shard is after t0.
func untilWatermark(t *testing.T, s *setup, shard message.Shard, t0 time.Time) {
	t.Helper()
	poll.Until(t, fmt.Sprint("the watermark is after ", t0), func() bool {
		w, err := s.stream.Watermark(t.Context(), shard)
		if err != nil {
			t.Fatal(err)
		}
		return w.After(t0)
	})
}

// While the ledger fails, the watermark must not increase, and no report may be lost.
func TestTheWatermarkWaitsForTheLedger(t *testing.T) {
	t.Parallel()
	s := newSetup(t, redistest.Client(t))
	var mu sync.Mutex
	away, failed := true, make(chan struct{}, 1)
	s.ledger.answer = func(all []message.MarkedReport) ([]message.ApplyResult, error) {
		mu.Lock()
		defer mu.Unlock()
		if away {
			select {
			case failed <- struct{}{}:
			default:
			}
			return nil, context.DeadlineExceeded
		}
		return slices.Repeat([]message.ApplyResult{message.Applied}, len(all)), nil
	}
	s.add(t, statusEvent(number, "wamid.1", "sent", ""), statusEvent(number, "wamid.2", "sent", ""))
	arrived, err := s.db.Now(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, nil)
	for range 3 {
		<-failed
		if w, err := s.stream.Watermark(t.Context(), shards.Of(number)); err != nil || w.After(arrived) {
			t.Fatalf("watermark %v, %v although nothing was applied", w, err)
		}
	}
	// Meanwhile the watermark of the other shard increases.
	untilWatermark(t, s, 1-shards.Of(number), arrived)
	if w, err := s.stream.Watermark(t.Context(), shards.Of(number)); err != nil || w.After(arrived) {
		t.Fatalf("watermark %v, %v although nothing was applied", w, err)
	}
	mu.Lock()
	away = false
	mu.Unlock()
	s.ledger.until(t, 2)
	untilWatermark(t, s, shards.Of(number), arrived)
}

func TestWithoutAListEveryNumberIsKnown(t *testing.T) {
	t.Parallel()
	l := &fakeLedger{wake: make(chan struct{}, 1)}
	r := reconcile.New(oneBatch{0, []message.Event{statusEvent("", "wamid.1", "sent", ""), statusEvent("555", "wamid.2", "sent", "")}},
		l, reconcile.Options{Mark: mark})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.applied) != 1 || l.applied[0].WAMID != "wamid.2" {
		t.Errorf("applied %+v, want the one with a number", l.applied)
	}
}

// TestANumberIsKnownByItsMarkers: after a status with a valid marker for a number that is not configured here,
// statuses of the number without a marker are applied too.
func TestANumberIsKnownByItsMarkers(t *testing.T) {
	t.Parallel()
	l := &fakeLedger{wake: make(chan struct{}, 1)}
	theirs := message.NewID("42", "a")
	r := reconcile.New(oneBatch{0, []message.Event{
		statusEvent("42", "wamid.1", "failed", ""),
		statusEvent("42", "wamid.2", "sent", "mark:"+theirs+":1"),
		statusEvent("42", "wamid.3", "failed", ""),
		statusEvent("43", "wamid.4", "failed", ""),
	}}, l, reconcile.Options{Mark: mark, Known: func(n string) bool { return n == number }})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range l.applied {
		got = append(got, e.WAMID)
	}
	if want := []string{"wamid.2", "wamid.3"}; !slices.Equal(got, want) {
		t.Errorf("applied %v, want %v", got, want)
	}
}

// TestCallbacks: Applied is called with the reports that changed a record, and NoteAccount with the accounts of
// known numbers.
func TestCallbacks(t *testing.T) {
	t.Parallel()
	l := &fakeLedger{wake: make(chan struct{}, 1), answer: func([]message.MarkedReport) ([]message.ApplyResult, error) {
		return []message.ApplyResult{message.Applied, message.Repeated, message.Applied}, nil
	}}
	events := []message.Event{
		statusEvent(number, "wamid.1", "sent", ""), statusEvent(number, "wamid.2", "sent", ""), statusEvent(number, "wamid.3", "failed", ""),
		{Type: message.EventInbound, Number: "555"},
		{Type: message.EventUpdate},
	}
	for i := range events {
		events[i].WABA = fmt.Sprint("account ", i)
	}
	events[1].WABA = ""
	var called []string
	r := reconcile.New(oneBatch{0, events}, l, reconcile.Options{
		Mark: mark, Known: func(n string) bool { return n == number },
		Applied:     func(_ context.Context, e message.MarkedReport) { called = append(called, e.WAMID+" "+e.Status) },
		NoteAccount: func(_ context.Context, n, account string) { called = append(called, n+" "+account) },
	})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{number + " account 0", number + " account 2", "wamid.1 sent", "wamid.3 failed"}; !slices.Equal(called, want) {
		t.Errorf("called %q, want %q", called, want)
	}
}

func TestRunReturnsTheStreamsError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	l := &fakeLedger{answer: func([]message.MarkedReport) ([]message.ApplyResult, error) { return nil, broken }}
	r := reconcile.New(oneBatch{0, []message.Event{statusEvent(number, "wamid.1", "sent", "")}}, l, reconcile.Options{Mark: mark})
	if err := r.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Run: %v", err)
	}
}

// TestStatusLatency: of a status that changed a record, since the webhook came; not of one that was applied before.
func TestStatusLatency(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	late := statusEvent(number, "wamid.1", "sent", "")
	late.At = now.Add(-7 * time.Second).UnixMilli()
	old := statusEvent(number, "wamid.2", "sent", "")
	old.At = now.Add(-time.Hour).UnixMilli()
	reg := prometheus.NewRegistry()
	l := &fakeLedger{answer: func([]message.MarkedReport) ([]message.ApplyResult, error) {
		return []message.ApplyResult{message.Repeated, message.Applied}, nil
	}}
	r := reconcile.New(oneBatch{events: []message.Event{old, late}}, l, reconcile.Options{
		Mark: mark, Known: func(string) bool { return true }, Now: func(context.Context) time.Time { return now }, Registerer: reg,
	})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	observed := ""
	for _, f := range families {
		if f.GetName() == "sluice_status_applied_latency_seconds" {
			h := f.GetMetric()[0].GetHistogram()
			observed = fmt.Sprint(h.GetSampleCount(), " of ", h.GetSampleSum(), " s")
		}
	}
	if observed != "1 of 7 s" {
		t.Errorf("observed %q, want one of 7 s", observed)
	}
}
