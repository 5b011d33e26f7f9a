package intake

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const (
	suppressionsDefault = 100
	suppressionsMost    = 1000
	// maxReason is the maximum number of characters of the reason of an order.
	maxReason = 200
)

// suppression is an entry of a suppression list as the API shows it.
type suppression struct {
	Recipient string                    `json:"recipient" doc:"A phone number with its plus, or a business-scoped user id. It is masked, unless the request is for recipients=whole."`
	Client    string                    `json:"client,omitempty" doc:"The client whose list it is. Absent: the list of the numbers without a client."`
	Source    message.SuppressionSource `json:"source" doc:"How the person came into the list. keyword: by a stop word. user_preferences: by the setting in WhatsApp, which Meta reported. meta_error: Meta failed a message with the code 131050. api: by a request. import: by an import."`
	Reason    string                    `json:"reason,omitempty" doc:"The reason of the request that added the person."`
	By        string                    `json:"api_key,omitempty" doc:"The name of the API key that added the person."`
	Number    string                    `json:"phone_number_id,omitempty" doc:"The phone number id that the person wrote to, or that Meta's report was about."`
	At        time.Time                 `json:"at" doc:"When the person opted out."`
}

func showSuppression(s message.Suppression) suppression {
	return suppression{s.Recipient, s.Client, s.Source, s.Reason, s.By, s.Number, s.At.UTC()}
}

// suppressionRequest is the body of a request about a person.
type suppressionRequest struct {
	Recipient string `json:"recipient" doc:"A phone number with its country code, or a business-scoped user id. It is stored encrypted, and not logged."`
	Client    string `json:"client,omitempty" doc:"The client whose list it is. Default: the client of the API key."`
}

// suppressionOrder is the body of a request to add or remove a person.
type suppressionOrder struct {
	suppressionRequest
	Reason string `json:"reason,omitempty" doc:"Why, up to 200 characters without control characters. It is shown with each message that is refused. Write no phone number and no name into it."`
}

// suppressionChange is the answer to it.
type suppressionChange struct {
	Changed bool `json:"changed" doc:"false: the list had the person already, or did not have the person."`
}

type suppressionList struct {
	Suppressions []suppression `json:"suppressions" doc:"The entries, the latest first."`
	NextCursor   string        `json:"next_cursor,omitempty" doc:"Give it as cursor, to read the next page. Absent: there are no more."`
}

// suppressed returns the entries of the recipients of messages who opted out; nil: none is concerned. While Redis does not answer, the messages
// are checked before they are sent only.
func (in *Intake) suppressed(ctx context.Context, all ...*message.Message) []*message.Suppression {
	if in.o.Suppressions == nil {
		return nil
	}
	found, err := in.o.Suppressions.Check(ctx, all)
	if err != nil {
		return nil
	}
	return found
}

// refuseSuppressed refuses a message to a recipient who opted out.
func (in *Intake) refuseSuppressed(m *message.Message, by message.Suppression) refusal {
	in.o.Suppressed(m.Class)
	p := problem(recipientPath(m), "recipient_suppressed")
	p.Detail = fmt.Sprintf("The recipient opted out. %s, on %s.", by.Says(), by.At.UTC().Format(time.RFC3339))
	return refusal{p}
}

const aboutSuppressions = "People in the suppression list of a client get no marketing messages of it; see [opt-out](opt-out.md). The numbers without a client have one list together. " +
	"An API key of a client has the list of this client. Other lists need an API key for all numbers. The recipient is in the body, so that no URL and no log has it."

