package architecture

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestSizing computes the sizing table of docs/operations.md anew from the figures of docs/performance.md.
func TestSizing(t *testing.T) {
	t.Parallel()
	performance := page(t, "docs/performance.md")
	figure := func(pattern string) float64 {
		t.Helper()
		found := regexp.MustCompile(pattern).FindStringSubmatch(performance)
		if found == nil {
			t.Fatalf("docs/performance.md has no %s", pattern)
		}
		n, err := strconv.ParseFloat(strings.ReplaceAll(found[1], ",", ""), 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var (
		payload   = 300.0
		waiting   = figure(`\| memory \| a large backlog .*bytes_per_waiting_message ([0-9,]+)`)
		final     = figure(`\| memory \| delivered, .*bytes_per_final_record ([0-9,]+)`)
		recipient = figure(`needs about ([0-9]+) bytes more for each message that has a record`)
		tombstone = figure(`leaves a tombstone for 30 days, about ([0-9]+) bytes`)
		events    = figure(`about ([0-9]+) kB x the messages of a day`) * 1000
		log       = figure(`append-only file\*\* grows by about ([0-9]+) KB`) * 1000
		together  = figure(`\| life \| whole life .*?redis_cpu_us ([0-9.]+)`)
		alone     = figure(`\| pace \| at the limit \| [^|]*at 80/s.*?redis_cpu_us ([0-9.]+)`)
	)
	kept, ended := final+recipient, payload+waiting+recipient
	size := func(bytes float64) string {
		switch {
		case bytes < 1e9:
			return fmt.Sprintf("%.0f MB", bytes/1e6)
		case bytes < 1e10:
			return fmt.Sprintf("%.1f GB", bytes/1e9)
		}
		return fmt.Sprintf("%.0f GB", bytes/1e9)
	}
	count := func(n float64) string {
		if n < 1000 {
			return fmt.Sprintf("%.0f", n)
		}
		return fmt.Sprintf("%.0f thousand", n/1000)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| figure | formula | 1 million a month | 50 million | 500 million |\n| --- | --- | --- | --- | --- |\n")
	row := func(name, formula string, value func(day, peak float64) string) {
		fmt.Fprintf(&b, "| %s | %s |", name, formula)
		for _, month := range []float64{1e6, 50e6, 500e6} {
			day := month / 30
			fmt.Fprintf(&b, " %s |", value(day, 10*day/86400))
		}
		b.WriteString("\n")
	}
	records := func(day float64) float64 { return day * (0.95*25/24*kept + 0.05*7*ended) }
	backlog := func(day float64) float64 { return 0.1 * day * ended }
	memory := func(day, keys, retention float64) float64 {
		return records(day) + day*keys*tombstone + day*retention*events + backlog(day)
	}
	row("messages a day, D", "month / 30", func(day, _ float64) string { return count(day) })
	row("messages a second at the peak, P", "10 x D / 86,400", func(_, peak float64) string { return fmt.Sprintf("%.0f", peak) })
	row("records", fmt.Sprintf("D x (0.95 x 25/24 x %.0f B + 0.05 x 7 x %.0f B)", kept, ended), func(day, _ float64) string { return size(records(day)) })
	row("keys, K = 30 days", fmt.Sprintf("D x K x %.0f B", tombstone), func(day, _ float64) string { return size(day * 30 * tombstone) })
	row("events, E = 1 day", fmt.Sprintf("D x E x %.0f B", events), func(day, _ float64) string { return size(day * events) })
	row("largest backlog", fmt.Sprintf("0.1 x D x %.0f B", ended), func(day, _ float64) string { return size(backlog(day)) })
	row("**`maxmemory` of all masters**, K = 30, E = 1", "sum / 0.75", func(day, _ float64) string { return "**" + size(memory(day, 30, 1)/0.75) + "**" })
	row("**the same**, K = 1, E = 0.25", "sum / 0.75", func(day, _ float64) string { return "**" + size(memory(day, 1, 0.25)/0.75) + "**" })
	row("append-only file, written a day", fmt.Sprintf("D x %.0f B", log), func(day, _ float64) string { return size(day * log) })
	row("cores of Redis at the peak", fmt.Sprintf("P x %.0f us to P x %.0f us", together, alone), func(_, peak float64) string {
		return fmt.Sprintf("%.3f to %.2f", peak*together/1e6, peak*alone/1e6)
	})
	_, shown, _ := strings.Cut(page(t, "docs/operations.md"), "<!-- sizing -->\n")
	shown, _, _ = strings.Cut(shown, "<!-- end of sizing -->")
	if strings.TrimSpace(shown) != strings.TrimSpace(b.String()) {
		t.Errorf("docs/operations.md has another sizing table. Put this one there:\n%s", b.String())
	}
}
