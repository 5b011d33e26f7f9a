package dispatch

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/store"
)

// stat is one figure of a Redis's INFO.
func (f *fixture) stat(section, name string) (v float64) {
	f.t.Helper()
	_, rest, _ := strings.Cut(f.db.Info(context.Background(), section).Val(), name+":")
	if _, err := fmt.Sscan(strings.Fields(rest)[0], &v); err != nil {
		f.t.Fatal(err)
	}
	return v
}

// goCPU is the time that this process has used.
func goCPU() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDrain is a task's way through the gate, asynq's server, a handler that does nothing, and
// back: what Go and Redis need for it, and what goes over the wire.
func BenchmarkDrain(b *testing.B) {
	f := setup(b)
	all := many(b.N, phone, message.Utility)
	f.add(all...)
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan struct{})
	cpu := func() float64 { return f.stat("cpu", "used_cpu_user") + f.stat("cpu", "used_cpu_sys") }
	commands := func() float64 { return f.stat("stats", "total_commands_processed") }
	sent := func() float64 {
		return f.stat("stats", "total_net_input_bytes") + f.stat("stats", "total_net_output_bytes")
	}
	c, n, s, g := cpu(), commands(), sent(), goCPU()
	b.ReportAllocs()
	b.ResetTimer()
	f.serve("w", func(ctx context.Context, _ string, _ int, _ any, slots *Slots) error {
		slots.Wait(ctx, false)
		if left.Add(-1) == 0 {
			close(done)
		}
		return nil
	}, Number{ID: phone, Rate: 20_000})
	<-done
	eventually(b, "all is acknowledged", func() bool {
		return f.db.HLen(context.Background(), store.Key(shards.Of(phone), "hands:"+phone)).Val() == 0 &&
			f.db.Exists(context.Background(), queue.KeysOf(shards.Of(phone), phone, message.Utility).Task+taskID(all[b.N-1].ID, 1)).Val() == 0
	})
	b.StopTimer()
	b.ReportMetric(float64((goCPU()-g).Microseconds())/float64(b.N), "go-us/op")
	b.ReportMetric((cpu()-c)*1e6/float64(b.N), "redis-us/op")
	b.ReportMetric((commands()-n)/float64(b.N), "commands/op")
	b.ReportMetric((sent()-s)/float64(b.N), "B-wire/op")
}
