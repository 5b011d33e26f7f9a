package importer

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
	"sluice/internal/message"
)

// check counts what a dry run would send.
type check struct {
	recipients importfile.Distinct
	kinds      map[string]int            // messages by class and template
	last       time.Time                 // when the last one would be sent; zero: it is not known
	waiting    map[client.OverBudget]int // the messages that would wait for a budget
	costs      map[string]*cost          // by currency
	media      mediaCheck
}

// cost is what messages would cost at Meta.
type cost struct {
	sum     message.Amount
	guessed int // messages in countries without a price
}

// checkLines checks lines. Its results are those of sending them.
func (im *Import) checkLines(ctx context.Context, lines io.Reader, f func(client.LineResult) error) error {
	return im.o.API.CheckLines(ctx, lines, func(v client.CheckedLine) error {
		if v.Problem == nil && !v.Duplicate {
			im.mu.Lock()
			im.check.count(v.Checked)
			im.mu.Unlock()
		}
		return f(client.LineResult{
			Line: v.Line, Status: v.Status, Problem: v.Problem,
			Accepted: client.Accepted{ID: v.ID, Class: v.Class, ExpiresAt: v.ExpiresAt, Duplicate: v.Duplicate},
		})
	})
}

// count counts a message that would be sent.
func (c *check) count(m client.Checked) {
	var to struct{ To, Recipient string }
	json.Unmarshal(m.Payload, &to)
	c.recipients.Add(cmp.Or(to.To, to.Recipient))
	c.media.add(m.Payload)
	if m.SentAbout.After(c.last) {
		c.last = m.SentAbout
	}
	for _, b := range m.OverBudgets {
		c.waiting[b]++
	}
	if m.Cost != nil {
		c.add(*m.Cost)
	}
	kind := string(m.Class)
	if m.Template != "" {
		kind += ", template " + m.Template
	}
	c.kinds[kind]++
}

// add adds the estimated cost of a message.
func (c *check) add(one client.Cost) {
	amount, err := message.ParseAmount(one.Amount)
	if err != nil {
		return // of a later version of the API
	}
	of := c.costs[one.Currency]
	if of == nil {
		of = &cost{}
		c.costs[one.Currency] = of
	}
	if of.sum += amount; one.Guess {
		of.guessed++
	}
}

// report writes what would happen.
func (c *check) report(out io.Writer, p Progress, now time.Time) {
	fmt.Fprintf(out, "Nothing was sent. %d rows would be accepted, %d were accepted before, %d would be refused\n", p.Accepted, p.Duplicate, p.Refused)
	fmt.Fprintf(out, "to %d different recipients\n", c.recipients.Count())
	for _, b := range slices.SortedFunc(maps.Keys(c.waiting), func(a, b client.OverBudget) int { return cmp.Compare(a.Budget, b.Budget) }) {
		until := "until it is higher"
		if !b.Until.IsZero() {
			until = "at least until " + b.Until.Format(time.RFC3339)
		}
		fmt.Fprintf(out, "%d of them would wait %s: the budget %s of %s does not suffice, %s is spent\n", c.waiting[b], until, b.Budget, b.Limit, b.Spent)
	}
	if !c.last.IsZero() {
		last := "the last one"
		if len(c.waiting) > 0 {
			last = "the last one of the others"
		}
		fmt.Fprintf(out, "%s would be sent about %s, in %s, at the present rates\n", last, c.last.Format(time.RFC3339), max(c.last.Sub(now), 0).Round(time.Second))
	}
	for _, currency := range slices.Sorted(maps.Keys(c.costs)) {
		of, note := c.costs[currency], ""
		if of.guessed > 0 {
			note = fmt.Sprintf(", %d messages to countries without a price at the highest price of their category", of.guessed)
		}
		fmt.Fprintf(out, "at a cost of about %s %s at Meta%s\n", of.sum, currency, note)
	}
	kinds := slices.SortedFunc(maps.Keys(c.kinds), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.kinds[b], c.kinds[a]), cmp.Compare(a, b))
	})
	for _, kind := range kinds {
		fmt.Fprintf(out, "%s: %d\n", kind, c.kinds[kind])
	}
	c.media.report(out)
}
