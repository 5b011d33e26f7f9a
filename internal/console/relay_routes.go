package console

import (
	"context"
	"net/http"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const aboutRelay = "A relay target is a URL to which Sluice forwards events by POST, in the form of Meta's webhooks or in its own schema. See docs/relay.md. The API key must be for all numbers."

var paramTarget = httpapi.Param{In: "path", Name: "name", Doc: "The name of the target, 1 to 32 of a-z, 0-9 and `-`.", Example: "crm"}

// relayRoutes are the routes of the relay targets.
func (c *Console) relayRoutes() []httpapi.Route {
	const path = "/v1/relay/targets/{name}"
	const signed = `"actor":"anna","reason":"the handler is being replaced"}`
	order := func(verb, path, name, summary string, f func(ctx context.Context, name string, o order) (bool, error)) httpapi.Route {
		return httpapi.Route{
			Method: http.MethodPost, Path: path, Name: name, Group: "Relay targets", Scope: httpapi.ScopeAdmin, Summary: summary,
			Params: []httpapi.Param{paramTarget}, Body: &httpapi.Body{Type: orderOnly{}, Example: "{" + signed},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The order is stored.", Type: relayDone{}}},
			Codes:   orderCodes("all_numbers_required", "relay_target_not_found"), Handler: c.relayOrder(verb, f),
		}
	}
	return []httpapi.Route{
		{
			Method: http.MethodGet, Path: "/v1/relay/targets", Name: "listRelayTargets", Group: "Relay targets", Scope: httpapi.ScopeConsole,
			Summary: "List the relay targets and how they are doing.", Doc: aboutRelay,
			Answers: []httpapi.Answer{{Status: 200, Doc: "The list.", Type: relayTargetList{}}}, Codes: []string{"store_unavailable", "all_numbers_required"}, Handler: c.handle(c.listRelayTargets),
		},
		{
			Method: http.MethodPut, Path: path, Name: "setRelayTarget", Group: "Relay targets", Scope: httpapi.ScopeAdmin,
			Summary: "Add a relay target, or change it.",
			Doc:     "The request is the whole definition: a member that is left out gets its default, except secret. A new target gets the events from now on. To relay earlier ones, replay them. The body, with the secret, goes into no log.",
			Params:  []httpapi.Param{paramTarget},
			Body:    &httpapi.Body{Type: relayRequest{}, Example: `{"url":"https://crm.example.com/webhooks/whatsapp","secret":"a-long-random-text","phone_number_ids":["106540352242922"],"actor":"anna","reason":"the CRM needs statuses"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The target is stored. Workers follow it within seconds.", Type: relaySetResult{}}},
			Codes: orderCodes("all_numbers_required", "relay_name_invalid", "relay_url_invalid", "relay_format_unknown", "relay_limit_invalid", "relay_secret_invalid", "relay_type_unknown",
				"phone_number_id_invalid", "tag_invalid", "duration_invalid", "secrets_key_missing"),
			Handler: c.handle(c.setRelayTarget),
		},
		order(message.VerbRelayRemove, path+"/remove", "removeRelayTarget", "Remove a relay target with its position and its dead letters.", func(ctx context.Context, name string, _ orderOf) (bool, error) {
			return c.o.Relay.Remove(ctx, name)
		}),
		order(message.VerbHold, path+"/hold", "holdRelayTarget", "Hold a relay target: it gets nothing until it is released, or until its events are dropped from the stream.", func(ctx context.Context, name string, o orderOf) (bool, error) {
			return c.o.Relay.Hold(ctx, name, o.Actor, o.Reason)
		}),
		order(message.VerbRelease, path+"/release", "releaseRelayTarget", "Release a relay target: it gets the events that waited, in order.", func(ctx context.Context, name string, _ orderOf) (bool, error) {
			return c.o.Relay.Release(ctx, name)
		}),
		{
			Method: http.MethodPost, Path: path + "/replay", Name: "replayRelayTarget", Group: "Relay targets", Scope: httpapi.ScopeAdmin,
			Summary: "Relay events again: all from a time on, or the dead letters.", Params: []httpapi.Param{paramTarget},
			Body:    &httpapi.Body{Type: relayReplay{}, Example: `{"since":"2026-01-31T08:00:00Z",` + signed},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The order is stored.", Type: relayDone{}}},
			Codes:   orderCodes("all_numbers_required", "relay_target_not_found", "relay_replay_unclear"), Handler: c.handle(c.replayRelayTarget),
		},
		order(message.VerbRelayDrop, path+"/drop", "dropRelayDeadLetters", "Drop the dead letters of a relay target. They cannot be relayed again.", func(ctx context.Context, name string, _ orderOf) (bool, error) {
			return c.o.Relay.DropDead(ctx, name)
		}),
		{
			Method: http.MethodGet, Path: path + "/dead-letters", Name: "listRelayDeadLetters", Group: "Relay targets", Scope: httpapi.ScopeConsole,
			Summary: "List events that were given up for a target.", Params: []httpapi.Param{paramTarget, paramLimit},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The list. It is empty if there is no such target.", Type: relayDeadLetters{}}}, Codes: []string{"store_unavailable", "all_numbers_required"}, Handler: c.handle(c.listRelayDeadLetters),
		},
	}
}

// orderOnly is the body of an order that needs nothing else.
type orderOnly struct{ order }

// orderOf is order, where a function has that name.
type orderOf = order
