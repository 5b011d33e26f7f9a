package console

import (
	"context"
	"net/http"
	"strings"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// held is the answer of GET /v1/holds.
type held struct {
	Holds []message.Hold `json:"holds" doc:"Those that the key reaches."`
}

// scope names what is held. Just one way is right.
type scope struct {
	All      bool   `json:"all,omitempty" doc:"Everything there is."`
	Number   string `json:"number,omitempty" doc:"Phone number id; alone, or with template or tag."`
	Template string `json:"template,omitempty" doc:"A template of the number, as name/language."`
	Tag      string `json:"tag,omitempty" doc:"What was accepted with this tag, of the number or of all."`
}

// holding is the body of POST /v1/holds.
type holding struct {
	scope
	For string `json:"for,omitempty" doc:"How long, like 15m or 24h; without it until it is released."`
	order
}

// release is the body of POST /v1/holds/release.
type release struct {
	scope
	order
}

// released is its answer.
type released struct {
	Released bool `json:"released" doc:"Whether there was such a hold."`
}

// ordered is the hold that an order is about, and who gives it why.
func (c *Console) ordered(s scope, o order, key httpapi.Key) (message.Hold, httpapi.Refusal) {
	h, refused := c.on(s, key)
	if refused == nil {
		refused = o.signed()
	}
	h.By, h.Key, h.Reason = o.Actor, key.Name, o.Reason
	return h, refused
}

// on checks what an order is about.
func (c *Console) on(s scope, key httpapi.Key) (message.Hold, httpapi.Refusal) {
	h := message.Hold{Number: s.Number, Template: s.Template, Tag: s.Tag}
	name, language, _ := strings.Cut(s.Template, "/")
	switch {
	case s.All && (h != message.Hold{}), !s.All && (h == message.Hold{}):
		return h, httpapi.Refuse("hold_unclear")
	case s.Template != "" && (s.Number == "" || s.Tag != "" || name == "" || language == "" || !words(s.Template, 600)):
		return h, httpapi.RefuseAt("template", "hold_unclear")
	case s.Tag != "" && !words(s.Tag, 64):
		return h, httpapi.RefuseAt("tag", "tag_invalid")
	case s.Number == "" && !key.CoversAll():
		return h, httpapi.Refuse("key_too_narrow")
	case s.Number != "" && !(key.Covers(s.Number) && c.o.Numbers(s.Number)):
		return h, httpapi.RefuseAt("number", "phone_not_found")
	}
	return h, nil
}

func (c *Console) listHolds(ctx context.Context, _ http.ResponseWriter, _ *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	all, err := c.o.Holds.List(ctx)
	if err != nil {
		return nil, c.unavailable("list holds", err)
	}
	shown := held{Holds: []message.Hold{}}
	for _, h := range all {
		if h.Number == "" || key.Covers(h.Number) {
			shown.Holds = append(shown.Holds, h)
		}
	}
	return shown, nil
}

func (c *Console) hold(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask holding
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	h, refused := c.ordered(ask.scope, ask.order, key)
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
	return h, nil
}

func (c *Console) release(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask release
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	h, refused := c.ordered(ask.scope, ask.order, key)
	if refused != nil {
		return nil, refused
	}
	ended, err := c.o.Holds.Lift(ctx, h)
	if err != nil {
		return nil, c.unavailable("release hold", err)
	}
	if ended {
		c.orders.WithLabelValues(message.VerbRelease).Inc()
	}
	return released{ended}, nil
}

// span reads a time like 15m.
func span(path, text string) (time.Duration, httpapi.Refusal) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > 90*24*time.Hour {
		return 0, httpapi.RefuseAt(path, "for_invalid")
	}
	return d, nil
}
