package quiethours_test

import (
	"testing"
	"time"

	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/quiethours"
)

const number = "106540352242922" // belongs to a phone in Berlin

// rules returns the rules of a number and a client with quiet hours.
func rules(ofNumber, ofClient []config.QuietHours, overrides map[string]string) *quiethours.Rules {
	return quiethours.New(
		func(string, string) [2][]config.QuietHours { return [2][]config.QuietHours{ofNumber, ofClient} },
		func(string) string { return "+4930123456" },
		overrides,
	)
}

func at(t *testing.T, zone, local string) time.Time {
	t.Helper()
	l, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	when, err := time.ParseInLocation("2006-01-02 15:04:05", local, l)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

var night = []config.QuietHours{{From: "21:00", To: "08:00"}}

// TestEnd: a window with a time zone ends by the clock there, also on the next day and on the day on which the clock changes.
func TestEnd(t *testing.T) {
	t.Parallel()
	evening := config.QuietHours{From: "18:00", To: "09:00", Days: []string{"fri", "sat"}, Zone: "Europe/Berlin"}
	for local, want := range map[string]string{
		"2026-11-27 17:59:59": "", "2026-11-27 18:00:00": "2026-11-28 09:00:00", "2026-11-28 08:59:59": "2026-11-28 09:00:00", "2026-11-28 09:00:00": "",
		"2026-11-28 23:00:00": "2026-11-29 09:00:00", "2026-11-29 20:00:00": "", "2026-11-26 20:00:00": "",
		"2026-10-24 18:00:00": "2026-10-25 09:00:00", // an hour longer
	} {
		got := quiethours.End(evening, at(t, "Europe/Berlin", local))
		if want == "" && !got.IsZero() || want != "" && !got.Equal(at(t, "Europe/Berlin", want)) {
			t.Errorf("at %s: it ends at %v, want %q", local, got, want)
		}
	}
	if got, now := quiethours.End(config.QuietHours{From: "00:00", To: "00:00", Zone: "UTC"}, time.Now()), time.Now(); !got.After(now) {
		t.Errorf("a window without an end ends at %v", got)
	}
}

func TestUntil(t *testing.T) {
	t.Parallel()
	sunday := []config.QuietHours{{From: "00:00", To: "00:00", Days: []string{"sun"}}}
	for name, tt := range map[string]struct {
		windows   []config.QuietHours
		overrides map[string]string
		to        string
		class     message.Class
		campaign  string
		now, end  string // in UTC; end empty: it may be sent
	}{
		"by day":                         {night, nil, "+4915112345678", message.Marketing, "", "2026-11-30 12:00:00", ""},
		"by night":                       {night, nil, "+4915112345678", message.Marketing, "", "2026-11-30 22:30:00", "2026-12-01 07:00:00"},
		"without a plus":                 {night, nil, "4915112345678", message.Marketing, "", "2026-11-30 22:30:00", "2026-12-01 07:00:00"},
		"the first moment":               {night, nil, "+4915112345678", message.Marketing, "", "2026-11-30 20:00:00", "2026-12-01 07:00:00"},
		"before the first moment":        {night, nil, "+4915112345678", message.Marketing, "", "2026-11-30 19:59:50", ""},
		"just before the first moment":   {night, nil, "+4915112345678", message.Marketing, "", "2026-11-30 19:59:59", "2026-12-01 07:00:00"},
		"the last moment":                {night, nil, "+4915112345678", message.Marketing, "", "2026-12-01 06:59:59", "2026-12-01 07:00:00"},
		"after the last moment":          {night, nil, "+4915112345678", message.Marketing, "", "2026-12-01 07:00:00", ""},
		"by day in California":           {night, nil, "+14155550123", message.Marketing, "", "2026-12-01 02:00:00", ""},
		"another class":                  {night, nil, "+4915112345678", message.Authentication, "", "2026-11-30 22:30:00", ""},
		"a class that is named":          {[]config.QuietHours{{From: "21:00", To: "08:00", Classes: []string{"utility"}}}, nil, "+4915112345678", message.Utility, "", "2026-11-30 22:30:00", "2026-12-01 07:00:00"},
		"another campaign":               {[]config.QuietHours{{From: "21:00", To: "08:00", Campaigns: []string{"spring"}}}, nil, "+4915112345678", message.Marketing, "fall", "2026-11-30 22:30:00", ""},
		"the campaign":                   {[]config.QuietHours{{From: "21:00", To: "08:00", Campaigns: []string{"spring"}}}, nil, "+4915112345678", message.Marketing, "spring", "2026-11-30 22:30:00", "2026-12-01 07:00:00"},
		"within a day":                   {[]config.QuietHours{{From: "12:00", To: "14:00"}}, nil, "+4915112345678", message.Marketing, "", "2026-11-30 12:30:00", "2026-11-30 13:00:00"},
		"on Sunday":                      {sunday, nil, "+4915112345678", message.Marketing, "", "2026-11-29 12:00:00", "2026-11-29 23:00:00"},
		"on Saturday before midnight":    {sunday, nil, "+4915112345678", message.Marketing, "", "2026-11-28 22:00:00", ""},
		"Saturday's night":               {[]config.QuietHours{{From: "21:00", To: "08:00", Days: []string{"sat"}}}, nil, "+4915112345678", message.Marketing, "", "2026-11-29 06:00:00", "2026-11-29 07:00:00"},
		"Sunday's night is not it":       {[]config.QuietHours{{From: "21:00", To: "08:00", Days: []string{"sat"}}}, nil, "+4915112345678", message.Marketing, "", "2026-11-30 06:00:00", ""},
		"two in a row":                   {append([]config.QuietHours{{From: "08:00", To: "09:30"}}, night...), nil, "+4915112345678", message.Marketing, "", "2026-11-30 22:30:00", "2026-12-01 08:30:00"},
		"one of several zones":           {night, nil, "+351912345678", message.Marketing, "", "2026-12-01 08:30:00", "2026-12-01 09:00:00"}, // Lisbon or the Azores
		"a configured zone":              {night, map[string]string{"+351": "Europe/Lisbon"}, "+351912345678", message.Marketing, "", "2026-12-01 08:30:00", ""},
		"the longest of several":         {night, map[string]string{"+351": "Atlantic/Azores", "+3519": "Europe/Lisbon"}, "+351912345678", message.Marketing, "", "2026-12-01 08:30:00", ""},
		"an unknown country":             {night, nil, "+999123456", message.Marketing, "", "2026-11-30 22:30:00", "2026-12-01 07:00:00"}, // that of the number
		"a user id":                      {night, nil, "DE.1234567890", message.Marketing, "", "2026-11-30 22:30:00", "2026-12-01 07:00:00"},
		"a user id of a configured zone": {night, map[string]string{"US": "America/New_York"}, "US.1234567890", message.Marketing, "", "2026-12-01 12:30:00", "2026-12-01 13:00:00"},
		"always quiet in some zone":      {[]config.QuietHours{{From: "19:00", To: "09:00"}}, nil, "US.1234567890", message.Marketing, "", "2026-11-30 22:30:00", "2026-12-01 08:00:00"}, // from Puerto Rico to Guam: that of the number
		"a zone for all":                 {[]config.QuietHours{{From: "21:00", To: "08:00", Zone: "Asia/Tokyo"}}, nil, "+4915112345678", message.Marketing, "", "2026-11-30 12:00:00", "2026-11-30 23:00:00"},
		"always":                         {[]config.QuietHours{{From: "00:00", To: "00:00"}}, nil, "+4915112345678", message.Marketing, "", "2026-11-30 12:00:00", "2026-12-08 12:00:00"},
	} {
		m := quiethours.Message{Client: "acme", Number: number, Campaign: tt.campaign, Class: tt.class, Recipient: tt.to}
		var want time.Time
		if tt.end != "" {
			want = at(t, "UTC", tt.end)
		}
		for which, r := range map[string]*quiethours.Rules{"number": rules(tt.windows, nil, tt.overrides), "client": rules(nil, tt.windows, tt.overrides)} {
			for range 2 { // the second answer is remembered
				if got := r.Until(m, at(t, "UTC", tt.now)); !got.Equal(want) {
					t.Errorf("%s, of the %s: until %s, want %s", name, which, got.UTC(), tt.end)
				}
			}
		}
	}
}

// TestClockChanges: in the two nights in which clocks change, no minute at which a message may be sent is within the quiet hours by the
// clock of the recipient, and Until always names the first one after them.
func TestClockChanges(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ zone, to, day string }{
		{"Europe/Berlin", "+4915112345678", "2026-03-28"},
		{"Europe/Berlin", "+4915112345678", "2026-10-24"},
		{"America/New_York", "+12125550123", "2026-03-07"},
		{"America/New_York", "+12125550123", "2026-10-31"},
		{"Australia/Lord_Howe", "+61265630123", "2026-10-03"}, // by half an hour
	} {
		for _, w := range []config.QuietHours{{From: "21:00", To: "08:00"}, {From: "21:00", To: "02:30"}, {From: "02:30", To: "08:00"}, {From: "02:10", To: "02:20"}} {
			r := rules([]config.QuietHours{w}, nil, map[string]string{tt.to[:6]: tt.zone})
			m := quiethours.Message{Number: number, Class: message.Marketing, Recipient: tt.to}
			begin := at(t, tt.zone, tt.day+" 12:00:00")
			within := func(when time.Time) bool {
				clock := when.In(begin.Location()).Format("15:04")
				if w.From < w.To {
					return w.From <= clock && clock < w.To
				}
				return w.From <= clock || clock < w.To
			}
			var free time.Time // the first minute after the present quiet hours
			for when := begin.Add(30 * time.Hour); when.After(begin); when = when.Add(-time.Minute) {
				if !within(when) {
					free = when
				} else if when.Minute()%10 != 9 {
					continue
				}
				got := r.Until(m, when)
				switch {
				case !within(when) && !within(when.Add(2*time.Second)):
					if !got.IsZero() {
						t.Fatalf("%s %s %s-%s: quiet at %s until %s", tt.zone, tt.day, w.From, w.To, when, got)
					}
				case !got.Equal(free):
					t.Fatalf("%s %s %s-%s: at %s quiet until %s, want %s", tt.zone, tt.day, w.From, w.To, when, got, free)
				}
			}
		}
	}
}

func BenchmarkUntil(b *testing.B) {
	r := rules(night, nil, nil)
	now := time.Date(2026, 11, 30, 22, 30, 0, 0, time.UTC)
	m := quiethours.Message{Client: "acme", Number: number, Class: message.Marketing, Recipient: "+4915112345678"}
	for name, now := range map[string]time.Time{"quiet": now, "free": now.Add(-10 * time.Hour)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Until(m, now)
			}
		})
	}
}
