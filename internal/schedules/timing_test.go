package schedules

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// ticks returns the first n ticks after a time, in the time zone of the schedule.
func ticks(t *testing.T, timing Timing, after string, n int) (all []string) {
	t.Helper()
	r, refused := timing.rule()
	if refused != nil {
		t.Fatal(refused)
	}
	at, err := time.Parse(time.RFC3339, after)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if at = r.next(at); at.IsZero() {
			return append(all, "none")
		}
		all = append(all, at.In(r.zone).Format("Mon 2006-01-02T15:04Z07:00"))
	}
	return all
}

// TestTicks: the ticks of both nights of daylight saving time in three time zones, of leap days and of ends of months.
func TestTicks(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		timing Timing
		after  string
		want   []string
	}{
		"every day": {Timing{At: []string{"17:30", "09:00"}}, "2026-01-01T09:00:00Z", []string{"Thu 2026-01-01T17:30Z", "Fri 2026-01-02T09:00Z", "Fri 2026-01-02T17:30Z"}},
		"Berlin, the clock jumps from 02:00 to 03:00": {
			Timing{At: []string{"01:59", "02:30", "03:10"}, TimeZone: "Europe/Berlin"},
			"2026-03-28T12:00:00Z",
			[]string{"Sun 2026-03-29T01:59+01:00", "Sun 2026-03-29T03:00+02:00", "Sun 2026-03-29T03:10+02:00", "Mon 2026-03-30T01:59+02:00", "Mon 2026-03-30T02:30+02:00"},
		},
		"two times that the clock jumps over are one tick": {
			Timing{At: []string{"02:15", "02:45", "03:00"}, TimeZone: "Europe/Berlin"},
			"2026-03-28T12:00:00Z",
			[]string{"Sun 2026-03-29T03:00+02:00", "Mon 2026-03-30T02:15+02:00"},
		},
		"Berlin, 02:30 comes twice": {
			Timing{At: []string{"02:30", "03:00"}, TimeZone: "Europe/Berlin"},
			"2026-10-24T12:00:00Z",
			[]string{"Sun 2026-10-25T02:30+02:00", "Sun 2026-10-25T03:00+01:00", "Mon 2026-10-26T02:30+01:00"},
		},
		"New York, the clock jumps": {
			Timing{At: []string{"02:30"}, TimeZone: "America/New_York"},
			"2026-03-08T00:00:00Z",
			[]string{"Sun 2026-03-08T03:00-04:00", "Mon 2026-03-09T02:30-04:00"},
		},
		"New York, 01:30 comes twice": {
			Timing{At: []string{"01:30"}, TimeZone: "America/New_York"},
			"2026-11-01T00:00:00Z",
			[]string{"Sun 2026-11-01T01:30-04:00", "Mon 2026-11-02T01:30-05:00"},
		},
		"Lord Howe, the clock jumps by half an hour": {
			Timing{At: []string{"02:10", "02:30"}, TimeZone: "Australia/Lord_Howe"},
			"2026-10-03T12:00:00Z",
			[]string{"Sun 2026-10-04T02:30+11:00", "Mon 2026-10-05T02:10+11:00"},
		},
		"Lord Howe, 01:45 comes twice": {
			Timing{At: []string{"01:45", "02:00"}, TimeZone: "Australia/Lord_Howe"},
			"2026-04-04T12:00:00Z",
			[]string{"Sun 2026-04-05T01:45+11:00", "Sun 2026-04-05T02:00+10:30", "Mon 2026-04-06T01:45+10:30"},
		},
		"days":        {Timing{At: []string{"09:00"}, Days: []string{"mon", "fri"}}, "2026-01-01T00:00:00Z", []string{"Fri 2026-01-02T09:00Z", "Mon 2026-01-05T09:00Z", "Fri 2026-01-09T09:00Z"}},
		"leap day":    {Timing{At: []string{"09:00"}, Dates: []int{29}}, "2028-01-30T00:00:00Z", []string{"Tue 2028-02-29T09:00Z", "Wed 2028-03-29T09:00Z"}},
		"no leap day": {Timing{At: []string{"09:00"}, Dates: []int{29}}, "2026-01-30T00:00:00Z", []string{"Sun 2026-03-29T09:00Z"}},
		"31":          {Timing{At: []string{"09:00"}, Dates: []int{31}}, "2027-07-31T10:00:00Z", []string{"Tue 2027-08-31T09:00Z", "Sun 2027-10-31T09:00Z", "Fri 2027-12-31T09:00Z", "Mon 2028-01-31T09:00Z", "Fri 2028-03-31T09:00Z"}},
		"end of month": {
			Timing{At: []string{"09:00"}, Dates: []int{-1, 15}},
			"2028-01-31T10:00:00Z",
			[]string{"Tue 2028-02-15T09:00Z", "Tue 2028-02-29T09:00Z", "Wed 2028-03-15T09:00Z", "Fri 2028-03-31T09:00Z"},
		},
		"first day from the end": {Timing{At: []string{"09:00"}, Dates: []int{-31}}, "2026-01-02T00:00:00Z", []string{"Sun 2026-03-01T09:00Z", "Fri 2026-05-01T09:00Z"}},
		"first and last day": {
			Timing{At: []string{"00:00"}, FirstDay: "2027-03-01", LastDay: "2027-03-02", TimeZone: "Asia/Kolkata"},
			"2026-01-01T00:00:00Z",
			[]string{"Mon 2027-03-01T00:00+05:30", "Tue 2027-03-02T00:00+05:30", "none"},
		},
		"midnight does not exist": {
			Timing{At: []string{"00:00"}, TimeZone: "America/Asuncion"},
			"2023-09-30T12:00:00Z",
			[]string{"Sun 2023-10-01T01:00-03:00", "Mon 2023-10-02T00:00-03:00"},
		},
	} {
		if got := ticks(t, tt.timing, tt.after, len(tt.want)); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, tt.want)
		}
	}
}

