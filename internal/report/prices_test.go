package report_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/report"
)

// A file of prices with a mistake is refused with the place of the mistake. The example that we ship is valid.
func TestReadPrices(t *testing.T) {
	t.Parallel()
	line := func(more string) string {
		return `{market: Germany, prefixes: ["49"], category: utility, from: 2026-01-01` + more + `}`
	}
	for name, c := range map[string]struct{ lines, want string }{
		"no price":          {line(``), `price 1: price "" is not a price`},
		"a rounded price":   {line(`, price: "0.12345678"`), "up to six digits"},
		"a negative price":  {line(`, price: "-1"`), "is not a price"},
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
		if _, err := report.ReadPrices(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := report.ReadPrices(filepath.Join("..", "..", "deploy", "prices.example.yaml")); err != nil {
		t.Error(err)
	}
}

func TestAmount(t *testing.T) {
	t.Parallel()
	for a, want := range map[report.Amount]string{0: "0.00", 1: "0.000001", 55_000: "0.055", 1_500_000: "1.50", -1_250_000: "-1.25"} {
		if got := a.String(); got != want {
			t.Errorf("%d: %s, want %s", a, got, want)
		}
	}
}
