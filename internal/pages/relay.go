package pages

import (
	"net/url"
	"time"
)

// relayTarget is a relay target, as the console API lists it.
type relayTarget struct {
	Name        string
	URL         string
	State       string
	Since       time.Time
	Error       string
	NextTry     time.Time `json:"next_try"`
	HeldBy      string    `json:"held_by"`
	HeldReason  string    `json:"held_reason"`
	LagSeconds  float64   `json:"lag_seconds"`
	SetAside    int       `json:"set_aside"`
	DeadLetters int       `json:"dead_letters"`
}

// Held reports whether an operator holds the target.
func (t relayTarget) Held() bool { return t.HeldBy != "" }

// Lag returns how long the oldest event that it has not got has waited.
func (t relayTarget) Lag() time.Duration { return time.Duration(t.LagSeconds * float64(time.Second)) }

func relayPage() page {
	order := func(verb, text string) func(*view) (done, *problem) {
		return func(v *view) (done, *problem) {
			name := v.field("name")
			var result struct{ Done bool }
			failed := v.console("POST", "/v1/relay/targets/"+url.PathEscape(name)+"/"+verb, v.order(nil), &result)
			return done{text: text + ": relay target " + name + ". Workers follow it within seconds."}, failed
		}
	}
	return page{
		name: "relay", path: "relay", title: "Relay", nav: true, live: true,
		read: func(v *view) (any, *problem) {
			var list struct{ Targets []relayTarget }
			failed := v.console("GET", "/v1/relay/targets", nil, &list)
			return list.Targets, failed
		},
		acts: map[string]func(*view) (done, *problem){"hold": order("hold", "Held"), "release": order("release", "Released")},
	}
}
