package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

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

// TestAppendPutsEventsTogether: an entry gets as many events as it may have, in order.
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

// held is a go-redis hook that blocks every pipeline until the test releases it.
type held struct {
	redis.Hook
	came, leave chan struct{}
}

func (h held) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h held) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h held) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.came <- struct{}{}
		<-h.leave
		return next(ctx, cmds)
	}
}

// TestCallersOfAppendShareEntries: calls during a round trip share the next one and its entry, and all get its
// result. The events of cancelled calls are not written.
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
		t.Errorf("a cancelled call: %v", err)
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
		t.Errorf("stored %d bytes, field bytes %v, field why %v", len(body), first["bytes"], first["why"])
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

// TestAnImpossibleEventDelaysNoOther: an event that cannot be encoded goes to the quarantine, and the others go
// to the streams.
func TestAnImpossibleEventDelaysNoOther(t *testing.T) {
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
