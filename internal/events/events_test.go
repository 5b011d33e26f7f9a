package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

// shards is small so that a test sees every shard and leaves few connections.
const shards message.Shards = 2

var numberB = otherShard(numberA)

func otherShard(number string) string {
	for i := 1; ; i++ {
		if n := strconv.Itoa(i); shards.Of(n) != shards.Of(number) {
			return n
		}
	}
}

// on runs a test on a real Redis and on the one that the demo carries with it.
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

// seen collects what a handler was given.
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
	for late := time.After(20 * time.Second); ; {
		if all := s.all(); len(all) >= n {
			return all
		}
		select {
		case <-s.wake:
		case <-late:
			t.Fatalf("%d of %d events after 20 s", len(s.all()), n)
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

// line is an event as it is in an entry.
func line(number string, n int) string {
	return fmt.Sprintf(`{"v":2,"type":"status","at":1,"phone_number_id":%q,"report":{"phone_number_id":%q,"wamid":"wamid.%d","status":"sent"}}`, number, number, n)
}

// applied waits until all Meta events are.
func applied(t *testing.T, s *events.Stream) {
	t.Helper()
	eventually(t, "all applied", func() bool {
		n, err := s.Behind(t.Context())
		return err == nil && n == 0
	})
}

// eventually waits for what Redis shows only when asked.
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

// On a Cluster the shards lie in different slots: no command and no script may reach over two.
func TestEverythingWorksOnACluster(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--cluster-enabled", "yes")
	if err := server.Client().Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}, DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	eventually(t, "a cluster", func() bool { return c.Set(t.Context(), "probe", 1, 0).Err() == nil })
	db := open(t, c)
	s := events.New(db, shards, events.Options{Retention: time.Hour, MaxLen: 10_000})
	for n := range 30 { // several entries
		appendAll(t, s, append(statuses(numberA, 10*n, 10*n+10), statuses(numberB, 10*n+1000, 10*n+1010)...))
	}
	got := newSeen()
	var failed atomic.Bool
	stop := read(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event, also map[string]string) (bool, error) {
		if shard == shards.Of(numberB) && !failed.Swap(true) {
			return false, errors.New("once")
		}
		return got.handle(ctx, shard, batch, also)
	})
	got.until(t, 600)
	applied(t, s)
	stop()
	for _, n := range []string{numberA, numberB} {
		if w, err := s.Watermark(t.Context(), shards.Of(n)); err != nil || time.Since(w).Abs() > time.Minute {
			t.Errorf("watermark %v, %v", w, err)
		}
	}
	add(t, db, events.MetaKey(shards.Of(numberB)), "*", events.Field, "{")
	stop = read(t, s, "one", got.handle)
	eventually(t, "a dead entry", func() bool { return db.XLen(t.Context(), events.DeadKey(shards.Of(numberB))).Val() == 1 })
	stop()
	began := time.Now()
	beats(t, s.NewLiveness("host-one"))
	if c := channel(t, s); c.Gap.Before(began.Add(time.Second)) { // another master's clock may be that much ahead
		t.Errorf("the gap before the first start ends at %s, it began at %s", c.Gap, began)
	}
	short := events.New(db, shards, events.Options{Retention: time.Millisecond, MaxLen: 100})
	if err := short.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{numberA, numberB} {
		if l := db.XLen(t.Context(), events.MetaKey(shards.Of(n))).Val(); l > 10 {
			t.Errorf("%d entries left after trimming", l)
		}
	}
	appendAll(t, s, statuses(numberA, 600, 601))
	enough := errors.New("enough")
	err := s.Follow(t.Context(), "0", nil, func(e message.Event) error {
		if e.Report.WAMID == "wamid.600" {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("Follow: %v", err)
	}
}

func TestAppendReportsEachFailedEntry(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	if err := db.Set(t.Context(), events.MetaKey(shards.Of(numberB)), "not a stream", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), []message.Event{status(numberA, 1), status(numberB, 2), status(numberA, 3)}); err == nil {
		t.Error("one of three could not be written, and Append returned nil")
	}
	if err := s.Append(t.Context(), nil); err != nil {
		t.Errorf("nothing to append: %v", err)
	}
}

func TestAppendChoosesTheStream(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	appendAll(t, s, []message.Event{
		{Type: message.EventUpdate, Number: numberA, WABA: numberB, Meta: json.RawMessage("{\"a\": \"<as it came>\",\n\n\"b\":\"\\n\"}")},
		{Type: message.EventUpdate, WABA: numberB},
		{Type: message.EventMessage, Number: numberA},
	})
	for key, want := range map[string]string{
		events.MetaKey(shards.Of(numberA)):    fmt.Sprintf(`{"v":2,"type":"update","at":0,"phone_number_id":%q,"waba_id":%q,"meta":{"a": "<as it came>",  "b":"\n"}}`, numberA, numberB),
		events.MetaKey(shards.Of(numberB)):    fmt.Sprintf(`{"v":2,"type":"update","at":0,"waba_id":%q}`, numberB),
		events.MessageKey(shards.Of(numberA)): fmt.Sprintf(`{"v":2,"type":"message","at":0,"phone_number_id":%q}`, numberA),
	} {
		entries := db.XRange(t.Context(), key, "-", "+").Val()
		if len(entries) != 1 || entries[0].Values[events.Field] != want {
			t.Errorf("%s: %v, want one entry of %s", key, entries, want)
		}
	}
}

// TestAppendPutsEventsTogether: as many events into an entry as it may hold, in their order.
func TestAppendPutsEventsTogether(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	entries := func() (counts []int, all []string) {
		t.Helper()
		for _, x := range db.XRange(t.Context(), events.MetaKey(shards.Of(numberA)), "-", "+").Val() {
			some, err := events.Decode(x)
			if err != nil {
				t.Fatal(err)
			}
			counts = append(counts, len(some))
			for _, e := range some {
				all = append(all, e.Report.WAMID)
			}
		}
		return counts, all
	}
	appendAll(t, s, statuses(numberA, 0, 250))
	if counts, all := entries(); !slices.Equal(counts, []int{100, 100, 50}) || !slices.Equal(all, wamids(0, 250)) {
		t.Errorf("entries of %v events: %v", counts, all)
	}
	db.FlushAll(t.Context())
	large := statuses(numberA, 0, 5)
	for i, size := range []int{100, 300 << 10, 300 << 10, 2 << 20, 100} {
		large[i].Meta = json.RawMessage(`"` + strings.Repeat("x", size) + `"`)
	}
	appendAll(t, s, large)
	if counts, all := entries(); !slices.Equal(counts, []int{2, 1, 1, 1}) || !slices.Equal(all, wamids(0, 5)) {
		t.Errorf("entries of %v events: %v", counts, all)
	}
}

// held is a go-redis hook that holds every pipeline until the test lets it go.
type held struct {
	redis.Hook
	came, leave chan struct{}
}

func (h held) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (h held) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (h held) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.came <- struct{}{}
		<-h.leave
		return next(ctx, cmds)
	}
}

