package console

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/fleet"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// numbers reads how the configured numbers are doing.
type numbers interface {
	Read(ctx context.Context) (fleet.State, error)
	// One reads a configured number.
	One(ctx context.Context, number string) (fleet.Number, error)
	// History returns the points of a number since a time, the oldest first.
	History(number string, since time.Time) []fleet.Point
}

// overview is the answer of GET /v1/overview.
type overview struct {
	At       time.Time        `json:"at" doc:"When the numbers were read: up to a second ago."`
	Headline string           `json:"headline" doc:"Whether any number needs a person now, in words."`
	Count    int              `json:"count" doc:"How many numbers match, with those that are not in the answer."`
	Waiting  int              `json:"waiting" doc:"Messages of these numbers that wait for a send slot or for the end of a hold."`
	Held     int              `json:"held_messages" doc:"Messages of these numbers that holds keep from being sent."`
	InDoubt  int              `json:"in_doubt" doc:"Messages of these numbers in doubt."`
	Parked   int              `json:"parked" doc:"Messages of these numbers that wait for an operator's decision."`
	Dead     int              `json:"dead_letters" doc:"Dead letters of these numbers."`
	Awaiting int              `json:"awaiting_status" doc:"Messages of these numbers that Meta accepted more than 15 minutes ago and sent no status for."`
	Numbers  []overviewNumber `json:"numbers" doc:"The numbers, those that need attention first, then those with the most messages."`
}

// overviewNumber is a number of the overview.
type overviewNumber struct {
	fleet.Number
	Attempts []float64 `json:"attempts_history,omitempty" doc:"Attempts per second that ended, every 10 s for the last 15 minutes, the oldest first. Absent: the number was idle."`
}

// overviewHistory is how far back the history in the overview goes.
const overviewHistory = 15 * time.Minute

// overviewMost is how many numbers an answer has at most.
const overviewMost = 10000

func (c *Console) overview(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	limit, refused := countOf(r, "limit", 100, 1, overviewMost)
	offset, wrong := countOf(r, "offset", 0, 0, 1_000_000)
	if refused = append(refused, wrong...); len(refused) > 0 {
		return nil, refused
	}
	s, err := c.o.Fleet.Read(ctx)
	if err != nil {
		return nil, c.unavailable("read overview", err)
	}
	digits := r.URL.Query().Get("phone_number_id_contains")
	shown := make([]fleet.Number, 0, len(s.Numbers))
	o := overview{At: s.At.UTC(), Numbers: []overviewNumber{}}
	for _, n := range s.Numbers {
		if !key.Covers(n.ID) || !strings.Contains(n.ID, digits) {
			continue
		}
		shown = append(shown, n)
		o.Waiting += n.Waiting
		o.Held += n.Held
		o.InDoubt += n.InDoubt
		o.Parked += n.Parked
		o.Dead += n.Dead
		o.Awaiting += n.Awaiting
	}
	if key.CoversAll() && digits == "" { // exact, also for long lists
		o.InDoubt, o.Parked, o.Dead, o.Awaiting = s.Lists.InDoubt, s.Lists.Parked, s.Lists.Dead, s.Lists.Awaiting
	}
	fleet.Sort(shown)
	o.Count, o.Headline = len(shown), fleet.Headline(shown)
	shown = shown[min(offset, len(shown)):]
	for _, n := range shown[:min(limit, len(shown))] {
		o.Numbers = append(o.Numbers, c.shown(n, s.At, key))
	}
	return o, nil
}

// shown returns a number, read at a time, as a key may see it, with its history.
func (c *Console) shown(n fleet.Number, at time.Time, key httpapi.Key) overviewNumber {
	one := overviewNumber{Number: c.seen(n, key)}
	for _, p := range c.o.Fleet.History(n.ID, at.Add(-overviewHistory)) {
		one.Attempts = append(one.Attempts, p.Attempts)
	}
	return one
}

// seen returns a number as a key may see it: only a key for all numbers sees how many messages a hold on all numbers keeps, and the key of
// a client sees no campaigns of others.
func (c *Console) seen(n fleet.Number, key httpapi.Key) fleet.Number {
	if !key.CoversAll() {
		n.Holds = slices.DeleteFunc(slices.Clone(n.Holds), func(h fleet.NumberHold) bool {
			return !seesHold(message.Flow{Client: h.Client, Campaign: h.Campaign}, key)
		})
		for i := range n.Holds {
			if n.Holds[i].Number == "" {
				n.Holds[i].Messages = nil
			}
		}
	}
	return n
}

// countOf reads a whole number from the query.
func countOf(r *http.Request, name string, usual, least, most int) (int, httpapi.Refusal) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, httpapi.RefuseAt(name, "query_invalid")
	}
	return n, nil
}

// numberRoutes are the routes about numbers.
func (c *Console) numberRoutes() []httpapi.Route {
	path := httpapi.Param{In: "path", Name: "phone_number_id", Doc: "The phone number id.", Example: "106540352242922"}
	return []httpapi.Route{
		{
			Method: http.MethodGet, Path: "/v1/overview", Name: "readOverview", Group: "Numbers", Scope: httpapi.ScopeConsole,
			Summary: "Read how all numbers are doing, and which need a person.",
			Doc:     "The numbers are those in the configuration of the producer. Their history is in the memory of the producer that answers: it begins with its start.",
			Params: []httpapi.Param{
				{In: "query", Name: "phone_number_id_contains", Doc: "Only numbers whose phone number id has these digits.", Example: "2922"},
				{In: "query", Name: "limit", Doc: "Maximum number of numbers in the answer, 1 to 10000. Default: 100.", Example: "50", Type: 0},
				{In: "query", Name: "offset", Doc: "How many numbers to leave out at the start. Default: 0.", Example: "50", Type: 0},
			},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The numbers.", Type: overview{}}}, Codes: []string{"store_unavailable"}, Handler: c.handle(c.overview),
		},
		{
			Method: http.MethodGet, Path: "/v1/numbers/{phone_number_id}", Name: "readNumber", Group: "Numbers", Scope: httpapi.ScopeConsole,
			Summary: "Read how one number is doing, with its history of up to an hour.",
			Params:  []httpapi.Param{path},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The number.", Type: numberDetail{}}}, Codes: []string{"phone_number_id_not_found", "store_unavailable"}, Handler: c.handle(c.number),
		},
		{
			Method: http.MethodPut, Path: "/v1/numbers/{phone_number_id}/rate", Name: "setRate", Group: "Numbers", Scope: httpapi.ScopeAdmin,
			Summary: "Set the rate limit of a number in place of the configured one, or return to the configured one.",
			Doc:     "It applies from the next slots on, and ends the slowdown after refusals of Meta. Meta's own limit stays: above it Meta refuses messages, and Sluice slows down again.",
			Params:  []httpapi.Param{path},
			Body:    &httpapi.Body{Type: rateRequest{}, Example: `{"rate":500,"from":10,"over":"24h","actor":"anna","reason":"new number"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The number with its new rate.", Type: numberDetail{}}},
			Codes:   orderCodes("phone_number_id_not_found", "rate_invalid", "rate_unclear", "duration_invalid"), Handler: c.handle(c.setRate),
		},
	}
}
