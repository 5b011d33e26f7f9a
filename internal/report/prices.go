package report

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Amount is money in millionths of the currency.
type Amount int64

// String writes an amount with two to six digits after the point.
func (a Amount) String() string {
	sign := ""
	if a < 0 {
		sign, a = "-", -a
	}
	digits := strings.TrimRight(fmt.Sprintf("%06d", a%1_000_000), "0")
	return fmt.Sprintf("%s%d.%s", sign, a/1_000_000, digits+strings.Repeat("0", max(0, 2-len(digits))))
}

// MarshalText makes an amount a text in JSON, so that no program rounds it.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Amount) UnmarshalText(text []byte) (err error) {
	*a, err = parseAmount(string(text))
	return err
}

var amountPattern = regexp.MustCompile(`^([0-9]{1,9})(?:\.([0-9]{1,6}))?$`)

func parseAmount(text string) (Amount, error) {
	m := amountPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("price %q is not a price like 0.0625, with up to six digits after the point", text)
	}
	n, err := strconv.ParseInt(m[1]+m[2]+strings.Repeat("0", 6-len(m[2])), 10, 64)
	return Amount(n), err
}

// Prices are what Meta charges for a message, by market, category and time.
type Prices struct {
	Currency string // ISO 4217
	all      []price
}

// price is a line of the file.
type price struct {
	Market   string   `yaml:"market"`
	Prefixes []string `yaml:"prefixes"`
	Category string   `yaml:"category"`
	From     string   `yaml:"from"`
	Until    string   `yaml:"until"`
	Price    string   `yaml:"price"`

	amount Amount
}

var (
	currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)
	prefixPattern   = regexp.MustCompile(`^([1-9][0-9]{0,3}|[A-Z]{2})$`)
	datePattern     = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
)

// ReadPrices reads a file of prices. docs/archive.md describes its form. Its error names every mistake with its line's number in
// the list.
func ReadPrices(path string) (*Prices, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("prices: %w", err)
	}
	var file struct {
		Currency string  `yaml:"currency"`
		Prices   []price `yaml:"prices"`
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
	return &Prices{file.Currency, file.Prices}, nil
}

func (p *price) check() (err error) {
	p.Category = category(p.Category)
	if p.amount, err = parseAmount(p.Price); err != nil {
		return err
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
func (p *price) overlaps(o price) bool {
	return p.Category == o.Category && (o.Until == "" || p.From < o.Until) && (p.Until == "" || o.From < p.Until) &&
		slices.ContainsFunc(p.Prefixes, func(prefix string) bool { return slices.Contains(o.Prefixes, prefix) })
}

// of returns the price of a message: that of the longest prefix of its region.
func (p *Prices) of(region, categoryName, date string) (best price, found bool) {
	if p == nil {
		return best, false
	}
	longest := 0
	for _, one := range p.all {
		if one.Category != category(categoryName) || date < one.From || one.Until != "" && date >= one.Until {
			continue
		}
		for _, prefix := range one.Prefixes {
			if strings.HasPrefix(region, prefix) && len(prefix) > longest {
				best, longest = one, len(prefix)
			}
		}
	}
	return best, longest > 0
}

// category writes a category in one way: Meta writes authentication-international also with an underscore.
func category(name string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-", "_")
}
