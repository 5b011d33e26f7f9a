package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"sluice/client"
	"sluice/internal/importfile"
)

// dryRun checks rows at the API in place of sending them, and counts what would be sent.
type dryRun struct {
	api        *client.Client
	recipients importfile.Distinct
	kinds      map[string]int // messages by class and template
	last       time.Time      // when the last one would be sent; zero: it is not known
	media      mediaCheck
}

// call checks lines. Its results are those of sending them.
func (d *dryRun) call(ctx context.Context, lines io.Reader, f func(client.LineResult) error) error {
	return d.api.CheckLines(ctx, lines, func(v client.CheckedLine) error {
		if v.Problem == nil && !v.Duplicate {
			d.count(v.Checked)
		}
		return f(client.LineResult{
			Line: v.Line, Status: v.Status, Problem: v.Problem,
			Accepted: client.Accepted{ID: v.ID, Class: v.Class, ExpiresAt: v.ExpiresAt, Duplicate: v.Duplicate},
		})
	})
}

// count counts a message that would be sent.
func (d *dryRun) count(m client.Checked) {
	var to struct{ To, Recipient string }
	json.Unmarshal(m.Payload, &to)
	d.recipients.Add(cmp.Or(to.To, to.Recipient))
	d.media.add(m.Payload)
	if m.SentAbout.After(d.last) {
		d.last = m.SentAbout
	}
	kind := string(m.Class)
	if m.Template != "" {
		kind += ", template " + m.Template
	}
	d.kinds[kind]++
}

// report prints what would happen.
func (d *dryRun) report(out io.Writer, im *importer, now time.Time) {
	fmt.Fprintf(out, "Nothing was sent. %d rows would be accepted, %d were accepted before, %d would be refused\n",
		im.counts[importfile.Accepted], im.counts[importfile.Duplicate], im.counts[importfile.Refused])
	fmt.Fprintf(out, "to %d different recipients\n", d.recipients.Count())
	if !d.last.IsZero() {
		fmt.Fprintf(out, "the last one would be sent about %s, in %s, at the present rates\n", d.last.Format(time.RFC3339), max(d.last.Sub(now), 0).Round(time.Second))
	}
	kinds := slices.SortedFunc(maps.Keys(d.kinds), func(a, b string) int {
		return cmp.Or(cmp.Compare(d.kinds[b], d.kinds[a]), cmp.Compare(a, b))
	})
	for _, kind := range kinds {
		fmt.Fprintf(out, "%s: %d\n", kind, d.kinds[kind])
	}
	d.media.report(out)
}
