package intake

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// usageMost is how many days one answer has at most.
const usageMost = 93

// usageList is the answer of GET /v1/usage.
type usageList struct {
	Usage []message.Usage `json:"usage" doc:"By day, client, number and category. What is 0 is left out."`
}

func (in *Intake) usageRoute() httpapi.Route {
	return httpapi.Route{
		Method: http.MethodGet, Path: "/v1/usage", Name: "getUsage", Group: "Usage",
		Summary: "Count the messages of clients that Meta took, and those that it charges for.",
		Doc: "A key of a client sees the usage of its client. Another key sees that of all clients, on the numbers that it may use. Messages without a client are not counted. " +
			"The counters are kept for 400 days; one answer has up to 93 days.",
		Scope: httpapi.ScopeRead, Console: true,
		Params: []httpapi.Param{
			{In: "query", Name: "client", Doc: "Only of this client.", Example: "acme"},
			{In: "query", Name: "from", Doc: "The first day, by UTC. Default: the first day of this month.", Example: "2026-01-01"},
			{In: "query", Name: "to", Doc: "The last day, by UTC. Default: today.", Example: "2026-01-31"},
		},
		Answers: []httpapi.Answer{{Status: 200, Doc: "The usage.", Type: usageList{}}},
		Codes:   []string{"client_not_found", "day_invalid", "store_unavailable"},
		Handler: in.getUsage,
	}
}

// clientOf returns the client that a request asks for: the one of its API key, or the one that it names; empty: all.
func clientOf(q url.Values, key httpapi.Key) (string, httpapi.Refusal) {
	client := q.Get("client")
	switch {
	case key.Client != "" && client == "":
		return key.Client, nil
	case key.Client != "" && client != key.Client:
		return "", httpapi.RefuseAt("client", "client_not_found")
	}
	return client, nil
}

// getUsage serves GET /v1/usage.
func (in *Intake) getUsage(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead, httpapi.ScopeConsole)
	if refused != nil {
		refused.Write(w)
		return
	}
	client, refused := clientOf(r.URL.Query(), key)
	today := in.now().UTC().Truncate(24 * time.Hour)
	from, to := today.AddDate(0, 0, 1-today.Day()), today
	for name, at := range map[string]*time.Time{"from": &from, "to": &to} {
		if text := r.URL.Query().Get(name); text != "" {
			var err error
			if *at, err = time.Parse(time.DateOnly, text); err != nil {
				refused = append(refused, httpapi.Problem(name, "day_invalid"))
			}
		}
	}
	if refused == nil && (to.Before(from) || to.Sub(from) >= usageMost*24*time.Hour) {
		refused = httpapi.RefuseAt("from", "day_invalid")
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	all, err := in.o.Usage(ctx, client, from, to)
	if err != nil {
		in.o.Log.Error("cannot read the usage of clients", "err", err)
		refuse("store_unavailable").Write(w)
		return
	}
	if len(all) == 0 && client != "" && key.Client == "" && !slices.Contains(in.o.Clients(), client) { // a client that was removed has its usage still
		httpapi.RefuseAt("client", "client_not_found").Write(w)
		return
	}
	all = slices.DeleteFunc(all, func(u message.Usage) bool { return key.Client == "" && !key.Covers(u.Number) })
	httpapi.WriteJSON(w, "application/json", http.StatusOK, usageList{append([]message.Usage{}, all...)})
}

// quotaList is the answer of GET /v1/quotas.
type quotaList struct {
	Quotas  []message.QuotaUse  `json:"quotas" doc:"By client and quota. Clients without quotas are left out."`
	Budgets []message.BudgetUse `json:"budgets" doc:"By client and budget. Clients without budgets are left out."`
}

func (in *Intake) quotasRoute() httpapi.Route {
	return httpapi.Route{
		Method: http.MethodGet, Path: "/v1/quotas", Name: "getQuotas", Group: "Usage",
		Summary: "Read what is used of the quotas and budgets of clients, and how many messages the quotas refused.",
		Doc:     "A key of a client sees those of its client. Another key must be for all numbers, and sees those of all clients.",
		Scope:   httpapi.ScopeRead, Console: true,
		Params:  []httpapi.Param{{In: "query", Name: "client", Doc: "Only of this client.", Example: "acme"}},
		Answers: []httpapi.Answer{{Status: 200, Doc: "The quotas and budgets.", Type: quotaList{}}},
		Codes:   []string{"client_not_found", "all_numbers_required", "store_unavailable"},
		Handler: in.getQuotas,
	}
}

// getQuotas serves GET /v1/quotas.
func (in *Intake) getQuotas(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead, httpapi.ScopeConsole)
	if refused != nil {
		refused.Write(w)
		return
	}
	client, refused := clientOf(r.URL.Query(), key)
	clients := in.o.Clients()
	switch {
	case refused != nil:
	case key.Client == "" && !key.CoversAll(): // a quota counts the messages of all numbers
		refused = httpapi.Refuse("all_numbers_required")
	case client != "" && !slices.Contains(clients, client):
		refused = httpapi.RefuseAt("client", "client_not_found")
	case client != "":
		clients = []string{client}
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	all, err := quotaList{[]message.QuotaUse{}, []message.BudgetUse{}}, error(nil)
	if in.o.Quotas != nil {
		var used []message.QuotaUse
		used, err = in.o.Quotas.Used(ctx, clients)
		all.Quotas = append(all.Quotas, used...)
	}
	if in.o.Budgets != nil && err == nil {
		var used []message.BudgetUse
		used, err = in.o.Budgets(ctx, clients)
		all.Budgets = append(all.Budgets, used...)
	}
	if err != nil {
		in.o.Log.Error("cannot read the quotas of clients", "err", err)
		refuse("store_unavailable").Write(w)
		return
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, all)
}