// TestMoment: over all changes of some clocks in ten years, a time of the day is reached at the first minute at which the clock shows it
// or a later one.
func TestMoment(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca", "Antarctica/Troll", "Pacific/Apia"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		changes := 0
		for at := time.Date(2010, 1, 1, 0, 0, 0, 0, zone); ; changes++ {
			_, change := at.ZoneBounds()
			if change.IsZero() || change.Year() > 2026 {
				break
			}
			at = change
			first := map[time.Time]time.Time{} // by what the clock shows
			latest := time.Time{}
			for m := change.Add(-30 * time.Hour); m.Before(change.Add(30 * time.Hour)); m = m.Add(time.Minute) {
				if latest.IsZero() {
					latest = wall(m).Add(-time.Minute)
				}
				for shown := wall(m); latest.Before(shown); {
					latest = latest.Add(time.Minute)
					first[latest] = m
				}
			}
			for shown, want := range first {
				if got := moment(shown, zone); !got.Equal(want) {
					t.Fatalf("%s: %s is at %s, want %s", name, shown.Format(time.DateTime), got.In(zone), want.In(zone))
				}
			}
		}
		if changes == 0 {
			t.Errorf("%s has no change", name)
		}
	}
}

// TestRefusedTimings: each mistake is refused with its place.
func TestRefusedTimings(t *testing.T) {
	t.Parallel()
	nine := []string{"09:00"}
	for _, tt := range []struct {
		timing Timing
		want   string
	}{
		{Timing{}, "at schedule_time_invalid"},
		{Timing{At: make([]string, 25)}, "at schedule_time_invalid"},
		{Timing{At: []string{"09:00", "24:00"}}, "at[1] schedule_time_invalid"},
		{Timing{At: []string{"9:00"}}, "at[0] schedule_time_invalid"},
		{Timing{At: nine, Days: []string{"mon", "Tue"}}, "days[1] schedule_day_invalid"},
		{Timing{At: nine, Dates: []int{1, 0}}, "dates[1] schedule_day_invalid"},
		{Timing{At: nine, Dates: []int{32}}, "dates[0] schedule_day_invalid"},
		{Timing{At: nine, Days: []string{"mon"}, Dates: []int{1}}, "dates schedule_day_invalid"},
		{Timing{At: nine, TimeZone: "Local"}, "time_zone time_zone_unknown"},
		{Timing{At: nine, TimeZone: "../etc"}, "time_zone time_zone_unknown"},
		{Timing{At: nine, FirstDay: "2026-02-30"}, "first_day schedule_day_invalid"},
		{Timing{At: nine, LastDay: "tomorrow"}, "last_day schedule_day_invalid"},
	} {
		_, refused := tt.timing.rule()
		if refused == nil || fmt.Sprint(refused[0].Path, " ", refused[0].Code) != tt.want {
			t.Errorf("%+v: %v, want %s", tt.timing, refused, tt.want)
		}
	}
	if _, refused := (Timing{At: nine}).rule(); refused != nil {
		t.Error(refused)
	}
}
