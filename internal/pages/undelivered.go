package pages

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"sluice/internal/message"
)

// codeGroup is a group of messages with the same code and reason, as the console API counts them.
type codeGroup struct {
	Number     string `json:"phone_number_id"`
	State      message.State
	Code       int
	Title      string
	Advice     string
	Reason     string
	Count      int
	Resendable int
	First      time.Time
	Last       time.Time
	Unselected bool `json:"-"` // no filter selects only this group: it has no reason, and another of the same number, state and code has one
}

// markUnselected sets Unselected. A filter without a reason selects every reason, so an action on such a group would take others too.
func markUnselected(groups []codeGroup) {
	for i, g := range groups {
		groups[i].Unselected = g.Reason == "" && slices.ContainsFunc(groups, func(other codeGroup) bool {
			return other.Reason != "" && other.Number == g.Number && other.State == g.State && other.Code == g.Code
		})
	}
}

// inDoubt is a message of which it is unknown whether Meta accepted it, as the console API lists it.
type inDoubt struct {
	message.Context
	State     message.State
	Code      int
	Title     string
	Advice    string
	Reason    string
	Attempt   int
	Since     time.Time
	Until     time.Time
	ExpiresAt time.Time `json:"expires_at"`
}

// inDoubts are the data of the page of in-doubt messages.
type inDoubts struct {
	Messages []inDoubt
	Chosen   url.Values // what was chosen on a dry run
}

// Reasons counts the listed messages by their reasons, the most frequent first.
func (d inDoubts) Reasons() (all []codeGroup) {
	for _, m := range d.Messages {
		i := slices.IndexFunc(all, func(g codeGroup) bool { return g.State == m.State && g.Code == m.Code && g.Reason == m.Reason })
		if i < 0 {
			i, all = len(all), append(all, codeGroup{State: m.State, Code: m.Code, Title: m.Title, Advice: m.Advice, Reason: m.Reason})
		}
		all[i].Count++
	}
	slices.SortStableFunc(all, func(a, b codeGroup) int { return b.Count - a.Count })
	return all
}

// IsChosen reports whether a message was chosen on a dry run.
func (d inDoubts) IsChosen(id string) bool { return slices.Contains(d.Chosen["id"], id) }

// inDoubtMost is how many in-doubt messages the page shows; one order may decide about as many.
const inDoubtMost = 100

func inDoubtPage() page {
	return page{
		name: "in-doubt", path: "in-doubt", title: "In doubt", nav: true,
		read: func(v *view) (any, *problem) {
			list := inDoubts{Chosen: v.r.PostForm}
			failed := v.console("GET", withQuery("/v1/in-doubt", "limit", strconv.Itoa(inDoubtMost), "phone_number_id", v.query("phone_number_id")), nil, &list)
			return list, failed
		},
		acts: map[string]func(*view) (done, *problem){"resolve": resolveChosen},
	}
}

// resolved is what a decision about several messages did, or would do.
type resolved struct {
	Resolved, Expired, Skipped int
	More                       bool // storage failed before all were decided
	Groups                     []codeGroup
}

func resolveChosen(v *view) (done, *problem) {
	members := map[string]any{"ids": v.r.PostForm["id"], "resolution": v.field("resolution")}
	if v.dry() {
		members["dry_run"] = true
	}
	if len(v.r.PostForm["id"]) == 0 {
		return done{}, &problem{Status: http.StatusUnprocessableEntity, Title: "Nothing was decided", Detail: "Choose the messages that the decision is about."}
	}
	var result resolved
	if failed := v.console("POST", "/v1/in-doubt/resolve", v.order(members), &result); failed != nil {
		return done{}, failed
	}
	if v.dry() {
		return done{show: result}, nil
	}
	text := fmt.Sprintf("The decision is applied to %s.", countOf(result.Resolved, "message"))
	if result.Expired > 0 {
		text += fmt.Sprintf(" The deadline of %s has passed, so Sluice does not send them again.", number(result.Expired))
	}
	if result.Skipped > 0 {
		text += fmt.Sprintf(" %s stayed as they are: they are not in doubt any more.", number(result.Skipped))
	}
	if result.More {
		text += " Redis failed or took too long before all were decided: decide about the rest again."
	}
	return done{text: text}, nil
}

