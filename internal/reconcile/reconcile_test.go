package reconcile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/reconcile"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const (
	number                = "106540352242922"
	shards message.Shards = 2
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLedger remembers what was folded. A function may answer instead of it.
type fakeLedger struct {
	answer func([]message.MarkedReport) ([]message.ApplyResult, error)

	mu     sync.Mutex
	folded []message.MarkedReport
	shards []message.Shard
	also   []map[string]string
	store  *store.DB // where also goes; nil: nowhere
	wake   chan struct{}
}

func (f *fakeLedger) Apply(ctx context.Context, shard message.Shard, evidence []message.MarkedReport, also map[string]string) ([]message.ApplyResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	results := slices.Repeat([]message.ApplyResult{message.Applied}, len(evidence))
	if f.answer != nil {
		var err error
		if results, err = f.answer(evidence); err != nil {
			return nil, err
		}
	}
	if f.store != nil {
		if err := f.store.MSet(ctx, also).Err(); err != nil {
			return nil, err
		}
	}
	f.folded = append(f.folded, evidence...)
	f.shards, f.also = append(f.shards, shard), append(f.also, also)
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return results, nil
}

func (f *fakeLedger) until(t *testing.T, n int) []message.MarkedReport {
	t.Helper()
	for late := time.After(20 * time.Second); ; {
		f.mu.Lock()
		folded := slices.Clone(f.folded)
		f.mu.Unlock()
		if len(folded) >= n {
			return folded
		}
		select {
		case <-f.wake:
		case <-late:
			t.Fatalf("%d of %d receipts folded after 20 s", len(folded), n)
		}
	}
}

// mark reads the markers of these tests, "mark:<id>:<attempt>", which say 17 as the time of acceptance.
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

// run starts a Reconciler; stop ends it and waits for it.
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

func receipt(number, wamid, status, marker string) message.Event {
	return message.Event{
		Type: message.EventStatus, At: 1750030073000, Number: number,
		Report: &message.StatusReport{Number: number, WAMID: wamid, Status: status, Marker: marker},
	}
}

func TestEvidence(t *testing.T) {
	t.Parallel()
	mine, theirs := message.NewID(number, "a"), message.NewID("42", "a")
	for _, tt := range []struct {
		name  string
		event message.Event
		want  *message.MarkedReport // nil: none
	}{
		{"marker and wamid", receipt(number, "wamid.1", "sent", "mark:"+mine+":3"), &message.MarkedReport{ID: mine, Attempt: 3, Accepted: 17}},
		{"marker only", receipt(number, "", "sent", "mark:"+mine+":1"), &message.MarkedReport{ID: mine, Attempt: 1, Accepted: 17}},
		{"wamid only", receipt(number, "wamid.1", "sent", ""), &message.MarkedReport{}},
		{"93 somebody else's marker", receipt(number, "wamid.1", "sent", "order 77"), &message.MarkedReport{}},
		{"93 a marker of another number's message", receipt(number, "wamid.1", "sent", "mark:"+theirs+":1"), &message.MarkedReport{}},
		{"a marker of no message", receipt(number, "wamid.1", "sent", "mark:x:1"), &message.MarkedReport{}},
		{"92 a status nobody knows", receipt(number, "wamid.1", "teleported", ""), &message.MarkedReport{}},
		{"neither", receipt(number, "", "sent", "order 77"), nil},
		{"91 not our number", receipt("555", "wamid.1", "sent", ""), nil},
		{"a marker of ours from a number that is not configured", receipt("42", "wamid.1", "sent", "mark:"+theirs+":2"), &message.MarkedReport{ID: theirs, Attempt: 2, Accepted: 17}},
		{"the same without Meta's id", receipt("42", "", "sent", "mark:"+theirs+":2"), &message.MarkedReport{ID: theirs, Attempt: 2, Accepted: 17}},
		{"no number", receipt("", "wamid.1", "sent", ""), nil},
		{"an inbound message", message.Event{Type: message.EventInbound, Number: number}, nil},
		{"a change of ours", message.Event{Type: message.EventMessage, Number: number, State: &message.Change{To: message.Sent}}, nil},
		{"an update", message.Event{Type: message.EventUpdate, WABA: "1"}, nil},
		{"a status without a receipt", message.Event{Type: message.EventStatus, Number: number}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &setup{ledger: &fakeLedger{wake: make(chan struct{}, 1)}}
			shard := shards.Of(tt.event.Number)
			fold(t, s.ledger, shard, tt.event)
			if tt.want == nil {
				if len(s.ledger.folded) != 0 {
					t.Errorf("folded %+v, want nothing", s.ledger.folded)
				}
				return
			}
			tt.want.StatusReport = *tt.event.Report
			if !slices.Equal(s.ledger.folded, []message.MarkedReport{*tt.want}) || s.ledger.shards[0] != shard {
				t.Errorf("folded %+v in %v, want %+v", s.ledger.folded, s.ledger.shards, *tt.want)
			}
			if !maps.Equal(s.ledger.also[0], position) {
				t.Errorf("with it goes %v", s.ledger.also[0])
			}
		})
	}
}