// TestCallersOfAppendShareEntries: those who come while a round trip is under way go with the next,
// into one entry, and all learn what became of it. Of those who left nothing is written.
func TestCallersOfAppendShareEntries(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	hold := held{came: make(chan struct{}), leave: make(chan struct{})}
	db.AddHook(hold)
	results := make(chan error)
	call := func(ctx context.Context, all []message.Event) { results <- s.Append(ctx, all) }
	go call(t.Context(), statuses(numberA, 0, 1))
	<-hold.came
	ctx, leave := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	go call(ctx, statuses(numberA, 1, 2))
	for i := 2; i < 32; i++ {
		go call(t.Context(), append(statuses(numberA, i, i+1), statuses(numberB, i, i+1)...))
	}
	eventually(t, "61 parts wait", func() bool { return events.Waiting(s) == 61 })
	leave(gone)
	if err := <-results; !errors.Is(err, gone) {
		t.Errorf("a caller who left: %v", err)
	}
	hold.leave <- struct{}{}
	if err := <-results; err != nil {
		t.Error(err)
	}
	<-hold.came
	hold.leave <- struct{}{}
	for range 30 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	for number, want := range map[string][]int{numberA: {1, 30}, numberB: {30}} {
		var counts []int
		for _, x := range db.XRange(t.Context(), events.MetaKey(shards.Of(number)), "-", "+").Val() {
			some, _ := events.Decode(x)
			counts = append(counts, len(some))
		}
		if !slices.Equal(counts, want) {
			t.Errorf("entries of %v events, want %v", counts, want)
		}
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	if err := s.Quarantine(t.Context(), make([]byte, 100_000), "not JSON"); err != nil {
		t.Fatal(err)
	}
	first := db.XRange(t.Context(), events.QuarantineKey(), "-", "+").Val()[0].Values
	if body := first["body"].(string); len(body) != 64<<10 || first["bytes"] != "100000" || first["why"] != "not JSON" {
		t.Errorf("kept %d bytes, said %v because %v", len(body), first["bytes"], first["why"])
	}
	for range 1500 {
		if err := s.Quarantine(t.Context(), []byte("x"), "not JSON"); err != nil {
			t.Fatal(err)
		}
	}
	if n := db.XLen(t.Context(), events.QuarantineKey()).Val(); n < 1000 || n > 1200 {
		t.Errorf("%d bodies kept, want about 1000", n)
	}
}

func TestFollow(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		for n := range 500 { // more than two pages, the shards unevenly filled
			number := numberA
			if n%50 == 0 {
				number = numberB
			}
			key := events.MetaKey(shards.Of(number))
			if n%3 == 0 { // for Follow it does not matter what is where
				key = events.MessageKey(shards.Of(number))
			}
			add(t, db, key, fmt.Sprintf("%d-0", 1000+n), events.Field, line(number, n))
		}
		add(t, db, events.MetaKey(shards.Of(numberA)), "*", events.Field, "{")
		enough := errors.New("enough")
		follow := func(from string, n int) (got []string) {
			t.Helper()
			err := s.Follow(t.Context(), from, nil, func(e message.Event) error {
				if got = append(got, e.Report.WAMID); len(got) == n {
					return enough
				}
				return nil
			})
			if !errors.Is(err, enough) {
				t.Fatalf("Follow(%q): %v", from, err)
			}
			return got
		}
		for _, tt := range []struct {
			from string
			want []string
		}{
			{"0", wamids(0, 500)},
			{"1450", wamids(450, 500)},
			{"1450-0", wamids(451, 500)},
			{"1970-01-01T00:00:01.4Z", wamids(400, 500)},
		} {
			if got := follow(tt.from, len(tt.want)); !slices.Equal(got, tt.want) {
				t.Errorf("from %s: %v", tt.from, got)
			}
		}

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		started, fresh := make(chan struct{}), make(chan string, 1)
		done := make(chan error, 1)
		go func() {
			var once sync.Once
			done <- s.Follow(ctx, "$", nil, func(e message.Event) error {
				if e.Report.Status == "probe" {
					once.Do(func() { close(started) })
					return nil
				}
				fresh <- e.Report.WAMID
				return nil
			})
		}()
		for following := false; !following; {
			probe := status(numberB, 0)
			probe.Report.Status = "probe"
			appendAll(t, s, []message.Event{probe})
			select {
			case <-started:
				following = true
			case <-time.After(20 * time.Millisecond):
			}
		}
		appendAll(t, s, statuses(numberA, 9000, 9001))
		if got := <-fresh; got != "wamid.9000" {
			t.Errorf("followed %s, want only what is new", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Follow after its context ended: %v", err)
		}

		for _, bad := range []string{"", "x", "-1", "1-", "1-2-3", "2026-13-01T00:00:00Z", "99999999999999999999"} {
			if err := s.Follow(t.Context(), bad, nil, nil); err == nil {
				t.Errorf("from %q was taken", bad)
			}
		}
	})
}

