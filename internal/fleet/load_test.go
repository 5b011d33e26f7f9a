package fleet_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/backlog"
	"sluice/internal/fleet"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/observed"
	"sluice/internal/queue"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const shards = message.DefaultShards

// commands counts the commands that a client sends.
type commands struct{ atomic.Int64 }

func (c *commands) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.Add(1)
		return next(ctx, cmd)
	}
}

func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

// busy returns a fleet of numbers that all have waiting messages, a hold on a tag and one on a number, dead letters
// and in-doubt messages; and what counts its commands.
func busy(t testing.TB, numbers, waiting int) (*fleet.Fleet, *commands) {
	t.Helper()
	c := redistest.Start(t, "--appendonly", "no", "--save", "").Client()
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, numbers)
	var tasks []any
	for i := range waiting / numbers {
		tasks = append(tasks, fmt.Sprint("m", i))
	}
	for i := range ids {
		ids[i] = fmt.Sprint(106540000000000 + i)
	}
	_, err = c.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for i, id := range ids {
			s := shards.Of(id)
			k := queue.KeysOf(s, id, message.Classes()[i%4])
			p.SAdd(t.Context(), queue.WorkKey(s), id)
			p.LPush(t.Context(), k.Pending, tasks...)
			p.HSet(t.Context(), k.Task+"m0", "pending_since", time.Now().Add(-time.Hour).UnixNano())
			for list, member := range map[message.List]string{message.ListDead: "131000:x:" + id + "-a", message.ListInDoubt: id + "-b", message.ListParked: id + "-c", message.ListAwaiting: id + "-d"} {
				p.ZAdd(t.Context(), store.Key(s, string(list)), redis.Z{Score: 1, Member: member})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	reader, held := backlog.New(db, shards, func(string) int { return 80 }), holds.New(db, shards, log)
	for _, h := range []message.Hold{{Number: ids[0], By: "anna", Reason: "x"}, {Tag: "spring", By: "anna", Reason: "x"}} {
		if _, err := held.Set(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	var count commands
	c.AddHook(&count)
	return fleet.New(fleet.Options{Numbers: func() []string { return ids }, Observed: observed.New(db, shards), Rates: reader.ReadAll, Lists: ledger.New(db, ledger.Options{Shards: shards}).CountLists, Holds: struct {
		*holds.Store
		*backlog.Reader
	}{held, reader}}), &count
}

// TestReadOfThousandsIsCheap: 2,000 busy numbers cost Redis less than 200 commands.
func TestReadOfThousandsIsCheap(t *testing.T) {
	t.Parallel()
	f, count := busy(t, 2000, 20_000)
	if _, err := f.Read(t.Context()); err != nil { // loads the scripts
		t.Fatal(err)
	}
	fleet.Forget(f)
	before := count.Load()
	s, err := f.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := count.Load() - before; n >= 200 || n < 16 {
		t.Errorf("%d commands", n)
	}
	fleet.Sort(s.Numbers)
	n := s.Numbers[0]
	if len(s.Numbers) != 2000 || n.Waiting != 10 || n.InDoubt != 1 || n.Parked != 1 || n.Dead != 1 || n.Awaiting != 1 || n.Classes[0].Oldest < 3500 ||
		s.Lists != (ledger.ListCounts{InDoubt: 2000, Parked: 2000, Dead: 2000, Awaiting: 2000}) {
		t.Errorf("%d numbers, %+v, %+v", len(s.Numbers), s.Lists, n)
	}
}

// BenchmarkRead reads 2,000 numbers with 1,000,000 waiting messages.
func BenchmarkRead(b *testing.B) {
	f, count := busy(b, 2000, 1_000_000)
	b.ResetTimer()
	for b.Loop() {
		fleet.Forget(f)
		if _, err := f.Read(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(count.Load())/float64(b.N), "commands/op")
}
