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
	keys       importfile.Distinct
	repeated   int                    // rows with the key of an earlier row
	kinds      map[string]int         // messages by class and template
	last       time.Time              // when the last one would be sent; zero: it is not known
	waiting    map[string]*overBudget // the messages that would wait for a budget, by its name
	costs      map[string]*cost       // by currency
	media      mediaCheck
}

// overBudget are messages that would wait for a budget.
type overBudget struct {
	client.OverBudget // as it was at the last of them
	messages          int
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
	if !c.keys.Add(m.Key) {
		c.repeated++
		return
	}
	var to struct{ To, Recipient string }
	json.Unmarshal(m.Payload, &to)
	c.recipients.Add(cmp.Or(to.To, to.Recipient))
	c.media.add(m.Payload)
	if m.SentAbout.After(c.last) {
		c.last = m.SentAbout
	}
	for _, b := range m.OverBudgets {
		of := c.waiting[b.Budget]
		if of == nil {
			of = &overBudget{}
			c.waiting[b.Budget] = of
		}
		of.OverBudget = b
		of.messages++
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
	fmt.Fprintf(out, "Nothing was sent. %d rows would be accepted, %d were accepted before, %d would be refused\n", p.Accepted-c.repeated, p.Duplicate, p.Refused)
	if c.repeated > 0 {
		fmt.Fprintf(out, "rows with the key of an earlier row, or without a key and with its content: %d. Nothing is sent for them\n", c.repeated)
	}
	fmt.Fprintf(out, "to %d different recipients\n", c.recipients.Count())
	for _, name := range slices.Sorted(maps.Keys(c.waiting)) {
		b := c.waiting[name]
		until := "until it is higher"
		if !b.Until.IsZero() {
			until = "at least until " + b.Until.Format(time.RFC3339)
		}
		fmt.Fprintf(out, "%d of them would wait %s: the budget %s of %s does not suffice, %s is spent\n", b.messages, until, b.Budget, b.Limit, b.Spent)
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
