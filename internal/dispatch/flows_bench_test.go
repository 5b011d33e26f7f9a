package dispatch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
)

// scripts returns how long Redis has run scripts, and how many commands it has run, also in scripts.
func (f *fixture) scripts() (micros, commands float64) {
	_, line, _ := strings.Cut(f.db.Info(f.t.Context(), "commandstats").Val(), "cmdstat_evalsha:")
	fmt.Sscanf(line, "calls=%f,usec=%f", new(float64), &micros)
	return micros, f.stat("stats", "total_commands_processed")
}

// BenchmarkFlows is what a fetch costs Redis for each task: where no flow has a name, with one client, and with the campaigns of
// several; at 1,000 messages a second and at 80.
func BenchmarkFlows(b *testing.B) {
	for _, rate := range []int{1000, 80} {
		for _, one := range []struct {
			name               string
			clients, campaigns int
		}{{"no client", 0, 0}, {"1 client", 1, 0}, {"4 clients with 10 campaigns", 4, 10}} {
			b.Run(fmt.Sprintf("%d a second, %s", rate, one.name), func(b *testing.B) {
				f := setupRecords(b)
				c := f.stopClock()
				g, n := c.gate("w", rate)
				g.o.Weigh = func(f message.Flow) (int, int) { return len(f.Client), 1 }
				tasks := many(b.N, phone, message.Marketing)
				for i := range tasks {
					if one.clients > 0 {
						tasks[i].Flow.Client = fmt.Sprintf("client-%d", i%one.clients)
					}
					if one.campaigns > 0 {
						tasks[i].Flow.Campaign = fmt.Sprintf("campaign-%d", i/one.clients%one.campaigns)
					}
				}
				f.add(tasks...)
				f.record(tasks, Candidate{})
				micros, commands := f.scripts()
				b.ResetTimer()
				for at, got := time.Duration(0), 0; got < b.N; at += ratelimit.Horizon {
					c.set(at)
					near(n)
					n.call(every)
					ready, _, err := g.fetch(b.Context(), n, 500)
					if err != nil {
						b.Fatal(err)
					}
					got += len(ready)
					n.lease.Leave(queue.Exits(n.lease.All(), queue.Finished)...)
				}
				after, ran := f.scripts()
				b.ReportMetric((after-micros)/float64(b.N), "script-us/op")
				b.ReportMetric((ran-commands)/float64(b.N), "commands/op")
			})
		}
	}
}
