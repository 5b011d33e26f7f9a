package message

import (
	"cmp"
	"fmt"
	"sort"
	"strings"
	"time"
)

// CampaignSettings say how fast the messages of a campaign are sent, how many in a day, and what they may cost. The zero value sets no limit.
type CampaignSettings struct {
	Flow `json:"-"`

	Rate     float64       `json:"rate,omitempty"`      // messages a second at each number; 0: no limit
	RampFrom float64       `json:"ramp_from,omitempty"` // the rate at RampAt, from which it grows evenly to Rate
	RampOver time.Duration `json:"ramp_over,omitempty"` // how long it grows; 0: it does not
	RampAt   time.Time     `json:"ramp_at,omitzero"`

	CapPerDay int    `json:"cap_per_day,omitempty"` // messages in a day, over all numbers; 0: no cap
	TimeZone  string `json:"time_zone,omitempty"`   // of the day; empty: UTC

	Budget Amount `json:"budget,omitzero"` // the most that all messages may cost at Meta; 0: there is none

	At     time.Time `json:"at,omitzero"` // when they were last set, by Redis's clock
	By     string    `json:"by,omitempty"`
	Key    string    `json:"key,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Set reports whether anything is set.
func (s CampaignSettings) Set() bool { return s.Rate > 0 || s.CapPerDay > 0 || s.Budget > 0 }

// RateAt returns how many messages a second a number may send at a time; 0: no limit.
func (s CampaignSettings) RateAt(t time.Time) float64 {
	if passed := t.Sub(s.RampAt); s.RampOver > 0 && passed < s.RampOver {
		return s.RampFrom + (s.Rate-s.RampFrom)*max(passed.Seconds(), 0)/s.RampOver.Seconds()
	}
	return s.Rate
}

// RampUntil returns when the rate has grown to Rate; zero: it does not grow.
func (s CampaignSettings) RampUntil() time.Time {
	if s.RampOver == 0 {
		return time.Time{}
	}
	return s.RampAt.Add(s.RampOver)
}

// Zone returns the name of the time zone in which days begin.
func (s CampaignSettings) Zone() string { return cmp.Or(s.TimeZone, "UTC") }

// Day returns the day of the cap that a time is in, as 2006-01-02, and when it ends.
func (s CampaignSettings) Day(t time.Time) (name string, end time.Time) {
	zone, err := time.LoadLocation(s.Zone())
	if err != nil { // a time zone that this machine does not know
		zone = time.UTC
	}
	t = t.In(zone)
	year, month, day := t.Date()
	if end = time.Date(year, month, day+1, 0, 0, 0, 0, zone); end.Day() == day { // its clocks have no midnight
		end = time.Date(year, month, day+1, 1, 0, 0, 0, zone)
	}
	return t.Format(time.DateOnly), end
}

// CapWait estimates how long until a message is sent that has so many others of the campaign before it, if the cap has counted today's
// messages until now and the day ends at a time. in estimates the same without the cap.
func (s CampaignSettings) CapWait(ahead, today int, now, dayEnds time.Time, in func(ahead int) time.Duration) time.Duration {
	if s.CapPerDay == 0 {
		return in(ahead)
	}
	// Today go those that the cap leaves, if the rates let them go before the day ends.
	left := min(max(s.CapPerDay-today, 0), ahead+1)
	left = sort.Search(left, func(i int) bool { return in(i) >= dayEnds.Sub(now) })
	if ahead < left {
		return in(ahead)
	}
	day := dayEnds.AddDate(0, 0, (ahead-left)/s.CapPerDay) // days of a time zone are not always of 24 hours
	return max(in(ahead), day.Sub(now)+in((ahead-left)%s.CapPerDay)-in(0))
}

// CampaignChange is a change of the settings of a campaign. What it leaves out stays.
type CampaignChange struct {
	Flow
	Reset     bool          // removes all settings first
	Rate      *float64      // with RampFrom and RampOver, as in CampaignSettings; 0 removes the rate, nil leaves both as they are
	RampFrom  float64       // used with Rate only
	RampOver  time.Duration // used with Rate only
	CapPerDay *int          // 0 removes the cap
	TimeZone  *string
	Budget    *Amount // 0 removes the budget

	By, Key, Reason string
}

// Apply returns settings with the change, which is made at a time of Redis's clock.
func (c CampaignChange) Apply(s CampaignSettings, now time.Time) CampaignSettings {
	if c.Reset {
		s = CampaignSettings{Flow: c.Flow}
	}
	if c.Rate != nil {
		s.Rate, s.RampFrom, s.RampOver, s.RampAt = *c.Rate, c.RampFrom, c.RampOver, time.Time{}
		if c.RampOver > 0 {
			s.RampAt = now
		}
	}
	if c.CapPerDay != nil {
		s.CapPerDay = *c.CapPerDay
	}
	if c.TimeZone != nil {
		s.TimeZone = *c.TimeZone
	}
	if c.Budget != nil {
		s.Budget = *c.Budget
	}
	s.At, s.By, s.Key, s.Reason = now, c.By, c.Key, c.Reason
	return s
}

// Describe says in the audit log what is changed.
func (c CampaignChange) Describe() string {
	var what []string
	if c.Reset {
		what = append(what, "no settings")
	}
	switch {
	case c.Rate == nil:
	case *c.Rate == 0:
		what = append(what, "no rate")
	case c.RampOver > 0:
		what = append(what, fmt.Sprintf("%g messages per second, from %g over %s", *c.Rate, c.RampFrom, c.RampOver))
	default:
		what = append(what, fmt.Sprintf("%g messages per second", *c.Rate))
	}
	switch {
	case c.CapPerDay == nil:
	case *c.CapPerDay == 0:
		what = append(what, "no cap per day")
	default:
		what = append(what, fmt.Sprintf("%d messages per day", *c.CapPerDay))
	}
	switch {
	case c.Budget == nil:
	case *c.Budget == 0:
		what = append(what, "no budget")
	default:
		what = append(what, "budget "+c.Budget.String())
	}
	if c.TimeZone != nil {
		what = append(what, "time zone "+*c.TimeZone)
	}
	return Hold{Client: c.Client, Campaign: c.Campaign}.On() + ": " + strings.Join(what, ", ")
}

// Gate is how the messages of a campaign may be fetched now. The zero value lets all go.
type Gate struct {
	Every  time.Duration // the least time between two messages at each number; 0: no limit
	Closed bool          // none may be fetched; Every is 0
	Capped bool          // they must be counted before they are sent
}

// Limited reports whether not all messages may be fetched at once.
func (g Gate) Limited() bool { return g.Every > 0 || g.Closed }

// CapAsk asks whether a message may be sent under the cap of its campaign.
type CapAsk struct {
	Flow
	ID string // of the message
}
