package prices_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/prices"
)

// A file of prices with a mistake is refused with the place of the mistake. The example that we ship is valid.
func TestReadPrices(t *testing.T) {
	t.Parallel()
	line := func(more string) string {
		return `{market: Germany, prefixes: ["49"], category: utility, from: 2026-01-01` + more + `}`
	}
	for name, c := range map[string]struct{ lines, want string }{
		"no price":          {line(``), `price 1: price: "" is not an amount`},
		"a rounded price":   {line(`, price: "0.12345678"`), "up to six digits"},
		"a negative price":  {line(`, price: "-1"`), "is not an amount"},
		"a long prefix":     {`{market: M, prefixes: ["49171"], category: utility, from: 2026-01-01, price: "1"}`, `prefix "49171"`},
		"no prefix":         {`{market: M, category: utility, from: 2026-01-01, price: "1"}`, "prefixes or category is missing"},
		"no date":           {`{market: M, prefixes: ["49"], category: utility, from: 2026-1-1, price: "1"}`, `date "2026-1-1"`},
		"an end before":     {line(`, until: 2026-01-01, price: "1"`), "is not after from"},
		"two prices":        {line(`, price: "1"`) + "\n  - " + line(`, until: 2026-02-01, price: "2"`), "price 1 and price 2 are for the same"},
		"an unknown member": {line(`, price: "1", zone: 7`), "zone"},
	} {
		path := filepath.Join(t.TempDir(), "prices.yaml")
		if err := os.WriteFile(path, []byte("currency: EUR\nprices:\n  - "+c.lines+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := prices.Read(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := prices.Read(filepath.Join("..", "..", "deploy", "prices.example.yaml")); err != nil {
		t.Error(err)
	}
}

// The longest prefix and the day decide. What the table does not know costs as much as the dearest message of its category.
func TestEstimate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "prices.yaml")
	if err := os.WriteFile(path, []byte(`
currency: EUR
prices:
  - {market: Germany, prefixes: ["49", "DE"], category: marketing, from: 2026-01-01, until: 2026-07-01, price: "0.11"}
  - {market: Germany, prefixes: ["49", "DE"], category: marketing, from: 2026-07-01, price: "0.12"}
  - {market: North America, prefixes: ["1", "US"], category: marketing, from: 2026-01-01, price: "0.02"}
  - {market: Bahamas, prefixes: ["1242"], category: marketing, from: 2026-01-01, price: "0.07"}
  - {market: North America, prefixes: ["1", "US"], category: authentication-international, from: 2026-01-01, price: "0.05"}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	table, err := prices.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		region, category, date string
		want                   message.Amount
		known                  bool
	}{
		{"4915112345678", "MARKETING", "2026-06-30", 110_000, true},
		{"4915112345678", "marketing", "2026-07-01", 120_000, true},
		{"DE.13491208655302741918", "marketing", "2026-07-01", 120_000, true},
		{"12425551234", "marketing", "2026-03-01", 70_000, true},
		{"12125551234", "marketing", "2026-03-01", 20_000, true},
		{"12125551234", "authentication_international", "2026-03-01", 50_000, true},
		{"33612345678", "marketing", "2026-03-01", 110_000, false},
		{"33612345678", "marketing", "2026-08-01", 120_000, false},
		{"4915112345678", "marketing", "2025-12-31", 0, false},
		{"4915112345678", "service", "2026-03-01", 0, false},
		{"", "marketing", "2026-03-01", 110_000, false},
	} {
		at, _ := time.Parse(time.DateOnly, c.date)
		if got, known := table.Estimate(c.region, c.category, at); got != c.want || known != c.known {
			t.Errorf("%+v: %v, %v", c, got, known)
		}
	}
	var none *prices.Table
	if got, known := none.Estimate("49", "marketing", time.Now()); got != 0 || known {
		t.Errorf("no table: %v, %v", got, known)
	}
}
