package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"sluice/client"
	"sluice/internal/importfile"
)

// dryRun checks rows at the API in place of sending them, and counts what would be sent.
type dryRun struct {
	api        *client.Client
	recipients importfile.Distinct
	kinds      map[string]int // messages by class and template
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
	kind := string(m.Class)
	if m.Template != "" {
		kind += ", template " + m.Template
	}
	d.kinds[kind]++
}

// report prints what would happen.
func (d *dryRun) report(out io.Writer, im *importer) {
	fmt.Fprintf(out, "Nothing was sent. %d rows would be accepted, %d were accepted before, %d would be refused\n",
		im.counts[importfile.Accepted], im.counts[importfile.Duplicate], im.counts[importfile.Refused])
	fmt.Fprintf(out, "to %d different recipients\n", d.recipients.Count())
	kinds := slices.SortedFunc(maps.Keys(d.kinds), func(a, b string) int {
		return cmp.Or(cmp.Compare(d.kinds[b], d.kinds[a]), cmp.Compare(a, b))
	})
	for _, kind := range kinds {
		fmt.Fprintf(out, "%s: %d\n", kind, d.kinds[kind])
	}
}