func (in *Intake) suppressionRoutes() []httpapi.Route {
	const who = `"recipient":"+49 170 1234567"`
	common := []string{"client_not_found", "all_numbers_required", "suppressions_need_key", "store_unavailable"}
	order := func(path, name, summary, doc string, f func(ctx context.Context, client string, all []message.SuppressionOrder) ([]message.SuppressionChange, error), changed bool) httpapi.Route {
		return httpapi.Route{
			Method: http.MethodPost, Path: path, Name: name, Group: "Suppressions", Summary: summary, Doc: doc, Scope: httpapi.ScopeSend,
			Body:    &httpapi.Body{Type: suppressionOrder{}, Example: "{" + who + `,"reason":"unsubscribed in the shop"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The list is changed.", Type: suppressionChange{}}},
			Codes:   slices.Concat(httpapi.BodyCodes(), []string{"person_invalid", "reason_missing"}, common),
			Handler: in.orderSuppression(f, changed),
		}
	}
	var add, remove func(ctx context.Context, client string, all []message.SuppressionOrder) ([]message.SuppressionChange, error)
	if in.o.Suppressions != nil {
		add, remove = in.o.Suppressions.Add, in.o.Suppressions.Remove
	}
	return []httpapi.Route{
		order("/v1/suppressions", "addSuppression", "Add a person to a suppression list.", aboutSuppressions, add, false),
		order("/v1/suppressions/remove", "removeSuppression", "Remove a person from a suppression list: the person wants marketing messages again.", "", remove, true),
		{
			Method: http.MethodPost, Path: "/v1/suppressions/show", Name: "showSuppression", Group: "Suppressions",
			Summary: "Show whether a person is in a suppression list, and why.", Scope: httpapi.ScopeRead, Console: true,
			Body:    &httpapi.Body{Type: suppressionRequest{}, Example: "{" + who + "}"},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The entry, with the masked recipient.", Type: suppression{}}},
			Codes:   slices.Concat(httpapi.BodyCodes(), []string{"person_invalid", "suppression_not_found"}, common),
			Handler: in.showSuppression,
		},
		{
			Method: http.MethodGet, Path: "/v1/suppressions", Name: "listSuppressions", Group: "Suppressions",
			Summary: "List the people in a suppression list.", Scope: httpapi.ScopeRead,
			Params: []httpapi.Param{
				{In: "query", Name: "client", Doc: "The list of this client. Default: the client of the API key.", Example: "acme"},
				{In: "query", Name: "recipients", Doc: "`whole`: the recipients are not masked.", Example: "whole"},
				{In: "query", Name: "limit", Doc: "Number of entries, 1 to 1000. Default: 100.", Example: "500", Type: 0},
				{In: "query", Name: "cursor", Doc: "next_cursor of the last page.", Example: "1764500000000.1"},
			},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The entries.", Type: suppressionList{}}},
			Codes:   append(common, "cursor_invalid"),
			Handler: in.listSuppressions,
		},
	}
}

// suppressionsOf returns the client whose list a request is about.
func (in *Intake) suppressionsOf(key httpapi.Key, client string) (string, httpapi.Refusal) {
	switch {
	case in.o.Suppressions == nil || !in.o.Suppressions.On():
		return "", httpapi.Refuse("suppressions_need_key")
	case key.Client != "" && (client == "" || client == key.Client):
		return key.Client, nil
	case key.Client != "" || client != "" && !slices.Contains(in.o.Clients(), client):
		return "", httpapi.RefuseAt("client", "client_not_found")
	case !key.CoversAll():
		return "", httpapi.Refuse("all_numbers_required")
	}
	return client, nil
}

// orderSuppression serves a request to change a list by f. changed is what the person was before, if the order changes something.
func (in *Intake) orderSuppression(f func(ctx context.Context, client string, all []message.SuppressionOrder) ([]message.SuppressionChange, error), changed bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask suppressionOrder
		key, refused := in.o.Keys.Authorize(r, httpapi.ScopeSend)
		if refused == nil {
			refused = httpapi.ReadJSON(w, r, &ask)
		}
		if refused == nil {
			ask.Client, refused = in.suppressionsOf(key, ask.Client)
		}
		recipient, ok := message.Recipient(ask.Recipient)
		if refused == nil && !ok {
			refused = append(refused, httpapi.Problem("recipient", "person_invalid"))
		}
		if ask.Reason != "" && !isLabel(ask.Reason, maxReason) {
			refused = append(refused, httpapi.Problem("reason", "reason_missing"))
		}
		if refused != nil {
			refused.Write(w)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
		defer cancel()
		done, err := f(ctx, ask.Client, []message.SuppressionOrder{{Recipient: recipient, Source: message.SuppressedByAPI, Reason: ask.Reason, By: key.Name}})
		if err != nil {
			in.o.Log.Error("cannot change a suppression list", "client", ask.Client, "err", err)
			refuse("store_unavailable").Write(w)
			return
		}
		httpapi.WriteJSON(w, "application/json", http.StatusOK, suppressionChange{done[0].Before == changed})
	}
}

// showSuppression serves POST /v1/suppressions/show.
func (in *Intake) showSuppression(w http.ResponseWriter, r *http.Request) {
	var ask suppressionRequest
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead, httpapi.ScopeConsole)
	if refused == nil {
		refused = httpapi.ReadJSON(w, r, &ask)
	}
	if refused == nil {
		ask.Client, refused = in.suppressionsOf(key, ask.Client)
	}
	recipient, ok := message.Recipient(ask.Recipient)
	if refused == nil && !ok {
		refused = httpapi.RefuseAt("recipient", "person_invalid")
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	found, err := in.o.Suppressions.Get(ctx, ask.Client, recipient)
	switch {
	case err != nil:
		in.o.Log.Error("cannot read a suppression list", "client", ask.Client, "err", err)
		refuse("store_unavailable").Write(w)
	case found == nil:
		refuseAt("recipient", "suppression_not_found").Write(w)
	default:
		httpapi.WriteJSON(w, "application/json", http.StatusOK, showSuppression(*found))
	}
}

// suppressionCursor is the form of a position in a list.
var suppressionCursor = regexp.MustCompile(`^[0-9]{1,15}\.[0-9]{1,9}$`)

// listSuppressions serves GET /v1/suppressions.
func (in *Intake) listSuppressions(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead)
	q := r.URL.Query()
	var client string
	if refused == nil {
		client, refused = in.suppressionsOf(key, q.Get("client"))
	}
	limit := suppressionsDefault
	if text := q.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > suppressionsMost {
			refused = append(refused, httpapi.Problem("limit", "query_invalid"))
		}
	}
	whole := q.Get("recipients") == "whole"
	if q.Has("recipients") && !whole {
		refused = append(refused, httpapi.Problem("recipients", "query_invalid"))
	}
	if cursor := q.Get("cursor"); cursor != "" && !suppressionCursor.MatchString(cursor) {
		refused = append(refused, httpapi.Problem("cursor", "cursor_invalid"))
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	all, next, err := in.o.Suppressions.Page(ctx, client, q.Get("cursor"), limit, whole)
	if err != nil {
		in.o.Log.Error("cannot read a suppression list", "client", client, "err", err)
		refuse("store_unavailable").Write(w)
		return
	}
	shown := suppressionList{Suppressions: make([]suppression, len(all)), NextCursor: next}
	for i, one := range all {
		shown.Suppressions[i] = showSuppression(one)
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, shown)
}
