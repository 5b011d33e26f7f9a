package demo

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"sluice/client"
)

// ends are the columns of the table and the counts of the last line: each message is in
// exactly one.
var ends = []string{"read", "delivered", "sent", "failed", "rejected", "expired", "dead", "parked", "pending"}

func end(s client.State) string {
	switch s {
	case client.StatePlayed:
		return "read"
	case client.StateDelivered, client.StateRead, client.StateSent, client.StateFailed, client.StateRejected, client.StateExpired, client.StateDead, client.StateParked:
		return string(s)
	}
	return "pending"
}

// report prints the final state of every message. It returns an error if a message has not ended, or if
// Meta accepted one twice.
func (w *world) report(o Options, t *tally, records map[string]client.Record) error {
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

	fmt.Fprint(o.Out, "\nMessages by kind and state\n\n")
	printTable(o.Out, table, total)
	printReasons(o.Out, records)
	fmt.Fprintf(o.Out, "\n%d messages needed more than one attempt. The simulator's answers, by result:", again)
	for _, k := range slices.Sorted(maps.Keys(stats.Requests)) {
		fmt.Fprintf(o.Out, " %s=%d", k, stats.Requests[k])
	}
	fmt.Fprintf(o.Out, "\nMeta accepted %d messages, %d of them twice. The most messages in one second, by number:", stats.Accepted, stats.Duplicates)
	for _, n := range numbers {
		fmt.Fprintf(o.Out, " %d", stats.Windows[n])
	}
	fmt.Fprintf(o.Out, " (rate limit %d).\n%d customers tapped a button. Their answers are inbound events.\n", rate, t.taps)
	fmt.Fprintln(o.Out, `
What to do next
  bin/sluice demo --keep              the same, and it runs on so that you can use the console and curl
  docs/quick-start.md                 send your own messages, with the programs as processes or with compose
  docs/message-life.md                what each state means
  docs/errors.md                      what each of Meta's error codes means, and what to do`)

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
		return fmt.Errorf("the counts do not match: %d orders, %d messages accepted, %d of them in a state", orders, accepted, sum)
	case total["pending"] > 0:
		return fmt.Errorf("%d messages have not ended", total["pending"])
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

// printReasons prints why messages did not arrive.
func printReasons(out io.Writer, records map[string]client.Record) {
	type reason struct {
		state client.State
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
	fmt.Fprint(out, "\nMessages that did not arrive, and why\n\n")
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
	case r.State == client.StateParked:
		return "it is unknown whether Meta took the message (" + r.Reason + "). Sluice does not send it again until an operator decides"
	}
	return r.Reason
}

// invite prints commands for a demo that runs on.
func (w *world) invite(out io.Writer) {
	fmt.Fprintf(out, `
The demo runs on until Ctrl-C. Open the console in a browser, and sign in with the API key %[2]s:

  %[6]s

Or send your own message with curl, and read its record:

  curl -s %[1]s/v1/messages -H 'Authorization: Bearer %[2]s' -H 'Content-Type: application/json' \
    -d '{"from": "%[3]s", "message": {"to": "+15551234567", "type": "template", "template": {"name": "hello_world", "language": {"code": "en_US"}}}}'
  curl -s %[1]s/v1/messages/ID -H 'Authorization: Bearer %[2]s'
  curl -s http://%[4]s/metrics | grep sluice_send
  curl -s http://%[5]s/_sim/stats
`, w.api, apiKey, numbers[0], w.programs[1].OpsAddr(), w.graph.Addr(), w.console)
}
