package console

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"sluice/internal/fleet"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// rates changes the rate limits of numbers.
type rates interface {
	// Set sets a rate in place of the configured one; 0 returns to that. With over it increases to it evenly from the rate from.
	Set(ctx context.Context, number string, rate, from int, over time.Duration) error
}

// numberDetail is the answer of GET /v1/numbers/{phone_number_id}.
type numberDetail struct {
	fleet.Number
	History []fleet.Point `json:"history" doc:"The last hour, every 10 s, the oldest first, as the producer that answers sampled it. Empty: the number was idle."`
}

// maxRate is the largest rate limit that can be set, in messages per second.
const maxRate = 10000

// rateRequest is the body of PUT /v1/numbers/{phone_number_id}/rate.
type rateRequest struct {
	Rate  int    `json:"rate,omitempty" doc:"The rate limit in messages per second, 1 to 10000. To send nothing set a hold."`
	From  int    `json:"from,omitempty" doc:"With over: start at this rate, which is lower than rate."`
	Over  string `json:"over,omitempty" doc:"With from: how long the increase to rate takes, for example 24h."`
	Reset bool   `json:"reset,omitempty" doc:"true: use the configured rate limit again."`
	order
}

// check returns how long the increase takes, and what is wrong with the request.
func (r rateRequest) check() (over time.Duration, refused httpapi.Refusal) {
	wrong := func(path string, bad bool, code string) {
		if bad {
			refused = append(refused, httpapi.Problem(path, code))
		}
	}
	wrong("rate", r.Reset != (r.Rate == 0) || r.Reset && (r.From != 0 || r.Over != ""), "rate_unclear")
	wrong("rate", r.Rate < 0 || r.Rate > maxRate, "rate_invalid")
	wrong("from", (r.From == 0) != (r.Over == ""), "rate_unclear")
	wrong("from", r.From < 0 || r.From > 0 && r.From >= r.Rate, "rate_invalid")
	if r.Over != "" {
		var bad httpapi.Refusal
		over, bad = span("over", r.Over)
		refused = append(refused, bad...)
	}
	return over, append(refused, r.signed()...)
}

// target says in the audit log what is ordered.
func (r rateRequest) target(number string, over time.Duration) string {
	switch {
	case r.Reset:
		return "number " + number + ": the configured rate limit"
	case over > 0:
		return fmt.Sprintf("number %s: %d messages per second, from %d over %s", number, r.Rate, r.From, over)
	}
	return fmt.Sprintf("number %s: %d messages per second", number, r.Rate)
}

// covered refuses a number that is not configured, or that the key may not use.
func (c *Console) covered(number string, key httpapi.Key) httpapi.Refusal {
	if !key.Covers(number) || !c.o.Numbers(number) {
		return httpapi.RefuseAt("phone_number_id", "phone_number_id_not_found")
	}
	return nil
}

func (c *Console) number(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	return c.detail(ctx, r.PathValue("phone_number_id"), key)
}

// detail returns how a number is doing.
func (c *Console) detail(ctx context.Context, id string, key httpapi.Key) (any, httpapi.Refusal) {
	if refused := c.covered(id, key); refused != nil {
		return nil, refused
	}
	n, err := c.o.Fleet.One(ctx, id)
	if err != nil {
		return nil, c.unavailable("read number", err)
	}
	history := c.o.Fleet.History(id, time.Time{})
	return numberDetail{Number: c.seen(n, key), History: append([]fleet.Point{}, history...)}, nil
}

func (c *Console) setRate(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	id := r.PathValue("phone_number_id")
	var ask rateRequest
	refused := httpapi.ReadJSON(w, r, &ask)
	var over time.Duration
	if refused == nil {
		over, refused = ask.check()
	}
	if refused == nil {
		refused = c.covered(id, key)
	}
	if refused != nil {
		return nil, refused
	}
	// The audit entry comes first: if it cannot be written, nothing changes.
	if err := c.o.Audit.Add(ctx, ask.entry(message.VerbRate, ask.target(id, over), key)); err != nil {
		return nil, c.unavailable("write audit log", err)
	}
	if err := c.o.Rates.Set(ctx, id, ask.Rate, ask.From, over); err != nil {
		return nil, c.unavailable("set rate", err)
	}
	c.orders.WithLabelValues(message.VerbRate).Inc()
	return c.detail(ctx, id, key)
}
