package chaos

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Table prints results as a table for a terminal.
func Table(w io.Writer, results []Result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\tfault\tmessages\tlost\tduplicated\tin doubt\tby status\tby policy\tresent\tAPI away\tsending stopped\ttook\t")
	for _, r := range results {
		verdict := ""
		switch {
		case !r.OK():
			verdict = "BROKEN"
		case r.Control:
			verdict = "control"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", r.ID, r.Fault, r.Messages, r.Lost, r.Doubled,
			r.WereInDoubt, r.SettledByStatus, r.SettledByPolicy, r.Resent, seconds(r.Away), seconds(r.Stopped), seconds(r.Took), verdict)
	}
	t.Flush()
	for _, r := range results {
		for _, note := range r.Notes {
			fmt.Fprintf(w, "%s: %s\n", r.ID, note)
		}
	}
}

// Markdown prints results as the table of docs/reliability.md.
func Markdown(w io.Writer, results []Result) {
	fmt.Fprintln(w, "| row | fault | messages | lost | duplicated | in doubt | settled by status | settled by policy | resent by policy | API away, s | sending stopped, s |")
	fmt.Fprintln(w, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, r := range results {
		fault := r.Fault
		if len(r.Notes) > 0 {
			fault += "; " + strings.Join(r.Notes, "; ")
		}
		fmt.Fprintf(w, "| %s | %s | %d | %d | %d | %d | %d | %d | %d | %.1f | %.1f |\n", r.ID, fault, r.Messages, r.Lost, r.Doubled,
			r.WereInDoubt, r.SettledByStatus, r.SettledByPolicy, r.Resent, r.Away.Seconds(), r.Stopped.Seconds())
	}
}

// Broken prints the broken invariants, and where their histories are.
func Broken(w io.Writer, results []Result) {
	const most = 10
	for _, r := range results {
		if r.OK() {
			continue
		}
		fmt.Fprintf(w, "\n%s (seed %d) broke %d invariants; the history is in %s\n", r.ID, r.Seed, len(r.Breaches), r.History)
		for i, b := range r.Breaches {
			if i == most {
				fmt.Fprintf(w, "  and %d more\n", len(r.Breaches)-most)
				break
			}
			fmt.Fprintln(w, "  "+b)
		}
	}
}

// Line returns the last line of a run, for scripts.
func Line(results []Result, seed uint64) string {
	var faults, messages, lost, doubled, resent, left int
	for _, r := range results {
		if r.Control {
			continue
		}
		faults++
		messages += r.Messages
		lost += r.Lost
		doubled += r.Doubled
		resent += r.Resent
		left += r.InDoubt
	}
	return fmt.Sprintf("chaos: faults=%d messages=%d lost=%d duplicated=%d resent_by_policy=%d in_doubt_left=%d seed=%d",
		faults, messages, lost, doubled, resent, left, seed)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
