package pages

import (
	"encoding/json"
	"math"
	"net/url"
	"slices"
	"strconv"

	"sluice/internal/fleet"
)

// numberDetail is how one number is doing, as the console API says.
type numberDetail struct {
	fleet.Number
	History []fleet.Point
	Replies *autoReply `json:"-"` // nil: it has no automatic replies, or they cannot be read
}

// autoReply is what Sluice answers to people who write to a number, as the console API says.
type autoReply struct {
	APIKey string `json:"api_key"`
	Rules  []struct {
		Words []string
		Text  string
	}
	Hook *struct{ URL, Deadline string }
	Away *struct {
		Text, From, To string
		Days           []string
		Zone           string `json:"time_zone"`
	}
	Welcome string
}

// autoReplyOf returns the automatic replies of a number, as the directory has them; nil: there are none, or they cannot be read.
func (v *view) autoReplyOf(number string) *autoReply {
	kind := entryKinds[slices.IndexFunc(entryKinds, func(k entryKind) bool { return k.Name == "numbers" })]
	all, failed := v.entries(kind, number)
	if failed != nil || len(all) == 0 {
		return nil
	}
	var e struct {
		Replies *autoReply `json:"auto_reply"`
	}
	text, err := json.Marshal(all[0])
	if err != nil || json.Unmarshal(text, &e) != nil {
		return nil
	}
	return e.Replies
}

// Chart returns the history as JSON for static/charts.js: arrays of Unix times, attempts per second, effective rates, rate
// limits, waiting messages, throttled and failed requests per second, and mean and longest latencies in milliseconds.
func (n numberDetail) Chart() string {
	columns := [9][]float64{}
	for i := range columns {
		columns[i] = []float64{}
	}
	for _, p := range n.History {
		for i, value := range []float64{
			float64(p.At.Unix()), rounded(p.Attempts), rounded(p.Rate), p.Limit, float64(p.Waiting),
			rounded(p.Throttled), rounded(p.Failed), math.Round(p.Latency * 1000), math.Round(p.Longest * 1000),
		} {
			columns[i] = append(columns[i], value)
		}
	}
	text, err := json.Marshal(columns)
	if err != nil { // a number that JSON does not have
		return "[[],[],[],[],[],[],[],[],[]]"
	}
	return string(text)
}

// rounded returns a number with one digit after the point.
func rounded(x float64) float64 { return float64(int(x*10+0.5)) / 10 }

func numberPage() page {
	path := func(v *view) string { return "/v1/numbers/" + url.PathEscape(v.r.PathValue("id")) }
	// set makes the order to change the rate.
	set := func(v *view, members map[string]any, text string) (done, *problem) {
		var after numberDetail
		failed := v.console("PUT", path(v)+"/rate", v.order(members), &after)
		return done{text: text}, failed
	}
	return page{
		name: "number", path: "numbers/{id}", title: "Number", live: true,
		read: func(v *view) (any, *problem) {
			var n numberDetail
			failed := v.console("GET", path(v), nil, &n)
			if failed == nil {
				n.Replies = v.autoReplyOf(n.ID)
			}
			return n, failed
		},
		acts: map[string]func(*view) (done, *problem){
			"rate": func(v *view) (done, *problem) {
				members := map[string]any{"over": v.field("over")}
				for _, name := range []string{"rate", "from"} {
					if text := v.field(name); text != "" {
						n, err := strconv.Atoi(text)
						if err != nil {
							n = -1 // which the API refuses
						}
						members[name] = n
					}
				}
				return set(v, members, "The rate limit is set. It applies from the next slots on.")
			},
			"reset": func(v *view) (done, *problem) {
				return set(v, map[string]any{"reset": true}, "The configured rate limit applies again, from the next slots on.")
			},
		},
	}
}
