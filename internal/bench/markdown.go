package bench

import (
	"fmt"
	"io"
	"strings"
)

// figure is a figure to reach, and where in the rows it is.
type figure struct {
	what    string
	want    string
	bench   string
	of      func(Row) bool                // which rows of the bench
	value   func(Row) *float64            // nil: not in that row
	reached func(row Row, v float64) bool // whether it is reached
}

func atLeast(low float64) func(Row, float64) bool {
	return func(_ Row, v float64) bool { return v >= low }
}

func atMost(high float64) func(Row, float64) bool {
	return func(_ Row, v float64) bool { return v <= high }
}

func ours(r Row) bool {
	for _, baseline := range []string{"asynq: ", "net/http: ", "bullmq: "} {
		if strings.HasPrefix(r.Case, baseline) {
			return false
		}
	}
	return true
}

func called(prefix string) func(Row) bool {
	return func(r Row) bool { return strings.HasPrefix(r.Case, prefix) }
}

func both(a, b func(Row) bool) func(Row) bool { return func(r Row) bool { return a(r) && b(r) } }

func with(durability string) func(Row) bool {
	return func(r Row) bool { return r.Durability == durability }
}

// slow selects the rates at which a round trip has few messages.
func slow(r Row) bool { return r.Rate <= 80 }
func fast(r Row) bool { return r.Rate > 80 }

// figures are those to reach.
var figures = []figure{
	{"share of the rate limit used", ">= 99 %", "pace", called("at the limit"), func(r Row) *float64 { return r.Utilisation }, atLeast(0.99)},
	{"one-second windows above it where we write", "0", "pace", ours, func(r Row) *float64 { return r.WindowsOver }, atMost(0)},
	{"the simulator's largest window, at half load", "<= 1.02 x", "pace", called("at half"), func(r Row) *float64 {
		if r.SimWindow == nil {
			return nil
		}
		return new(ratio(*r.SimWindow, float64(r.Rate)))
	}, atMost(1.02)},
	{"events per second that one stream delivers", ">= 10,000", "feed", ours, func(r Row) *float64 { return r.PerSecond }, atLeast(10_000)},
	{"p99 of a relayed event while another target fails, to that while it works", "<= 1.10 x", "relay", ours, func(r Row) *float64 { return r.P99Ratio }, atMost(1.1)},
	{"throttled by the simulator", "0", "pace", ours, func(r Row) *float64 { return r.Throttled }, atMost(0)},
	{"dequeues per send", "<= 1.05", "pace", ours, func(r Row) *float64 { return r.Dequeues }, atMost(1.05)},
	{"round trips to Redis per message, at 80/s", "<= 4", "pace", both(called("at the limit"), slow), func(r Row) *float64 { return r.Trips }, atMost(4)},
	{"round trips to Redis per message, at 1,000/s", "<= 1.5", "pace", both(called("at the limit"), fast), func(r Row) *float64 { return r.Trips }, atMost(1.5)},
	{"one-second windows above it while clients are added", "0", "clients", ours, func(r Row) *float64 { return r.WindowsOver }, atMost(0)},
	{"share of the rate limit used meanwhile, to without them", ">= 0.99 x", "clients", called(addedClients), func(r Row) *float64 { return r.Ratio }, atLeast(0.99)},
	{"from the request that adds a client to its message at Meta, p99 in ms", "<= 5,000", "clients", called(addedClients), func(r Row) *float64 { return r.P99 }, atMost(5000)},
	{"urgent message behind a backlog, p99 in ms", "<= 50", "urgent", called("behind"), func(r Row) *float64 { return r.UrgentP99 }, atMost(50)},
	{"urgent message on an idle number, p99 in ms", "<= 20", "urgent", called("on an idle"), func(r Row) *float64 { return r.UrgentP99 }, atMost(20)},
	{"throughput with 2,000 idle numbers, to without them", ">= 0.95 x", "idle", called("the busy number with"), func(r Row) *float64 { return r.Ratio }, atLeast(0.95)},
	{"idle commands at Redis, per second and worker", "<= 500", "idle", both(called("nothing"), func(r Row) bool { return r.Numbers > 1 }), func(r Row) *float64 { return r.CommandRate }, atMost(500)},
	{"full path, to asynq at its best, `relaxed`", ">= 1.0 x", "drain", both(ours, with(Relaxed)), func(r Row) *float64 { return r.Ratio }, atLeast(1)},
	{"full path, to asynq at its best, `fsync`", ">= 1.0 x", "drain", both(ours, with(Fsync)), func(r Row) *float64 { return r.Ratio }, atLeast(1)},
	{"cold workers, to asynq at its best, `relaxed`", ">= 1.2 x", "cold", both(ours, with(Relaxed)), func(r Row) *float64 { return r.Ratio }, atLeast(1.2)},
	{"cold workers, to asynq at its best, `fsync`", ">= 1.0 x", "cold", both(ours, with(Fsync)), func(r Row) *float64 { return r.Ratio }, atLeast(1)},
	{"Redis's processor time for a whole life, to asynq's enqueue and process", "<= 0.85 x", "life", called(wholeLife), func(r Row) *float64 { return r.CPURatio }, atMost(0.85)},
	{"Redis's instructions for a whole life, groups of 20", "<= 140,000", "instructions", called(wholeLife + ", groups of 20"), func(r Row) *float64 { return r.Instructions }, atMost(140_000)},
	{"Redis's instructions for a whole life, groups of 4", "<= 230,000", "instructions", called(wholeLife + ", groups of 4"), func(r Row) *float64 { return r.Instructions }, atMost(230_000)},
	{"Redis's instructions for a whole life, groups of 1", "<= 550,000", "instructions", called(wholeLife + ", groups of 1"), func(r Row) *float64 { return r.Instructions }, atMost(550_000)},
	{"share of the limit used, plain far side", ">= 99 %", "foreign", ours, func(r Row) *float64 { return r.Utilisation }, atLeast(0.99)},
	{"the plain far side's largest window", "<= 1.00 x", "foreign", ours, func(r Row) *float64 {
		if r.FarWindow == nil {
			return nil
		}
		return new(ratio(*r.FarWindow, float64(r.Rate)))
	}, atMost(1)},
	{"drain rate to the faster BullMQ", ">= 1.2 x", "peers", ours, func(r Row) *float64 { return r.Ratio }, atLeast(1.2)},
	{"single posts, to a bare handler", ">= 0.8 x", "intake", called("single posts"), func(r Row) *float64 { return r.Ratio }, atLeast(0.8)},
	{"batches, to asynq's client", ">= 0.8 x", "intake", called("batches"), func(r Row) *float64 { return r.Ratio }, atLeast(0.8)},
	{"statuses, to a bare server", ">= 0.6 x", "webhook", called("one status"), func(r Row) *float64 { return r.Ratio }, atLeast(0.6)},
	{"1,000 statuses in one POST, p99 in ms", "< 250", "webhook", called("1,000"), func(r Row) *float64 { return r.P99 }, atMost(250)},
	{"drain rate of a large backlog, to that of a small one", ">= 0.97 x", "memory", called("a large"), func(r Row) *float64 { return r.Ratio }, atLeast(0.97)},
	{"bytes for each waiting message beyond its payload", "<= 1,100", "memory", ours, func(r Row) *float64 { return r.BytesWaiting }, atMost(1100)},
	{"bytes for each final record", "<= 400", "memory", called("delivered"), func(r Row) *float64 { return r.BytesFinal }, atMost(400)},
	{"idle worker's resident memory in MB", "<= 40", "memory", called("an idle"), func(r Row) *float64 { return r.Resident }, atMost(40)},
}

