package schedules

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const (
	// storeTimeout is the time limit of Redis for one request.
	storeTimeout = 5 * time.Second
	// shownTicks is how many next ticks an answer has.
	shownTicks = 5
)

// goodName is the form of the name of a schedule, which is part of a URL and of idempotency keys.
var goodName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// fixed are the members of a request to send that a schedule sets itself, or that would make sense once only.
var fixed = []string{"key", "send_at", "expires_at", "after"}

// scheduleOrder is the body of PUT /v1/schedules/{name}.
type scheduleOrder struct {
	Timing
	Paused  bool            `json:"paused,omitempty" doc:"true: it sends nothing. What is due in this time is not sent later."`
	Request json.RawMessage `json:"request" doc:"The message: the body of POST /v1/messages (MessageRequest), without key, send_at, expires_at and after."`
}

// schedule is a schedule as the API shows it.
type schedule struct {
	Name string `json:"name" doc:"Its name."`
	Timing
	Paused   bool              `json:"paused" doc:"true: it sends nothing."`
	Request  json.RawMessage   `json:"request,omitempty" doc:"The message: the body of POST /v1/messages. Absent in a list."`
	Number   string            `json:"phone_number_id" doc:"The number that sends."`
	To       string            `json:"to" doc:"The masked recipient."`
	Key      string            `json:"api_key" doc:"The name of the API key that stored the schedule. Messages are accepted with its rights."`
	Changed  time.Time         `json:"changed_at" doc:"When it was stored."`
	Next     []time.Time       `json:"next" doc:"The next ticks, up to 5. Empty: it is paused, or its last day is over."`
	Last     *scheduleTick     `json:"last,omitempty" doc:"The last tick. Absent: there was none."`
	Skipped  int               `json:"skipped" doc:"How many ticks were skipped, because they were an hour old before a message could be accepted."`
	Warnings []message.Problem `json:"warnings,omitempty" doc:"Possible mistakes in the message, in the answer to PUT."`
}

// scheduleList is the answer of GET /v1/schedules.
type scheduleList struct {
	Schedules []schedule `json:"schedules" doc:"The schedules, by name."`
}

const about = "A schedule sends its message at the times `at`, every day, on some `days` of the week or on some `dates` of the month, by the clock of `time_zone`. A time that the clock jumps over is sent at the moment of the jump; " +
	"a time that comes twice is sent the first time. Each tick is accepted like a request to `POST /v1/messages` of the API key that stored the schedule, with the idempotency key `schedule:<client>/<name>:<tick>`: it is one message, however many producers run or restart. " +
	"A tick that cannot be accepted for a temporary cause is tried again after 1 s, then after pauses that double up to a minute. When it is an hour old it is skipped and counted. See [schedules](schedules.md)."