// oneBatch is a stream that hands over one batch and ends.
type oneBatch struct {
	shard  message.Shard
	events []message.Event
}

// position is what is to be stored with the batch.
var position = map[string]string{"applied": "1-0"}

func (o oneBatch) Read(ctx context.Context, _ string, handle func(context.Context, message.Shard, []message.Event, map[string]string) (bool, error)) error {
	_, err := handle(ctx, o.shard, o.events, position)
	return err
}
func (oneBatch) Lag() time.Duration         { return 0 }
func (oneBatch) Trim(context.Context) error { return nil }
func (oneBatch) NoteReceived(context.Context, map[message.Shard]message.LastReceived) error {
	return nil
}

func fold(t *testing.T, l *fakeLedger, shard message.Shard, all ...message.Event) {
	t.Helper()
	r := reconcile.New(oneBatch{shard, all}, l, reconcile.Options{
		Mark: mark, Known: func(n string) bool { return n == number },
	})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
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
				receipt(number, "wamid.1", "sent", ""), receipt(number, "wamid.1", "sent", ""),
				receipt("555", "wamid.9", "sent", ""), receipt(number, "", "sent", ""),
				receipt(number, "wamid.2", "delivered", ""), receipt(number, "wamid.1", "teleported", ""),
				receipt(number, "wamid.3", "failed", "mark:"+id+":2"))
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

// untilWatermark waits until everything of a shard that arrived before t0 is known to be folded.
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

// While the ledger fails the watermark must stand still, and nothing may be lost.
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
	s.add(t, receipt(number, "wamid.1", "sent", ""), receipt(number, "wamid.2", "sent", ""))
	arrived, err := s.db.Now(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, nil)
	for range 3 {
		<-failed
		if w, err := s.stream.Watermark(t.Context(), shards.Of(number)); err != nil || w.After(arrived) {
			t.Fatalf("watermark %v, %v although nothing was folded", w, err)
		}
	}
	// It does stand still: the other shard's goes on meanwhile.
	untilWatermark(t, s, 1-shards.Of(number), arrived)
	if w, err := s.stream.Watermark(t.Context(), shards.Of(number)); err != nil || w.After(arrived) {
		t.Fatalf("watermark %v, %v although nothing was folded", w, err)
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
	r := reconcile.New(oneBatch{0, []message.Event{receipt("", "wamid.1", "sent", ""), receipt("555", "wamid.2", "sent", "")}},
		l, reconcile.Options{Mark: mark})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.folded) != 1 || l.folded[0].WAMID != "wamid.2" {
		t.Errorf("folded %+v, want the one that has a number", l.folded)
	}
}

// written reads the messages of these tests: the account is the message's id, and its arrival is when it
// was written.
func written(e message.Event) (string, time.Time) {
	if e.At == 0 {
		return e.WABA, time.Time{}
	}
	return e.WABA, time.Unix(e.At, 0)
}

