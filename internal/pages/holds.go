package pages

import (
	"fmt"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// hold is a hold, as the console API lists it.
type hold struct {
	httpapi.Hold
	APIKeyName   string `json:"api_key_name"`
	HeldMessages *int   `json:"held_messages"`
}

// holdFields are the members of a request, and the fields of a form, that say what is held.
var holdFields = []string{"phone_number_id", "template", "tag", "campaign", "client"}

func holdsPage() page {
	return page{
		name: "holds", path: "holds", title: "Holds", nav: true, live: true,
		read: func(v *view) (any, *problem) {
			var list struct{ Holds []hold }
			failed := v.console("GET", "/v1/holds", nil, &list)
			return list.Holds, failed
		},
		acts: map[string]func(*view) (done, *problem){"hold": setHold, "release": releaseHold},
	}
}

// target returns the members of a request that say what is held, from a form.
func (v *view) target() map[string]any {
	members := map[string]any{}
	for _, name := range holdFields {
		members[name] = v.field(name)
	}
	return members
}

func setHold(v *view) (done, *problem) {
	members := v.target()
	members["for"] = v.field("for")
	if v.field("all") != "" {
		members["all"] = true
	}
	var set hold
	if failed := v.console("POST", "/v1/holds", v.order(members), &set); failed != nil {
		return done{}, failed
	}
	until := "until it is released"
	if !set.Until.IsZero() {
		until = "until " + clock(set.Until) + " UTC"
	}
	return done{text: fmt.Sprintf("Held: %s, %s.", set.Target(), until)}, nil
}

func releaseHold(v *view) (done, *problem) {
	members := v.target()
	h := message.Hold{Number: v.field("phone_number_id"), Template: v.field("template"), Tag: v.field("tag"), Campaign: v.field("campaign"), Client: v.field("client")}
	if h == (message.Hold{}) {
		members["all"] = true
	}
	var result struct{ Released bool }
	if failed := v.console("POST", "/v1/holds/release", v.order(members), &result); failed != nil {
		return done{}, failed
	}
	if !result.Released {
		return done{text: "There was no hold on " + h.On() + ": it had ended already."}, nil
	}
	return done{text: "Released: " + h.On() + "."}, nil
}
