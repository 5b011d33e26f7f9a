package console

import (
	"context"
	"net/http"
	"slices"
	"time"

	"sluice/internal/directory"
	"sluice/internal/fleet"
	"sluice/internal/httpapi"
)

// clientDetail is the answer of GET /v1/clients/{name}.
type clientDetail struct {
	Client  directory.Client `json:"client" doc:"The entry of the client. A key of the client does not see the note."`
	Numbers []clientNumber   `json:"numbers" doc:"The numbers that the client may send from, by phone number id."`
	Keys    []clientKey      `json:"api_keys" doc:"The API keys of the client, by name."`
	OptOuts int              `json:"suppressed_recipients" doc:"Number of people in the suppression list of the client."`
	Targets []relayTarget    `json:"relay_targets" doc:"The relay targets that get only events of the client."`
}

// clientNumber is a number from which a client may send.
type clientNumber struct {
	ID      string          `json:"phone_number_id" doc:"Meta's id of the phone number."`
	Leaving string          `json:"leaving,omitempty" doc:"drain or cancel: the number is being removed and accepts no new messages."`
	Shared  bool            `json:"shared,omitempty" doc:"true: other clients may send from it too."`
	Share   float64         `json:"share" doc:"The part of the slots that the client gets by its weight while every client of the number has messages waiting, 0 to 1. 1 if the number is not shared."`
	Waiting int             `json:"waiting" doc:"Messages of the client that wait for a send slot. If the number is not shared, also those that wait for the end of a hold. Of a shared number the 100 clients and campaigns of each class that have sent the least count."`
	Held    bool            `json:"held" doc:"Whether all messages of the number are held."`
	Number  *overviewNumber `json:"number,omitempty" doc:"How the number is doing, with the messages of all its clients. Absent: the API key does not cover the number. A key of a client covers no shared number here."`
}

// clientKey is an API key of a client, without anything of its secret.
type clientKey struct {
	Name            string    `json:"name" doc:"The name of the API key."`
	Numbers         []string  `json:"phone_number_ids" doc:"Phone number ids that the key may use; *: all of the client."`
	Scopes          []string  `json:"scopes" doc:"What the key may do."`
	Revoked         bool      `json:"revoked,omitempty" doc:"Requests with the key are refused."`
	Expires         time.Time `json:"expires,omitzero" doc:"From this time on requests with the key are refused."`
	PreviousExpires time.Time `json:"previous_expires,omitzero" doc:"From this time on the previous key is refused."`
	LastUsed        time.Time `json:"last_used,omitzero" doc:"When a request with it, or with its previous key, was last allowed, to within a minute. Absent: not since this version of Sluice runs."`
}

// client serves GET /v1/clients/{name}.
func (c *Console) client(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	name := r.PathValue("name")
	switch {
	case key.Client == "" && !key.CoversAll():
		return nil, httpapi.Refuse("all_numbers_required")
	case key.Client != "" && key.Client != name:
		return nil, httpapi.Refuse("entry_not_found")
	}
	all, err := c.o.Directory.List(ctx)
	if err != nil {
		return nil, c.unavailable("list directory", err)
	}
	d := clientDetail{Numbers: []clientNumber{}, Keys: []clientKey{}, Targets: []relayTarget{}}
	var known bool
	if d.Client, known = find(all.Clients, name); !known {
		return nil, httpapi.Refuse("entry_not_found")
	}
	if key.Client != "" {
		d.Client.Note = ""
	}
	state, err := c.o.Fleet.Read(ctx)
	if err != nil {
		return nil, c.unavailable("read overview", err)
	}
	targets, err := c.o.Relay.List(ctx)
	if err != nil {
		return nil, c.unavailable("list relay targets", err)
	}
	if c.o.Suppressions != nil {
		if d.OptOuts, err = c.o.Suppressions.CountOf(ctx, name); err != nil {
			return nil, c.unavailable("count suppressed recipients", err)
		}
	}
	for _, n := range all.Numbers {
		if n.Client == name || slices.Contains(n.SharedWith, name) {
			d.Numbers = append(d.Numbers, c.clientNumber(n, name, all.Clients, state, key))
		}
	}
	for _, k := range all.APIKeys {
		if k.Client == name {
			d.Keys = append(d.Keys, clientKey{k.Name, k.Numbers, k.Scopes, k.Revoked, k.Expires, k.PreviousExpires, k.LastUsed})
		}
	}
	for _, t := range targets {
		if t.Client == name {
			d.Targets = append(d.Targets, showRelayTarget(t))
		}
	}
	return d, nil
}

// clientNumber returns a number as a key may see it, with what a client has of it.
func (c *Console) clientNumber(n directory.Number, name string, clients []directory.Client, now fleet.State, key httpapi.Key) clientNumber {
	one := clientNumber{ID: n.PhoneNumberID, Leaving: n.Leaving, Shared: len(n.SharedWith) > 0}
	weight := func(name string) float64 {
		client, _ := find(clients, name)
		return float64(max(client.Weight, 1))
	}
	sum := weight(n.Client) // also if it belongs to no client: messages without a client share it
	for _, other := range n.SharedWith {
		sum += weight(other)
	}
	one.Share = weight(name) / sum
	i := slices.IndexFunc(now.Numbers, func(s fleet.Number) bool { return s.ID == n.PhoneNumberID })
	if i < 0 { // this producer has not read the entry yet
		return one
	}
	state := now.Numbers[i]
	one.Held = state.HeldAll
	if one.Waiting = state.Waiting; one.Shared {
		one.Waiting = state.Clients[name]
	}
	if key.Covers(n.PhoneNumberID) {
		one.Number = new(c.shown(state, now.At, key))
	}
	return one
}

// clientRoute is the route of one client.
func (c *Console) clientRoute() httpapi.Route {
	return httpapi.Route{
		Method: http.MethodGet, Path: "/v1/clients/{name}", Name: "readClient", Group: "Clients", Scope: httpapi.ScopeConsole,
		Summary: "Read one client: its numbers with what waits, its share of each, its API keys and its relay targets.",
		Doc:     "A key of a client sees its own client. Another key must be for all numbers. GET /v1/quotas and GET /v1/usage of the API for callers have the quotas and the usage of the client.",
		Params:  []httpapi.Param{{In: "path", Name: "name", Doc: "The name of the client.", Example: "acme"}},
		Answers: []httpapi.Answer{{Status: 200, Doc: "The client.", Type: clientDetail{}}},
		Codes:   []string{"all_numbers_required", "entry_not_found", "store_unavailable"}, Handler: c.handle(c.client),
	}
}
