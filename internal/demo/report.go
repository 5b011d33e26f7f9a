package demo

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"sluice/internal/client"
	"sluice/internal/message"
)

// ends are the columns of the table and the counts of the last line: each message is in
// exactly one.
var ends = []string{"read", "delivered", "sent", "failed", "rejected", "expired", "dead", "parked", "pending"}

func end(s message.State) string {
	switch s {
	case message.Played:
		return "read"
	case message.Delivered, message.Read, message.Sent, message.Failed, message.Rejected, message.Expired, message.Dead, message.Parked:
		return string(s)
	}
	return "pending"
}

// tell prints what became of every message. It is an error when not every message has an
// end, or when Meta took one twice.
func (w *world) tell(o Options, t *tally, records map[string]client.Record) error {
	total := map[string]int{}
	table := map[string]map[string]int{}
	again := 0
	for id, r := range records {
		e := end(r.State)
		total[e]++
		k := t.kinds[id]
		if table[k] == nil {
			table[k] = map[string]int{}
		}
		table[k][e]++
		if r.Attempt > 1 {
			again++
		}
	}
	stats := w.sim.Stats()

	fmt.Fprint(o.Out, "\nWhat became of the messages\n\n")
	printTable(o.Out, table, total)
	printReasons(o.Out, records)
	fmt.Fprintf(o.Out, "\n%d messages took more than one attempt; Meta answered:", again)
	for _, k := range slices.Sorted(maps.Keys(stats.Requests)) {
		fmt.Fprintf(o.Out, " %s=%d", k, stats.Requests[k])
	}
	fmt.Fprintf(o.Out, "\nMeta accepted %d messages, %d of them twice. Most in any second, by number:", stats.Accepted, stats.Duplicates)
	for _, n := range numbers {
		fmt.Fprintf(o.Out, " %d", stats.Windows[n])
	}
	fmt.Fprintf(o.Out, " (limit %d).\n%d customers tapped a button; their answers are inbound events.\n", rate, t.taps)
	fmt.Fprintln(o.Out, `
Where to look next
  bin/sluice demo --keep              the same, and it stays up for curl
  README.md                           send your own messages, with the programs by themselves or with compose
  docs/message-life.md                what each state means
  docs/errors.md                      what each code of Meta's means and what to do`)

	orders, accepted := o.Orders, len(records)
	fmt.Fprintf(o.Out, "\ndemo: orders=%d accepted=%d", orders, accepted)
	sum := 0
	for _, e := range ends {
		fmt.Fprintf(o.Out, " %s=%d", e, total[e])
		sum += total[e]
	}
	fmt.Fprintf(o.Out, " duplicates=%d\n", stats.Duplicates)
	switch {
	case accepted != orders*len(kinds) || sum != accepted:
		return fmt.Errorf("the numbers do not add up: %d orders, %d messages accepted, %d of them in a state", orders, accepted, sum)
	case total["pending"] > 0:
		return fmt.Errorf("%d messages have not come to an end", total["pending"])
	case stats.Duplicates > 0:
		return fmt.Errorf("%d messages were sent twice", stats.Duplicates)
	}
	return nil
}

func printTable(out io.Writer, table map[string]map[string]int, total map[string]int) {
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	row := func(name string, counts map[string]int) {
		fmt.Fprintf(w, "  %s\t", name)
		for _, e := range ends {
			fmt.Fprintf(w, "%d\t", counts[e])
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "  \t")
	for _, e := range ends {
		fmt.Fprintf(w, "%s\t", e)
	}
	fmt.Fprintln(w)
	for _, k := range kinds {
		row(k.name, table[k.name])
	}
	row("all", total)
	w.Flush()
}

// printReasons tells why messages did not arrive.
func printReasons(out io.Writer, records map[string]client.Record) {
	type reason struct {
		state message.State
		code  int
		why   string
	}
	counts, words := map[reason]int{}, map[reason]string{}
	for _, r := range records {
		switch end(r.State) {
		case "read", "delivered", "sent":
			continue
		}
		k := reason{r.State, r.Code, r.Reason}
		counts[k]++
		words[k] = meaning(r)
	}
	if len(counts) == 0 {
		return
	}
	fmt.Fprint(out, "\nWhy some did not arrive\n\n")
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b reason) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(a.code, b.code))
	})
	for _, k := range keys {
		fmt.Fprintf(out, "  %4d %s: %s\n", counts[k], k.state, words[k])
	}
}

func meaning(r client.Record) string {
	switch {
	case r.Code != 0:
		return fmt.Sprintf("code %d, %s. %s", r.Code, r.Error.Title, r.Error.Advice)
	case r.State == message.Parked:
		return "the request left and nobody said whether Meta took it (" + r.Reason + "); a person decides, nothing is sent twice by itself"
	}
	return r.Reason
}

// invite tells how to look around in a demo that stays up.
func (w *world) invite(out io.Writer) {
	fmt.Fprintf(out, `
Still up. Send a message of your own and see what becomes of it (Ctrl-C ends):

  curl -s %[1]s/v1/messages -H 'Authorization: Bearer %[2]s' -H 'Content-Type: application/json' \
    -d '{"from": "%[3]s", "message": {"to": "+15551234567", "type": "template", "template": {"name": "hello_world", "language": {"code": "en_US"}}}}'
  curl -s %[1]s/v1/messages/ID -H 'Authorization: Bearer %[2]s'
  curl -s http://%[4]s/metrics | grep sluice_send
  curl -s http://%[5]s/_sim/stats
`, w.api.Base, apiKey, numbers[0], w.programs[1].OpsAddr(), w.graph.Addr())
}
