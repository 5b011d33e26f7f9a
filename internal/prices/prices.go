// Package prices reads the table of what Meta charges for a message, by market, category and day. Operators take it from the rate card of their
// account: Meta has no API for it.
package prices

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"sluice/internal/message"
)

// Table is what Meta charges for a message. It does not change, and is safe for concurrent use. Nil has no prices.
type Table struct {
	Currency string             // ISO 4217
	dated    map[place][]*line  // the lines of a prefix and category
	highest  map[string][]*line // the lines of a category, the highest price first
}

// place is what a price depends on, apart from the day.
type place struct{ prefix, category string }

// Price is what Meta charges for a message.
type Price struct {
	Market string // as the file names it
	Amount message.Amount
}

// line is a line of the file.
type line struct {
	Market   string   `yaml:"market"`
	Prefixes []string `yaml:"prefixes"`
	Category string   `yaml:"category"`
	From     string   `yaml:"from"`
	Until    string   `yaml:"until"`
	Price    string   `yaml:"price"`

	amount message.Amount
}

// on reports whether the line has the price of a day.
func (l *line) on(date string) bool { return date >= l.From && (l.Until == "" || date < l.Until) }

var (
	currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)
	prefixPattern   = regexp.MustCompile(`^([1-9][0-9]{0,3}|[A-Z]{2})$`)
	datePattern     = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
)

// Read reads a file of prices. docs/budgets.md describes its form. Its error names every mistake with its line's number in the list.
func Read(path string) (*Table, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("prices: %w", err)
	}
	var file struct {
		Currency string `yaml:"currency"`
		Prices   []line `yaml:"prices"`
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("prices: %s: %w", path, err)
	}
	var wrong []error
	if !currencyPattern.MatchString(file.Currency) {
		wrong = append(wrong, fmt.Errorf("prices: %s: currency %q is not a currency like EUR", path, file.Currency))
	}
	for i := range file.Prices {
		p := &file.Prices[i]
		if err := p.check(); err != nil {
			wrong = append(wrong, fmt.Errorf("prices: %s: price %d: %w", path, i+1, err))
			continue
		}
		for k, other := range file.Prices[:i] {
			if p.overlaps(other) {
				wrong = append(wrong, fmt.Errorf("prices: %s: price %d and price %d are for the same prefix, category and time: end the earlier one with until", path, k+1, i+1))
			}
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	t := &Table{file.Currency, map[place][]*line{}, map[string][]*line{}}
	for i := range file.Prices {
		l := &file.Prices[i]
		t.highest[l.Category] = append(t.highest[l.Category], l)
		for _, prefix := range l.Prefixes {
			t.dated[place{prefix, l.Category}] = append(t.dated[place{prefix, l.Category}], l)
		}
	}
	for _, lines := range t.highest {
		slices.SortStableFunc(lines, func(a, b *line) int { return cmp.Compare(b.amount, a.amount) })
	}
	return t, nil
}

func (p *line) check() (err error) {
	p.Category = Category(p.Category)
	if p.amount, err = message.ParseAmount(p.Price); err != nil {
		return fmt.Errorf("price: %w", err)
	}
	for _, prefix := range p.Prefixes {
		if !prefixPattern.MatchString(prefix) {
			return fmt.Errorf("prefix %q is neither the first one to four digits of phone numbers, like 49, nor a country like DE", prefix)
		}
	}
	if p.Market == "" || p.Category == "" || len(p.Prefixes) == 0 {
		return errors.New("market, prefixes or category is missing: give all three")
	}
	for _, date := range []string{p.From, cmp.Or(p.Until, p.From)} {
		if _, err := time.Parse(time.DateOnly, date); err != nil || !datePattern.MatchString(date) {
			return fmt.Errorf("date %q is not a date like 2026-01-31", date)
		}
	}
	if p.Until != "" && p.Until <= p.From {
		return fmt.Errorf("until %s is not after from %s", p.Until, p.From)
	}
	return nil
}

// overlaps reports whether both are for the same messages at some time.
func (p *line) overlaps(o line) bool {
	return p.Category == o.Category && (o.Until == "" || p.From < o.Until) && (p.Until == "" || o.From < p.Until) &&
		slices.ContainsFunc(p.Prefixes, func(prefix string) bool { return slices.Contains(o.Prefixes, prefix) })
}

// Of returns the price of a message on a day like 2026-01-31: that of the longest prefix of its region. A region is a phone number without its
// plus, the first digits of one, a business-scoped user id, or its country.
func (t *Table) Of(region, category, date string) (Price, bool) {
	if t == nil {
		return Price{}, false
	}
	category = Category(category)
	for n := min(longestPrefix, len(region)); n > 0; n-- {
		for _, l := range t.dated[place{region[:n], category}] {
			if l.on(date) {
				return Price{l.Market, l.amount}, true
			}
		}
	}
	return Price{}, false
}

// longestPrefix is how many digits of phone numbers a prefix can have.
const longestPrefix = 4

// Estimate returns the price of a message, or, if the table does not know its region, the highest one of its category. known says which. It
// is 0 for a category without prices.
func (t *Table) Estimate(region, category string, at time.Time) (amount message.Amount, known bool) {
	date := at.UTC().Format(time.DateOnly)
	if p, known := t.Of(region, category, date); known || t == nil {
		return p.Amount, known
	}
	for _, l := range t.highest[Category(category)] {
		if l.on(date) {
			return l.amount, false
		}
	}
	return 0, false
}

// Category writes a category in one way: Meta writes authentication-international also with an underscore.
func Category(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-", "_")
}