// TestFollowSomeTypes: only the streams are read that may hold them.
func TestFollowSomeTypes(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	other := message.Event{Type: message.EventInbound, Number: numberA}
	ours := message.Event{Type: message.EventMessage, Number: numberA}
	appendAll(t, s, []message.Event{other, status(numberA, 1), ours})
	follow := func(types ...string) (got []string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := s.Follow(ctx, "0", types, func(e message.Event) error {
			got = append(got, e.Type)
			cancel()
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return got
	}
	// What is of another type than a stream cannot be read as one.
	db.Rename(t.Context(), events.MessageKey(shards.Of(numberA)), "kept")
	db.Set(t.Context(), events.MessageKey(shards.Of(numberA)), "no stream", 0)
	if got := follow(message.EventStatus); !slices.Equal(got, []string{message.EventStatus}) {
		t.Errorf("of statuses: %v", got)
	}
	db.Rename(t.Context(), "kept", events.MessageKey(shards.Of(numberA)))
	db.Set(t.Context(), events.MetaKey(shards.Of(numberA)), "no stream", 0)
	if got := follow(message.EventMessage); !slices.Equal(got, []string{message.EventMessage}) {
		t.Errorf("of messages: %v", got)
	}
}

func BenchmarkAppend(b *testing.B) {
	db := open(b, redistest.Client(b))
	s := events.New(db, message.DefaultShards, events.Options{})
	for _, n := range []int{1, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			all := make([]message.Event, n)
			for i := range all {
				all[i] = status(strconv.Itoa(1000+i%16), i)
			}
			for b.Loop() {
				if err := s.Append(b.Context(), all); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// TestAnImpossibleEventHoldsUpNoOther: it goes to the quarantine, and what came with it to the streams.
func TestAnImpossibleEventHoldsUpNoOther(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		bad := status(numberA, 7)
		bad.Report.At = time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC)
		bad.Meta = json.RawMessage(`{"id":"wamid.7"}`)
		for _, all := range [][]message.Event{
			{bad},
			{status(numberA, 0), bad, status(numberA, 1), status(numberB, 2), bad},
		} {
			if err := s.Append(t.Context(), all); err != nil {
				t.Fatal(err)
			}
		}
		got := newSeen()
		read(t, s, "one", got.handle)
		all := got.until(t, 3)
		slices.Sort(all)
		if !slices.Equal(all, wamids(0, 3)) {
			t.Errorf("read %v", all)
		}
		kept := db.XRange(t.Context(), events.QuarantineKey(), "-", "+").Val()
		if len(kept) != 3 || kept[0].Values["body"] != `{"id":"wamid.7"}` {
			t.Errorf("in the quarantine: %v", kept)
		}
	})
}
