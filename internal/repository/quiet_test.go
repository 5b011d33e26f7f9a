package repository

import (
	"testing"
	"time"

	"sluice/internal/config"
	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/quiethours"
	"sluice/internal/record"
)

// TestQuietly: a message waits for the end of the quiet hours of its recipient, at its first attempt and at each retry. What cannot be sent
// now for another reason keeps that.
func TestQuietly(t *testing.T) {
	t.Parallel()
	night := time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC) // in Berlin the second 02:30 of the night in which the clocks go back
	morning := time.Date(2026, 10, 25, 7, 0, 0, 0, time.UTC)
	c := &Candidates{quiet: quiethours.New(func(client, _ string) (all [2][]config.QuietHours) {
		if client == "acme" {
			all[1] = []config.QuietHours{{From: "21:00", To: "08:00"}}
		}
		return all
	}, func(string) string { return "" }, nil)}
	for name, tt := range map[string]struct {
		change func(r *record.Record)
		known  dispatch.Candidate
		want   dispatch.Verdict
		at     time.Time
	}{
		"marketing":          {nil, dispatch.Candidate{}, dispatch.NotYet, morning},
		"a retry":            {func(r *record.Record) { r.Attempt = 3 }, dispatch.Candidate{}, dispatch.NotYet, morning},
		"elsewhere by day":   {func(r *record.Record) { r.Payload = `MAC{"to":"+6434412345"}` }, dispatch.Candidate{}, dispatch.Sendable, time.Time{}},
		"one-time code":      {func(r *record.Record) { r.Class = message.Authentication }, dispatch.Candidate{}, dispatch.Sendable, time.Time{}},
		"another client":     {func(r *record.Record) { r.Client = "other" }, dispatch.Candidate{}, dispatch.Sendable, time.Time{}},
		"suppressed as well": {nil, dispatch.Candidate{Verdict: dispatch.Suppressed}, dispatch.Suppressed, time.Time{}},
	} {
		r := record.Record{Payload: `MAC{"to":"+4915112345678"}`}
		r.From, r.Client, r.Class = "106540352242922", "acme", message.Marketing
		if tt.change != nil {
			tt.change(&r)
		}
		out := []dispatch.Candidate{tt.known}
		c.quietly([]record.Record{r}, out, night)
		if out[0].Verdict != tt.want || !out[0].At.Equal(tt.at) {
			t.Errorf("%s: verdict %d at %s, want %d at %s", name, out[0].Verdict, out[0].At, tt.want, tt.at)
		}
	}
}