// TestInboundMessagesAreCounted: those that were written just now, each once, by number, our numbers' only,
// after the receipts are folded; and whoever counts them cannot hold the events back.
func TestInboundMessagesAreCounted(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 700e6, time.UTC)
	for name, broken := range map[string]error{"counted": nil, "not to be counted": errors.New("broken")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serial := 0
			inbound := func(number string) message.Event {
				serial++
				return message.Event{Type: message.EventInbound, Number: number, WABA: fmt.Sprint(serial), At: now.Unix()}
			}
			aged := func(ago time.Duration) message.Event {
				e := inbound(number)
				e.At = now.Add(-ago).Unix()
				return e
			}
			l := &fakeLedger{wake: make(chan struct{}, 1)}
			var logs bytes.Buffer
			got := map[string]int{}
			calls := 0
			r := reconcile.New(oneBatch{0, []message.Event{
				inbound(number), inbound("555"), inbound("42"), inbound(""), receipt(number, "wamid.1", "sent", ""), inbound(number),
				{Type: message.EventUpdate, Number: number},
				inbound(number),
				{Type: message.EventInbound, Number: number, WABA: fmt.Sprint(serial), At: now.Unix()},
				aged(3 * time.Second), aged(time.Hour), aged(-time.Hour),
				{Type: message.EventInbound, Number: number, WABA: "x"},
				aged(2 * time.Second),
			}}, l, reconcile.Options{
				Mark: mark, Known: func(n string) bool { return n == number || n == "42" },
				Log:     slog.New(slog.NewJSONHandler(&logs, nil)),
				Written: written,
				Now:     func(context.Context) time.Time { return now },
				Inbound: func(ctx context.Context, n string, count int) error {
					calls++
					got[n] += count
					return broken
				},
			})
			if err := r.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if want := map[string]int{number: 4, "42": 1}; !maps.Equal(got, want) || calls != len(want) {
				t.Errorf("counted %v in %d calls, want %v in one call each", got, calls, want)
			}
			if len(l.folded) != 1 {
				t.Errorf("folded %+v", l.folded)
			}
			if told := strings.Contains(logs.String(), number); told != (broken != nil) {
				t.Errorf("the log: %s", &logs)
			}
		})
	}
}

// TestInboundMessagesWaitForTheLedger: events that come again must not be counted twice.
func TestInboundMessagesWaitForTheLedger(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	l := &fakeLedger{answer: func([]message.MarkedReport) ([]message.ApplyResult, error) { return nil, broken }}
	r := reconcile.New(oneBatch{0, []message.Event{
		{Type: message.EventInbound, Number: number, WABA: "1", At: time.Now().Unix()}, receipt(number, "wamid.1", "sent", ""),
	}}, l, reconcile.Options{Mark: mark, Written: written, Inbound: func(context.Context, string, int) error {
		t.Error("counted")
		return nil
	}})
	if err := r.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Run: %v", err)
	}
}

// TestANumberIsKnownByItsMarkers: once a marker of ours came back from a number that is not
// configured here, its reports without a marker are applied too.
func TestANumberIsKnownByItsMarkers(t *testing.T) {
	t.Parallel()
	l := &fakeLedger{wake: make(chan struct{}, 1)}
	theirs := message.NewID("42", "a")
	r := reconcile.New(oneBatch{0, []message.Event{
		receipt("42", "wamid.1", "failed", ""),
		receipt("42", "wamid.2", "sent", "mark:"+theirs+":1"),
		receipt("42", "wamid.3", "failed", ""),
		receipt("43", "wamid.4", "failed", ""),
	}}, l, reconcile.Options{Mark: mark, Known: func(n string) bool { return n == number }})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range l.folded {
		got = append(got, e.WAMID)
	}
	if want := []string{"wamid.2", "wamid.3"}; !slices.Equal(got, want) {
		t.Errorf("applied %v, want %v", got, want)
	}
}

