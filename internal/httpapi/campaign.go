package httpapi

import (
	"time"

	"sluice/internal/message"
)

// CampaignSettings are the settings of a campaign, and what they mean now, as the API and the console show them.
type CampaignSettings struct {
	Rate      float64   `json:"rate,omitempty" doc:"Most messages per second of the campaign at each number. Absent: no limit but that of the number."`
	RateNow   float64   `json:"rate_now,omitempty" doc:"With ramp_until: most messages per second now."`
	RampFrom  float64   `json:"ramp_from,omitempty" doc:"The rate with which the ramp began."`
	RampUntil time.Time `json:"ramp_until,omitzero" doc:"When the rate has grown to rate. Absent: there is no ramp, or it has ended."`

	CapPerDay       int       `json:"cap_per_day,omitempty" doc:"Most messages of the campaign in a day, over all numbers. Absent: no cap."`
	TimeZone        string    `json:"time_zone,omitempty" doc:"With cap_per_day: the time zone in which days begin."`
	SentToday       *int      `json:"sent_today,omitempty" doc:"With cap_per_day: how many messages it has counted on this day. A retry counts once."`
	CapReachedUntil time.Time `json:"cap_reached_until,omitzero" doc:"When the campaign goes on, because it has sent as many messages today as the cap allows. Absent: it has not."`

	Budget message.Amount  `json:"budget,omitzero" doc:"The most that all messages of the campaign may cost at Meta, in the currency of the prices. Absent: there is no budget."`
	Spent  *message.Amount `json:"spent,omitempty" doc:"With budget: what counts as spent. See Prices and budgets."`

	SetAt  time.Time `json:"set_at" doc:"When the settings were last changed."`
	Actor  string    `json:"actor" doc:"The name of the operator who changed them."`
	Reason string    `json:"reason" doc:"Why."`
}

// ShowCampaignSettings returns the settings of a campaign as the API and the console show them; nil: none are set.
func ShowCampaignSettings(w message.CampaignWait, now time.Time) *CampaignSettings {
	s := w.Settings
	if s == nil {
		return nil
	}
	shown := CampaignSettings{Rate: s.Rate, CapPerDay: s.CapPerDay, SetAt: s.At, Actor: s.By, Reason: s.Reason}
	if s.RampUntil().After(now) {
		shown.RateNow, shown.RampFrom, shown.RampUntil = s.RateAt(now), s.RampFrom, s.RampUntil()
	}
	if s.CapPerDay > 0 {
		shown.TimeZone, shown.SentToday = s.Zone(), &w.Today
		if w.Today >= s.CapPerDay {
			shown.CapReachedUntil = w.DayEnds.UTC()
		}
	}
	if s.Budget > 0 {
		shown.Budget, shown.Spent = s.Budget, &w.Spent
	}
	return &shown
}