// dry reports whether the button of the dry run was pressed.
func (v *view) dry() bool { return v.field("dry_run") != "" }

// countOf writes a number of things.
func countOf(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return number(n) + " " + thing + "s"
}

// deadLetters are the data of the page of dead letters.
type deadLetters struct {
	Count  int
	Groups []codeGroup
}

func deadLettersPage() page {
	return page{
		name: "dead-letters", path: "dead-letters", title: "Dead letters", nav: true,
		read: func(v *view) (any, *problem) {
			var list deadLetters
			failed := v.console("GET", withQuery("/v1/dead-letters", "limit", "1", "phone_number_id", v.query("phone_number_id")), nil, &list)
			markUnselected(list.Groups)
			return list, failed
		},
		acts: map[string]func(*view) (done, *problem){"resend": resendGroup},
	}
}

// undelivered are the counts of messages of a number that ended undelivered, as the console API has them.
type undelivered struct {
	Count          int
	Resendable     int
	ContentDropped int `json:"content_dropped"`
	MaybeDelivered int `json:"maybe_delivered"`
	Overdue        int
	Groups         []codeGroup
}

// undeliveredFilters are the parameters that select undelivered messages.
var undeliveredFilters = []string{"phone_number_id", "state", "code", "message_reason", "template", "tag", "campaign", "client", "since", "until"}

func failedPage() page {
	return page{
		name: "failed", path: "failed", title: "Failed", nav: true,
		read: func(v *view) (any, *problem) {
			if v.query("phone_number_id") == "" {
				return nil, nil
			}
			var pairs []string
			for _, name := range []string{"phone_number_id", "template", "tag", "campaign", "client", "since", "until"} {
				pairs = append(pairs, name, v.query(name))
			}
			var counts undelivered
			if failed := v.console("GET", withQuery("/v1/undelivered", pairs...), nil, &counts); failed != nil {
				return nil, failed
			}
			markUnselected(counts.Groups)
			return &counts, nil
		},
		acts: map[string]func(*view) (done, *problem){"resend": resendGroup},
	}
}

// resent is what a resend did, or would do.
type resent struct {
	Resent         int
	Overdue        int
	ContentDropped int `json:"content_dropped"`
	MaybeDelivered int `json:"maybe_delivered"`
	Last           time.Time
	More           bool
	Groups         []codeGroup
}

// resendGroup sends the messages of a group again. They become due one after the other at a rate: the order of this is in Redis, so
// it goes on when the browser is closed.
func resendGroup(v *view) (done, *problem) {
	members := map[string]any{"extend": v.field("extend")}
	for _, name := range undeliveredFilters {
		members[name] = v.field(name)
	}
	for _, name := range []string{"code", "rate", "limit"} {
		if text := v.field(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				return done{}, &problem{Status: http.StatusUnprocessableEntity, Title: "Nothing was sent again", Errors: []mistake{{Path: name, Detail: "This is not a whole number.", Fix: "Type digits only."}}}
			}
			members[name] = n
		}
	}
	if v.dry() {
		members["dry_run"] = true
	}
	var result resent
	if failed := v.console("POST", "/v1/undelivered/resend", v.order(members), &result); failed != nil {
		return done{}, failed
	}
	if v.dry() {
		return done{show: result}, nil
	}
	text := countOf(result.Resent, "message") + " queued again."
	if result.Resent > 0 {
		text += " They become due one after the other until " + clock(result.Last) + " UTC, also when you close the page. The column Later shows how many still wait for their time."
	}
	if left := result.Overdue + result.ContentDropped + result.MaybeDelivered; left > 0 {
		text += " " + number(left) + " stayed as they are."
	}
	if result.More {
		text += " There are more: send again."
	}
	return done{text: text, to: address("numbers/" + url.PathEscape(v.field("phone_number_id")))}, nil
}

// withQuery returns a path of an API with a query of names and values; empty values are left out.
func withQuery(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}
