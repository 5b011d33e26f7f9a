package console_test

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

// A key sees the messages of its own numbers only, of whole days that end with today.
func TestReport(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for key, numbers := range map[string][]string{"wide": nil, "admin": {ours}} {
		if status, _, text := d.do(t, key, http.MethodGet, "/v1/report?days=30", nil, nil); status != http.StatusOK {
			t.Fatalf("%s: %d %s", key, status, text)
		}
		f := d.store.reported
		if !slices.Equal(f.Numbers, numbers) || f.Until.Sub(f.From) != 30*24*time.Hour || !f.Until.After(time.Now()) || time.Until(f.Until) > 24*time.Hour {
			t.Errorf("%s: the report of %+v", key, f)
		}
	}
}
