package intake

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// checkedMessage is the answer of POST /v1/messages/check.
type checkedMessage struct {
	message.Context
	Key       string            `json:"key,omitempty" doc:"The idempotency key. Without one, the message gets another id each time."`
	Duplicate bool              `json:"duplicate" doc:"true: a message with this key was accepted before. A request to send is answered with that message, or refused if its content is different."`
	SendAt    time.Time         `json:"send_at,omitzero" doc:"The message would not be sent before this time."`
	ExpiresAt time.Time         `json:"expires_at" doc:"No attempt would start after this time."`
	SentAbout time.Time         `json:"sent_about,omitzero" doc:"When Sluice would send the message at the present rates, behind what waits now; an estimate. In a batch it is also behind the lines before it with the same number, class and campaign. Absent for a duplicate, for a message that is scheduled or waits for another message, and while the backlog cannot be read."`
	Cost      *message.Cost     `json:"estimated_cost,omitempty" doc:"What Meta would charge, by the prices of this installation. Absent for a duplicate, without prices, and for a category without a price. Meta charges at delivery, and a utility template inside the customer service window is free, so it may be less."`
	After     *message.After    `json:"after,omitempty" doc:"The message would wait for this message."`
	Payload   json.RawMessage   `json:"payload" doc:"Meta's message object as Sluice would send it."`
	Warnings  []message.Problem `json:"warnings,omitempty" doc:"Possible mistakes. The message would be accepted."`
}

// checkedLine is the answer to a line of a batch that is only checked.
type checkedLine struct {
	Line   int `json:"line" doc:"The number of the line. The first line is 1."`
	Status int `json:"status" doc:"200, or the HTTP status with which POST /v1/messages would refuse this line."`
	*checkedMessage
	Problem *httpapi.Failure `json:"problem,omitempty" doc:"Why the line would not be accepted."`
}

// checkOnly serves POST /v1/messages/check. It does what post does, up to storing the message.
func (in *Intake) checkOnly(w http.ResponseWriter, r *http.Request) {
	now := in.now()
	m, refused := in.requested(w, r, now)
	if refused == nil {
		var shown checkedMessage
		if shown, refused = in.checked(r.Context(), w.Header(), &m, now); refused == nil {
			in.estimate(r.Context(), &m, &shown, 0, now)
			httpapi.WriteJSON(w, "application/json", http.StatusOK, shown)
			return
		}
	}
	refused.Write(w)
}

// estimate sets when a message would be sent, behind so many others that would be accepted before it, and reports whether it is one that is
// sent as soon as it can be.
func (in *Intake) estimate(ctx context.Context, m *message.Message, shown *checkedMessage, ahead int, now time.Time) bool {
	if in.o.SendETA == nil || shown.Duplicate || m.SendAt.After(now) || m.After.ID != "" {
		return false
	}
	if wait, err := in.o.SendETA(ctx, m.From, m.Class, m.Flow(), ahead); err == nil {
		shown.SentAbout = now.Add(wait).UTC().Truncate(time.Second)
	}
	return true
}

// sharing are messages that are sent one after the other.
type sharing struct {
	number string
	class  message.Class
	flow   message.Flow
}

// estimateGroup sets when each message of a group would be sent. ahead counts those of the groups before, and then of this one.
func (in *Intake) estimateGroup(ctx context.Context, g *group, ahead map[sharing]int) {
	now := in.now()
	for i := range g.lines {
		l := &g.lines[i]
		if l.refused != nil {
			continue
		}
		m := &g.messages[l.message]
		if of := (sharing{m.From, m.Class, m.Flow()}); in.estimate(ctx, m, l.checked, ahead[of], now) {
			ahead[of]++
		}
	}
}

// checked describes a message that would be accepted, or returns why it would be refused.
func (in *Intake) checked(ctx context.Context, header http.Header, m *message.Message, now time.Time) (checkedMessage, refusal) {
	ctx, cancel, refused := in.admit(ctx, header, m, now)
	defer cancel()
	shown := checkedMessage{
		Context: m.Context(), Key: m.Key, SendAt: m.SendAt.UTC(), ExpiresAt: m.ExpiresAt.UTC(), Payload: m.Payload,
		Warnings: unknownIn(m.Content).warnings(), Cost: in.cost(m, now),
	}
	if m.After.ID != "" {
		shown.After = &m.After
	}
	if refused != nil || m.Key == "" {
		shown.ID = ""
		return shown, refused
	}
	id, refused := in.repeats(ctx, m)
	if shown.Duplicate = id != ""; shown.Duplicate {
		shown.ID, shown.Cost = id, nil
	}
	return shown, refused
}

// price returns what a message costs for budgets, which are of clients and of campaigns: with the fallback template, if that costs more.
func (in *Intake) price(m *message.Message, now time.Time) (price int) {
	if m.Flow() == (message.Flow{}) {
		return 0
	}
	for _, c := range []*message.Content{&m.Content, m.Fallback.Content} {
		if c == nil {
			continue
		}
		one := *m
		one.Content = *c
		if cost := in.cost(&one, now); cost != nil {
			price = max(price, int(cost.Amount))
		}
	}
	return price
}

// cost returns what a message costs by an estimate; nil: it is not known.
func (in *Intake) cost(m *message.Message, now time.Time) *message.Cost {
	if in.o.Estimate == nil || m.Content.Group {
		return nil
	}
	at := now
	if m.SendAt.After(now) {
		at = m.SendAt
	}
	return in.o.Estimate(m, at)
}