// Routes returns the routes of the schedules.
func (s *Schedules) Routes() []httpapi.Route {
	name := []httpapi.Param{{In: "path", Name: "name", Doc: "The name of the schedule: 1 to 64 of a-z, 0-9, `.`, `_` and `-`, beginning with a letter or a digit. Each client has names of its own.", Example: "weekly-report"}}
	one := []string{"schedule_name_invalid", "schedule_not_found", "schedules_need_key", "store_unavailable"}
	const group = "Schedules"
	return []httpapi.Route{
		{
			Method: http.MethodGet, Path: "/v1/schedules", Name: "listSchedules", Group: group, Scope: httpapi.ScopeRead,
			Summary: "List the schedules: messages that are sent again and again.",
			Doc:     "The schedules of the client of the API key, or of none, with numbers that the API key may use.",
			Answers: []httpapi.Answer{{Status: 200, Doc: "The schedules, without their messages.", Type: scheduleList{}}},
			Codes:   []string{"schedules_need_key", "store_unavailable"},
			Handler: s.list,
		},
		{
			Method: http.MethodGet, Path: "/v1/schedules/{name}", Name: "getSchedule", Group: group, Scope: httpapi.ScopeRead,
			Summary: "Show a schedule: its message, its next ticks, and what became of the last one.",
			Params:  name,
			Answers: []httpapi.Answer{{Status: 200, Doc: "The schedule.", Type: schedule{}}},
			Codes:   one,
			Handler: s.show,
		},
		{
			Method: http.MethodPut, Path: "/v1/schedules/{name}", Name: "setSchedule", Group: group, Scope: httpapi.ScopeSend,
			Summary: "Store a schedule, in place of the one with the name.",
			Doc:     about,
			Params:  name,
			Body: &httpapi.Body{Type: scheduleOrder{}, Example: `{"at":["09:00"],"days":["mon"],"time_zone":"Europe/Berlin","request":{"from":"106540352242922","message":` +
				`{"to":"+15551234567","type":"template","template":{"name":"weekly_report","language":{"code":"en"}}}}}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The schedule is stored.", Type: schedule{}}},
			Codes: slices.Concat(httpapi.BodyCodes(), []string{
				"schedule_time_invalid", "schedule_day_invalid", "time_zone_unknown", "schedule_over", "schedule_member_not_allowed", "schedule_name_taken", "schedules_too_many", "phone_number_id_not_found",
				"from_missing", "from_invalid", "message_missing", "class_unknown", "ref_invalid", "tags_too_many", "tag_invalid", "recipient_is_sender", "message_of_other_number", "fallback_not_allowed", "campaign_cancelled",
			}, one[:1], one[2:]),
			Handler: s.put,
		},
		{
			Method: http.MethodDelete, Path: "/v1/schedules/{name}", Name: "deleteSchedule", Group: group, Scope: httpapi.ScopeSend,
			Summary: "Delete a schedule. Messages that were accepted stay.",
			Params:  name,
			Answers: []httpapi.Answer{{Status: 200, Doc: "The schedule is deleted: as it was.", Type: schedule{}}},
			Codes:   one,
			Handler: s.remove,
		},
	}
}

// shownAs returns a schedule as the API shows it, at a time.
func shownAs(id string, e entry, now time.Time) schedule {
	_, name, _ := strings.Cut(id, "/")
	d := schedule{
		Name: name, Timing: e.Timing, Paused: e.Paused, Request: e.Request, Number: e.Number, To: e.To, Key: e.Key, Changed: e.Changed.UTC(), Next: []time.Time{}, Last: e.Last, Skipped: e.Skipped,
	}
	r, unusable := e.rule()
	for next := e.Next; !next.IsZero() && unusable == nil && len(d.Next) < shownTicks; next = r.next(next) {
		if now.Sub(next) < latest {
			d.Next = append(d.Next, next.UTC())
		}
	}
	return d
}

// allowed refuses a request without the right to it, or without a key to read schedules.
func (s *Schedules) allowed(r *http.Request, scope string) (httpapi.Key, httpapi.Refusal) {
	key, refused := s.o.Keys.Authorize(r, scope)
	if refused == nil && !s.o.Box.HasKey() {
		refused = httpapi.Refuse("schedules_need_key")
	}
	return key, refused
}

// named checks a request about the schedule in its path.
func (s *Schedules) named(r *http.Request, scope string) (key httpapi.Key, id string, refused httpapi.Refusal) {
	key, refused = s.allowed(r, scope)
	if name := r.PathValue("name"); refused == nil && !goodName.MatchString(name) {
		refused = httpapi.RefuseAt("name", "schedule_name_invalid")
	} else {
		id = key.Client + "/" + name
	}
	return key, id, refused
}

// failed logs a failure of Redis and returns its refusal.
func (s *Schedules) failed(err error) httpapi.Refusal {
	s.o.Log.Error("cannot read or store schedules", "err", err)
	return httpapi.Refuse("store_unavailable")
}

// answer writes the refusal, or else the document.
func answer(w http.ResponseWriter, refused httpapi.Refusal, document any) {
	if refused != nil {
		refused.Write(w)
		return
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, document)
}

// list serves GET /v1/schedules.
func (s *Schedules) list(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	key, refused := s.allowed(r, httpapi.ScopeRead)
	shown := scheduleList{Schedules: []schedule{}}
	if refused == nil {
		now, found := s.now(ctx), map[string]schedule{}
		err := s.all.each(ctx, key.Client, func(id, text string) error {
			e, err := s.all.open(id, text)
			switch {
			case err != nil:
				log := s.logOf(id)
				log.Error("cannot read a schedule, it sends nothing", "err", err)
			case key.Covers(e.Number):
				one := shownAs(id, e, now)
				one.Request = nil
				found[id] = one
			}
			return nil
		})
		if err != nil {
			refused = s.failed(err)
		}
		for _, id := range slices.Sorted(maps.Keys(found)) {
			shown.Schedules = append(shown.Schedules, found[id])
		}
	}
	answer(w, refused, shown)
}

// show serves GET /v1/schedules/{name}.
func (s *Schedules) show(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	key, id, refused := s.named(r, httpapi.ScopeRead)
	var shown schedule
	if refused == nil {
		all, errs, err := s.all.get(ctx, []string{id})
		switch err = cmp.Or(err, errors.Join(errs...)); {
		case err != nil:
			refused = s.failed(err)
		case all[0].text == "" || !key.Covers(all[0].Number):
			refused = httpapi.RefuseAt("name", "schedule_not_found")
		default:
			shown = shownAs(id, all[0], s.now(ctx))
		}
	}
	answer(w, refused, shown)
}

// remove serves DELETE /v1/schedules/{name}.
func (s *Schedules) remove(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	key, id, refused := s.named(r, httpapi.ScopeSend)
	var shown schedule
	if refused == nil {
		now := s.now(ctx)
		refused = s.change(ctx, id, func(e *entry) httpapi.Refusal {
			if e.text == "" || e.Key != "" && !key.Covers(e.Number) {
				return httpapi.RefuseAt("name", "schedule_not_found")
			}
			shown = shownAs(id, *e, now)
			*e = entry{text: e.text}
			return nil
		})
	}
	answer(w, refused, shown)
}

// put serves PUT /v1/schedules/{name}.
func (s *Schedules) put(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	key, id, refused := s.named(r, httpapi.ScopeSend)
	var order scheduleOrder
	if refused == nil {
		refused = httpapi.ReadJSON(w, r, &order)
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	order.TimeZone = cmp.Or(order.TimeZone, "UTC")
	rule, refused := order.rule()
	number, to, warnings, wrong := s.message(key, order.Request)
	if refused = append(refused, wrong...); refused != nil {
		refused.Write(w)
		return
	}
	now, shown := s.now(ctx), schedule{}
	refused = s.change(ctx, id, func(e *entry) httpapi.Refusal {
		if e.Key != "" && !key.Covers(e.Number) {
			return httpapi.RefuseAt("name", "schedule_name_taken")
		}
		next := rule.next(now)
		switch {
		case next.IsZero():
			return httpapi.RefuseAt("last_day", "schedule_over")
		case order.Paused:
			next = time.Time{}
		case !e.Next.IsZero() && same(e.Timing, order.Timing): // what is due and not handled stays due
			next = e.Next
		}
		*e = entry{Timing: order.Timing, Paused: order.Paused, Request: order.Request, Number: number, To: message.Mask(to), Key: key.Name, Changed: now, Next: next, Last: e.Last, Skipped: e.Skipped, text: e.text}
		shown = shownAs(id, *e, now)
		return nil
	})
	shown.Warnings = warnings
	answer(w, refused, shown)
}

// same reports whether two timings are the same.
func same(a, b Timing) bool {
	one, _ := json.Marshal(a) // cannot fail for strings and numbers
	other, _ := json.Marshal(b)
	return bytes.Equal(one, other)
}

// change stores a schedule durably, after change has made it of the one that is there; without a key it is removed.
func (s *Schedules) change(ctx context.Context, id string, change func(*entry) httpapi.Refusal) (refused httpapi.Refusal) {
	err := s.all.put(ctx, id, func(e *entry) bool {
		refused = change(e)
		return refused == nil
	})
	switch {
	case errors.Is(err, errTooMany):
		return httpapi.RefuseAt("name", "schedules_too_many")
	case err != nil:
		return s.failed(err)
	}
	s.forget(id)
	return refused
}

// message checks the message of a schedule, and returns the number that sends it and the recipient.
func (s *Schedules) message(key httpapi.Key, request json.RawMessage) (number, recipient string, warnings []message.Problem, refused httpapi.Refusal) {
	if len(request) == 0 {
		request = []byte("{}")
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(request, &members) != nil {
		return "", "", nil, httpapi.RefuseAt("request", "type_mismatch")
	}
	for _, name := range fixed {
		if members[name] != nil && string(members[name]) != "null" {
			refused = append(refused, httpapi.Problem("request."+name, "schedule_member_not_allowed"))
		}
	}
	number, recipient, warnings, wrong := s.o.Check(key, request)
	for _, p := range wrong {
		p.Path = strings.TrimSuffix("request."+p.Path, ".")
		refused = append(refused, p)
	}
	for i := range warnings {
		warnings[i].Path = "request." + warnings[i].Path
	}
	return number, recipient, warnings, refused
}
