package console

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// holdList is the answer of GET /v1/holds.
type holdList struct {
	Holds []hold `json:"holds" doc:"The holds on numbers of the API key, and those on all numbers."`
}

// hold is a hold as operators see it.
type hold struct {
	httpapi.Hold
	APIKeyName   string `json:"api_key_name,omitempty" doc:"The name of the API key of the request that set the hold."`
	HeldMessages *int   `json:"held_messages,omitempty" doc:"How many messages the hold keeps from being sent, without those that wait for their time. Only in the list; of a hold on several numbers only for an API key for all numbers."`
}

func showHold(h message.Hold) hold { return hold{Hold: httpapi.ShowHold(h), APIKeyName: h.Key} }

// target says what is held.
type target struct {
	All      bool   `json:"all,omitempty" doc:"All messages."`
	Number   string `json:"phone_number_id,omitempty" doc:"Messages from this phone number id; with template or tag only these of it."`
	Template string `json:"template,omitempty" doc:"Messages of this template of the number, as name/language."`
	Tag      string `json:"tag,omitempty" doc:"Messages that were accepted with this tag; without phone_number_id those from all numbers."`
	Campaign string `json:"campaign,omitempty" doc:"Messages of this campaign; without phone_number_id those from all numbers."`
	Client   string `json:"client,omitempty" doc:"With campaign: the client of the messages. Default: the client of the API key; without one, messages of no client."`
}

// holdRequest is the body of POST /v1/holds.
type holdRequest struct {
	target
	For string `json:"for,omitempty" doc:"How long, for example 15m or 24h. Without it the hold lasts until it is released."`
	order
}

// releaseRequest is the body of POST /v1/holds/release.
type releaseRequest struct {
	target
	order
}

// releaseResult is its answer.
type releaseResult struct {
	Released bool `json:"released" doc:"false: there was no such hold."`
}

// ordered returns the hold that an order is about, with its actor and reason.
func (c *Console) ordered(s target, o order, key httpapi.Key) (message.Hold, httpapi.Refusal) {
	h, refused := c.on(s, key)
	if refused == nil {
		refused = o.signed()
	}
	h.By, h.Key, h.Reason = o.Actor, key.Name, o.Reason
	return h, refused
}

// on checks what an order is about.
func (c *Console) on(s target, key httpapi.Key) (message.Hold, httpapi.Refusal) {
	h := message.Hold{Number: s.Number, Template: s.Template, Tag: s.Tag, Campaign: s.Campaign, Client: s.Client}
	if s.Campaign != "" {
		h.Client = cmp.Or(s.Client, key.Client)
	}
	name, language, _ := strings.Cut(s.Template, "/")
	switch {
	case s.All && (h != message.Hold{}), !s.All && (h == message.Hold{}):
		return h, httpapi.Refuse("hold_target_invalid")
	case s.Template != "" && (s.Number == "" || s.Tag != "" || name == "" || language == "" || !words(s.Template, 600)):
		return h, httpapi.RefuseAt("template", "hold_target_invalid")
	case s.Client != "" && s.Campaign == "", s.Campaign != "" && (s.Template != "" || s.Tag != ""):
		return h, httpapi.RefuseAt("campaign", "hold_target_invalid")
	case s.Campaign != "" && !words(s.Campaign, 64):
		return h, httpapi.RefuseAt("campaign", "tag_invalid")
	case key.Client != "" && h.Client != "" && h.Client != key.Client:
		return h, httpapi.RefuseAt("client", "client_not_found")
	case s.Tag != "" && !words(s.Tag, 64):
		return h, httpapi.RefuseAt("tag", "tag_invalid")
	case s.Number == "" && !key.CoversAll():
		return h, httpapi.Refuse("all_numbers_required")
	case s.Number != "" && !(key.Covers(s.Number) && c.o.Numbers(s.Number)):
		return h, httpapi.RefuseAt("phone_number_id", "phone_number_id_not_found")
	}
	return h, nil
}

func (c *Console) listHolds(ctx context.Context, _ http.ResponseWriter, _ *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	all, err := c.o.Holds.List(ctx)
	if err != nil {
		return nil, c.unavailable("list holds", err)
	}
	held, _, err := c.o.Holds.CountHeld(ctx, all)
	if err != nil {
		return nil, c.unavailable("count held messages", err)
	}
	shown := holdList{Holds: []hold{}}
	for i, h := range all {
		if h.Number != "" && !key.Covers(h.Number) || !seesHold(h.Flow(), key) {
			continue
		}
		one := showHold(h)
		if h.Number != "" || key.CoversAll() {
			one.HeldMessages = &held[i]
		}
		shown.Holds = append(shown.Holds, one)
	}
	return shown, nil
}

// seesHold reports whether a key may see a hold on a campaign, or on none: the key of a client sees no campaigns of others.
func seesHold(campaign message.Flow, key httpapi.Key) bool {
	return key.Client == "" || campaign == (message.Flow{}) || campaign.Client == key.Client
}

func (c *Console) hold(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask holdRequest
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	h, refused := c.ordered(ask.target, ask.order, key)
	if ask.For != "" {
		d, wrong := span("for", ask.For)
		refused = append(refused, wrong...)
		h.Until = time.Now().Add(d).UTC().Truncate(time.Millisecond)
	}
	if refused != nil {
		return nil, refused
	}
	h, err := c.o.Holds.Set(ctx, h)
	if err != nil {
		return nil, c.unavailable("set hold", err)
	}
	c.orders.WithLabelValues(message.VerbHold).Inc()
	return showHold(h), nil
}

func (c *Console) release(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask releaseRequest
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	h, refused := c.ordered(ask.target, ask.order, key)
	if refused != nil {
		return nil, refused
	}
	ended, err := c.o.Holds.Release(ctx, h)
	if err != nil {
		return nil, c.unavailable("release hold", err)
	}
	if ended {
		c.orders.WithLabelValues(message.VerbRelease).Inc()
	}
	return releaseResult{ended}, nil
}

// span reads a duration, for example 15m.
func span(path, text string) (time.Duration, httpapi.Refusal) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > 90*24*time.Hour {
		return 0, httpapi.RefuseAt(path, "duration_invalid")
	}
	return d, nil
}
