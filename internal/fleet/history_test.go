package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/message"
	"sluice/internal/observed"
)

// fakeObserver has one throttled request of the number 7 in each slot.
type fakeObserver struct {
	mu   sync.Mutex
	read []int64
}

// slots returns those that were read.
func (f *fakeObserver) slots() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.read)
}

func (f *fakeObserver) Latest(context.Context) int64 { return int64(time.Now().UnixMilli() / 10000) }

func (f *fakeObserver) Requests(_ context.Context, slot int64) (map[string]observed.Requests, error) {
	f.mu.Lock()
	f.read = append(f.read, slot)
	f.mu.Unlock()
	return map[string]observed.Requests{"7": {Count: 2, Throttled: 1, Failed: 1, Latency: 300 * time.Millisecond, Longest: 70 * time.Second}}, nil
}

func (f *fakeObserver) Meta(context.Context) (map[string]observed.Meta, error) {
	return map[string]observed.Meta{"8": {Token: &observed.Token{}}}, nil
}

// TestHistory: attempts per second come from a counter that is only known while the number has work.
func TestHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// done and waiting of the number 7 at each sample; -1: without work, so the counter is not read; -2: the reading fails.
		at := []struct{ done, waiting int }{{100, 5}, {300, 5}, {-1, 0}, {-1, 0}, {600, 5}, {-2, 0}, {800, 5}, {-1, 0}, {800, 9}}
		k := 0
		seen := &fakeObserver{}
		f := New(Options{Numbers: func() []string { return []string{"7", "8"} }, Observed: seen, Rates: func(context.Context, []string) ([]backlog.Number, error) {
			now := at[min(k, len(at)-1)]
			k++
			if now.done == -2 {
				return nil, errors.New("away")
			}
			n := backlog.Number{Number: "7", Rate: 40, Full: 80, Waiting: []backlog.Waiting{{Class: message.Utility, Pending: now.waiting, Done: max(0, now.done)}}}
			return []backlog.Number{n, {Number: "8", Rate: 80, Full: 80}}, nil
		}})
		ctx, stop := context.WithCancel(t.Context())
		go f.Run(ctx, slog.New(slog.DiscardHandler))
		time.Sleep(7*sampleEvery + time.Second)
		synctest.Wait()
		got := ""
		for _, p := range f.History("7", time.Time{}) {
			got += fmt.Sprintf("%.0f/%d ", p.Attempts, p.Waiting)
			if p.Rate != 40 || p.Limit != 80 || p.Throttled != .1 || p.Failed != .1 || p.Latency != .15 || p.Longest != 65.535 {
				t.Errorf("%+v", p)
			}
		}
		// 200 in 10 s; 300 in 30 s, in which it was idle at two samples; 200 in 20 s, as one reading failed.
		if want := "0/5 20/5 10/0 10/0 10/5 10/5 0/0 "; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if p := f.History("7", time.Now().Add(-25*time.Second)); len(p) != 2 || p[0].Attempts != 10 || p[1].Attempts != 0 {
			t.Errorf("the last 25 s: %+v", p)
		}
		if _, throttled := f.history.recent("7", time.Now()); throttled < .099 || throttled > .101 || f.history.metaOf("8").Token == nil || f.history.metaOf("7").Token != nil {
			t.Errorf("%v throttled, %+v", throttled, f.history.meta)
		}
		read := seen.slots()
		if latest := seen.Latest(t.Context()); read[len(read)-1] < latest-1 {
			t.Errorf("it read the slots %v, the latest is %d", read, latest)
		}
		for i, slot := range read[1:] {
			if slot <= read[i] || slot > read[i]+2 {
				t.Errorf("it read the slots %v", read)
			}
		}
		if f.History("8", time.Time{}) != nil || len(f.history.numbers) != 1 {
			t.Error("an idle number uses memory")
		}
		if idle := f.history.idle("7", time.Now()); idle > 2*time.Second {
			t.Errorf("without waiting messages it is idle for %s", idle)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if p := f.History("7", time.Time{}); len(p) != samples {
			t.Errorf("%d points", len(p))
		}
		if idle := f.history.idle("7", time.Now()); idle < 9*time.Minute {
			t.Errorf("with waiting messages it is idle for %s", idle)
		}
		stop()
		synctest.Wait()
	})
}