// Markdown writes the tables of docs/performance.md: the figures to reach and those
// measured, every row, and the capacity that follows from the processor times.
func Markdown(w io.Writer, rows []Row) {
	fmt.Fprintln(w, "| figure | to reach | measured | with | |\n| --- | --- | --- | --- | --- |")
	for _, f := range figures {
		for _, r := range rows {
			if r.Bench != f.bench || !f.of(r) {
				continue
			}
			v := f.value(r)
			if v == nil {
				continue
			}
			verdict := "**missed**"
			if f.reached(r, *v) {
				verdict = "reached"
			}
			fmt.Fprintf(w, "| %s | %s | %s | `sluice bench %s`: %s | %s |\n", f.what, f.want, show(*v), f.bench, r.about(), verdict)
		}
	}
	fmt.Fprintln(w, "\n| run | case | with | figures |\n| --- | --- | --- | --- |")
	for _, r := range rows {
		var parts []string
		r.figures(func(name string, v float64) { parts = append(parts, name+" "+show(v)) })
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", r.Bench, r.Case, r.about(), strings.Join(parts, ", "))
	}
	capacity(w, rows)
}

// capacity writes how many messages per second a core can handle, by the processor time of a message in Sluice's
// rows.
func capacity(w io.Writer, rows []Row) {
	fmt.Fprintln(w, "\n| path | with | one Redis core (a master) carries | one core of programs carries |\n| --- | --- | --- | --- |")
	for _, r := range rows {
		path, counts := map[string]string{"pace": "worker, paced", "drain": "worker, no limit", "cold": "worker, cold", "intake": "producer", "webhook": "webhook", "memory": "worker and webhook, to delivered"}[r.Bench]
		if !counts || !ours(r) || r.RedisCPU == nil || r.GoCPU == nil || strings.HasPrefix(r.Case, "at half") {
			continue
		}
		if called("batches")(r) {
			path += ", batches"
		}
		carries := func(micros float64) string {
			if micros == 0 {
				return "-"
			}
			return thousands(rounded2(1e6/micros)) + "/s"
		}
		fmt.Fprintf(w, "| %s | %s | %s (%s us) | %s (%s us) |\n", path, r.about(), carries(*r.RedisCPU), show(*r.RedisCPU), carries(*r.GoCPU), show(*r.GoCPU))
	}
}

// rounded2 keeps two digits, because processor times are not more precise.
func rounded2(f float64) float64 {
	unit := 1.0
	for f/unit >= 100 {
		unit *= 10
	}
	return float64(int(f/unit+0.5)) * unit
}
