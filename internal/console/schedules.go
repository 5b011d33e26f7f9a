package console

import (
	"context"
	"net/http"
	"slices"

	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/schedules"
)

// scheduled has the schedules.
type scheduled interface {
	// List returns the schedules of a client, or all if it is empty.
	List(ctx context.Context, client string) ([]schedules.Listed, error)
	// Find returns a schedule of a client, or of none if it is empty.
	Find(ctx context.Context, client, name string) (schedules.Listed, httpapi.Refusal)
	Remove(ctx context.Context, client, name string) httpapi.Refusal
	// OfPerson returns the schedules whose recipient is a person, with their messages, and removes them if forget is true.
	OfPerson(ctx context.Context, is func(recipient string) bool, forget bool) ([]schedules.Listed, error)
}

// schedulesAnswer is the answer of GET /v1/schedules.
type schedulesAnswer struct {
	Schedules []schedules.Listed `json:"schedules" doc:"The schedules, by client and name."`
}

// scheduleOrder is the body of POST /v1/schedules/{name}/remove.
type scheduleOrder struct {
	Client string `json:"client,omitempty" doc:"The client of the schedule. Default: the client of the API key; without one, the schedule of no client."`
	order
}

// scheduleRemoved is the answer of POST /v1/schedules/{name}/remove.
type scheduleRemoved struct {
	Removed schedules.Listed `json:"removed" doc:"The schedule as it was."`
}

func (c *Console) listSchedules(ctx context.Context, _ http.ResponseWriter, _ *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	all, err := c.o.Schedules.List(ctx, key.Client)
	if err != nil {
		return nil, c.unavailable("list schedules", err)
	}
	return schedulesAnswer{slices.DeleteFunc(all, func(l schedules.Listed) bool { return !key.Covers(l.Sender()) })}, nil
}

func (c *Console) removeSchedule(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask scheduleOrder
	refused := httpapi.ReadJSON(w, r, &ask)
	if refused == nil {
		refused = ask.signed()
	}
	client, name := key.Client, r.PathValue("name")
	if client == "" {
		client = ask.Client
	}
	var was schedules.Listed
	if refused == nil && ask.Client != "" && ask.Client != client {
		refused = httpapi.RefuseAt("name", "schedule_not_found")
	}
	if refused == nil {
		was, refused = c.o.Schedules.Find(ctx, client, name)
	}
	if refused == nil && !key.Covers(was.Sender()) {
		refused = httpapi.RefuseAt("name", "schedule_not_found")
	}
	if refused != nil {
		return nil, refused
	}
	on := "schedule " + name
	if client != "" {
		on += " of client " + client
	}
	if err := c.o.Audit.Add(ctx, ask.entry(message.VerbScheduleRemove, on, key)); err != nil { // first: without it nothing changes
		return nil, c.unavailable("remove schedule", err)
	}
	if refused := c.o.Schedules.Remove(ctx, client, name); refused != nil {
		return nil, refused
	}
	c.orders.WithLabelValues(message.VerbScheduleRemove).Inc()
	return scheduleRemoved{was}, nil
}

func (c *Console) scheduleRoutes() []httpapi.Route {
	return []httpapi.Route{
		{
			Method: http.MethodGet, Path: "/v1/schedules", Name: "listSchedules", Group: "Schedules", Scope: httpapi.ScopeConsole,
			Summary: "List the schedules of all clients, or of the client of the API key: messages that are sent again and again.",
			Doc:     "Schedules of numbers that the API key does not cover are left out. The API of callers has the message of a schedule, and stores schedules.",
			Answers: []httpapi.Answer{{Status: 200, Doc: "The schedules, without their messages.", Type: schedulesAnswer{}}},
			Codes:   []string{"store_unavailable"}, Handler: c.handle(c.listSchedules),
		},
		{
			Method: http.MethodPost, Path: "/v1/schedules/{name}/remove", Name: "removeSchedule", Group: "Schedules", Scope: httpapi.ScopeAdmin,
			Summary: "Remove a schedule. Messages that were accepted stay.",
			Params:  []httpapi.Param{{In: "path", Name: "name", Doc: "The name of the schedule.", Example: "weekly-report"}},
			Body:    &httpapi.Body{Type: scheduleOrder{}, Example: `{"client":"acme","actor":"anna","reason":"the report has ended"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The schedule is removed.", Type: scheduleRemoved{}}},
			Codes:   orderCodes("schedule_not_found"), Handler: c.handle(c.removeSchedule),
		},
	}
}