// TestWhoHearsOfAReport: Applied hears of reports that changed a record, and of no others; NoteAccount of the account of each
// number of ours.
func TestWhoHearsOfAReport(t *testing.T) {
	t.Parallel()
	l := &fakeLedger{wake: make(chan struct{}, 1), answer: func([]message.MarkedReport) ([]message.ApplyResult, error) {
		return []message.ApplyResult{message.Applied, message.Repeated, message.Applied}, nil
	}}
	events := []message.Event{
		receipt(number, "wamid.1", "sent", ""), receipt(number, "wamid.2", "sent", ""), receipt(number, "wamid.3", "failed", ""),
		{Type: message.EventInbound, Number: "555"},
		{Type: message.EventUpdate},
	}
	for i := range events {
		events[i].WABA = fmt.Sprint("account ", i)
	}
	events[1].WABA = ""
	var heard []string
	r := reconcile.New(oneBatch{0, events}, l, reconcile.Options{
		Mark: mark, Known: func(n string) bool { return n == number },
		Applied:     func(_ context.Context, e message.MarkedReport) { heard = append(heard, e.WAMID+" "+e.Status) },
		NoteAccount: func(_ context.Context, n, account string) { heard = append(heard, n+" "+account) },
	})
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{number + " account 0", number + " account 2", "wamid.1 sent", "wamid.3 failed"}; !slices.Equal(heard, want) {
		t.Errorf("heard %q, want %q", heard, want)
	}
}

func TestRunReturnsTheStreamsError(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	l := &fakeLedger{answer: func([]message.MarkedReport) ([]message.ApplyResult, error) { return nil, broken }}
	r := reconcile.New(oneBatch{0, []message.Event{receipt(number, "wamid.1", "sent", "")}}, l, reconcile.Options{Mark: mark})
	if err := r.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Run: %v", err)
	}
}

// TestWhatWasHeardIsTold: when Meta was last heard, and when it made a number's last status.
func TestWhatWasHeardIsTold(t *testing.T) {
	t.Parallel()
	s := newSetup(t, redistest.Client(t))
	now := time.Now().Truncate(time.Millisecond)
	at := func(ago time.Duration) int64 { return now.Add(-ago).UnixMilli() }
	status := func(ago, made time.Duration) message.Event {
		return message.Event{Type: message.EventStatus, At: at(ago), Number: number, Report: &message.StatusReport{
			Number: number, WAMID: "wamid.A", Status: "sent", At: now.Add(-made),
		}}
	}
	s.add(t,
		message.Event{Type: message.EventMessage, At: at(0), Number: number}, // ours says nothing of Meta
		message.Event{Type: message.EventInbound, At: at(10 * time.Second), Number: number},
		status(20*time.Second, time.Hour), // it comes late
		status(30*time.Second, time.Minute),
	)
	s.run(t, nil)
	for late := time.After(20 * time.Second); ; {
		c, err := s.stream.Channel(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		last, made := c.LastWebhook, c.LastStatus
		if last.Equal(now.Add(-10*time.Second)) && made.Equal(now.Add(-time.Minute)) {
			break
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatalf("heard %s ago, a status made %s ago", now.Sub(last), now.Sub(made))
		}
	}
	// What is older changes nothing, and a clock ahead of Redis's counts as now.
	err := s.stream.NoteReceived(t.Context(), map[message.Shard]message.LastReceived{shards.Of(number): {
		Any: now.Add(time.Hour), Statuses: map[string]time.Time{number: now.Add(-2 * time.Minute)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.stream.Channel(t.Context(), number)
	last, made := c.LastWebhook, c.LastStatus
	if err != nil || last.After(time.Now().Add(time.Second)) || last.Before(now) || !made.Equal(now.Add(-time.Minute)) {
		t.Errorf("heard at %s, a status made at %s, %v; now is %s", last, made, err, now)
	}
	if c, err := s.stream.Channel(t.Context(), "1"); err != nil || !c.LastWebhook.Equal(last) || !c.LastStatus.IsZero() || c.Reported {
		t.Errorf("of a number never heard of: %+v, %v", c, err)
	}
}

func (l *fakeLedger) ApplyAllUnmatched(context.Context) (int, error) { return 0, nil }
