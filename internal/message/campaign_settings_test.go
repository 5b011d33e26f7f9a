package message_test

import (
	"testing"
	"time"

	"sluice/internal/message"
)

func TestRateAt(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ramp := message.CampaignSettings{Rate: 20, RampFrom: 2, RampOver: time.Hour, RampAt: at}
	for _, tt := range []struct {
		s    message.CampaignSettings
		in   time.Duration
		want float64
	}{
		{message.CampaignSettings{}, 0, 0},
		{message.CampaignSettings{Rate: 0.5}, 0, 0.5},
		{ramp, -time.Minute, 2}, // a clock that was set back
		{ramp, 0, 2},
		{ramp, 20 * time.Minute, 8},
		{ramp, time.Hour, 20},
		{ramp, 5 * time.Hour, 20},
	} {
		if got := tt.s.RateAt(at.Add(tt.in)); got < tt.want-1e-9 || got > tt.want+1e-9 {
			t.Errorf("%+v after %v: %g, want %g", tt.s, tt.in, got, tt.want)
		}
	}
}

// TestDay: a day of a cap ends at midnight of its time zone, also where the clocks change on it.
func TestDay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ zone, at, name, end string }{
		{"", "2026-03-01T23:59:59Z", "2026-03-01", "2026-03-02T00:00:00Z"},
		{"", "2026-03-02T00:00:00Z", "2026-03-02", "2026-03-03T00:00:00Z"},
		{"Europe/Berlin", "2026-03-01T23:30:00Z", "2026-03-02", "2026-03-02T23:00:00Z"},
		{"Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29", "2026-03-29T22:00:00Z"},    // of 23 hours
		{"America/Santiago", "2026-09-05T12:00:00Z", "2026-09-05", "2026-09-06T04:00:00Z"}, // the clocks have no midnight: the next day begins at 01:00
		{"no/such", "2026-03-01T12:00:00Z", "2026-03-01", "2026-03-02T00:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		name, end := message.CampaignSettings{TimeZone: tt.zone}.Day(at)
		if got := end.UTC().Format(time.RFC3339); name != tt.name || got != tt.end {
			t.Errorf("%s in %q: day %s until %s, want %s until %s", tt.at, tt.zone, name, got, tt.name, tt.end)
		}
		if next, _ := (message.CampaignSettings{TimeZone: tt.zone}).Day(end); next == name {
			t.Errorf("%s in %q: day %s goes on at its end", tt.at, tt.zone, name)
		}
	}
}

// TestCampaignChange: a change leaves what it does not name.
func TestCampaignChange(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := message.Flow{Client: "acme", Campaign: "spring"}
	s := message.CampaignSettings{Flow: f}
	for _, tt := range []struct {
		change message.CampaignChange
		want   message.CampaignSettings
		says   string
	}{
		{message.CampaignChange{Rate: new(20.), RampFrom: 0.5, RampOver: time.Hour}, message.CampaignSettings{Rate: 20, RampFrom: 0.5, RampOver: time.Hour, RampAt: now}, "20 messages per second, from 0.5 over 1h0m0s"},
		{message.CampaignChange{CapPerDay: new(5000), TimeZone: new("Europe/Berlin")}, message.CampaignSettings{Rate: 20, RampFrom: 0.5, RampOver: time.Hour, RampAt: now, CapPerDay: 5000, TimeZone: "Europe/Berlin"}, "5000 messages per day, time zone Europe/Berlin"},
		{message.CampaignChange{Rate: new(0.)}, message.CampaignSettings{CapPerDay: 5000, TimeZone: "Europe/Berlin"}, "no rate"},
		{message.CampaignChange{CapPerDay: new(0)}, message.CampaignSettings{TimeZone: "Europe/Berlin"}, "no cap per day"},
		{message.CampaignChange{Reset: true, Rate: new(1.)}, message.CampaignSettings{Rate: 1}, "no settings, 1 messages per second"},
	} {
		tt.change.Flow, tt.change.By = f, "anna"
		tt.want.Flow, tt.want.At, tt.want.By = f, now, "anna"
		if s = tt.change.Apply(s, now); s != tt.want {
			t.Errorf("after %q: %+v, want %+v", tt.says, s, tt.want)
		}
		if got := tt.change.Describe(); got != "campaign spring of client acme: "+tt.says {
			t.Errorf("described as %q, want %q", got, tt.says)
		}
	}
}

// TestCapWait: with a cap, what is left of today goes today, and the rest on the next days of its time zone, of which one has 23 hours here. A rate
// may let fewer go today than the cap, and take longer than the cap.
func TestCapWait(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 28, 22, 0, 0, 0, zone) // two hours before the day on which the clocks change
	at := func(seconds float64) func(int) time.Duration {
		return func(ahead int) time.Duration { return time.Duration(float64(ahead) * seconds * float64(time.Second)) }
	}
	for name, tt := range map[string]struct {
		ahead, today int
		in           func(int) time.Duration
		want         string
	}{
		"the last of today":            {3999, 1000, at(0.5), "28 22:33:19"},
		"the first of tomorrow":        {4000, 1000, at(0.5), "29 00:00:00"},
		"the last of tomorrow":         {8999, 1000, at(0.5), "29 00:41:39"},
		"after the day of 23 hours":    {9000, 1000, at(0.5), "30 00:00:00"},
		"the cap is reached":           {0, 5000, at(0.5), "29 00:00:00"},
		"the cap was lowered":          {5000, 9000, at(0.5), "30 00:00:00"},
		"the rate ends the day before": {2000, 1000, at(6), "29 01:20:00"}, // 1200 go today
		"the rate takes longer":        {20000, 0, at(60), "11 20:20:00"},  // 1440 a day: in April
		"the others of the number":     {0, 0, func(int) time.Duration { return 3 * time.Hour }, "29 01:00:00"},
	} {
		s := message.CampaignSettings{CapPerDay: 5000, TimeZone: "Europe/Berlin"}
		_, ends := s.Day(now)
		if got := now.Add(s.CapWait(tt.ahead, tt.today, now, ends, tt.in)).Format("2 15:04:05"); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	if got := (message.CampaignSettings{}).CapWait(7, 0, now, time.Time{}, at(1)); got != 7*time.Second {
		t.Errorf("without a cap: %v", got)
	}
}
