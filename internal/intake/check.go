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
	Key         string            `json:"key,omitempty" doc:"The idempotency key. Without one, the message gets another id each time."`
	Duplicate   bool              `json:"duplicate" doc:"true: a message with this key was accepted before. A request to send is answered with that message, or refused if its content is different."`
	SendAt      time.Time         `json:"send_at,omitzero" doc:"The message would not be sent before this time."`
	ExpiresAt   time.Time         `json:"expires_at" doc:"No attempt would start after this time."`
	SentAbout   time.Time         `json:"sent_about,omitzero" doc:"When Sluice would send the message at the present rates, behind what waits now; an estimate. In a batch it is also behind the lines before it with the same number, class and campaign. The cap per day of the campaign counts, by the days of its time zone. Absent for a duplicate, with over_budgets, for a message that is scheduled or waits for another message, and while the backlog cannot be read."`
	OverBudgets []overBudget      `json:"over_budgets,omitempty" doc:"The budgets that have too little left for the message, in a batch with the lines before it: the message would wait for them, and sent_about is absent. What waits of the campaign counts by an estimate, and what waits of other campaigns of the client does not count."`
	Cost        *message.Cost     `json:"estimated_cost,omitempty" doc:"What Meta would charge, by the prices of this installation. Absent for a duplicate, without prices, and for a category without a price. Meta charges at delivery, and a utility template inside the customer service window is free, so it may be less."`
	After       *message.After    `json:"after,omitempty" doc:"The message would wait for this message."`
	Payload     json.RawMessage   `json:"payload" doc:"Meta's message object as Sluice would send it."`
	Warnings    []message.Problem `json:"warnings,omitempty" doc:"Possible mistakes. The message would be accepted."`
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
			in.forecast().show(r.Context(), &m, &shown, now)
			httpapi.WriteJSON(w, "application/json", http.StatusOK, shown)
			return
		}
	}
	refused.Write(w)
}

// forecast sets when messages would be sent that would be accepted one after the other.
type forecast func(ctx context.Context, m *message.Message) (message.Forecast, error)

// forecast begins with no message before. It is nil if nothing is known.
func (in *Intake) forecast() forecast {
	if in.o.Forecast == nil {
		return nil
	}
	return in.o.Forecast()
}

// show sets when a message would be sent, if it is one that is sent as soon as it can be.
func (next forecast) show(ctx context.Context, m *message.Message, shown *checkedMessage, now time.Time) {
	if next == nil || shown.Duplicate || m.SendAt.After(now) || m.After.ID != "" {
		return
	}
	f, err := next(ctx, m)
	for _, u := range f.Short {
		shown.OverBudgets = append(shown.OverBudgets, showOverBudget(u, 0))
	}
	if err == nil && len(f.Short) == 0 {
		shown.SentAbout = now.Add(f.In).UTC().Truncate(time.Second)
	}
}

// showGroup is show for the messages of a group.
func (next forecast) showGroup(ctx context.Context, g *group, now time.Time) {
	for i := range g.lines {
		if l := &g.lines[i]; l.refused == nil {
			next.show(ctx, &g.messages[l.message], l.checked, now)
		}
	}
}

// overBudget is a budget that has too little left.
type overBudget struct {
	Budget   string         `json:"budget" doc:"per_day or per_month, of the client; campaign, of the campaign."`
	Limit    message.Amount `json:"limit" doc:"The budget, as text, in the currency of the prices."`
	Spent    message.Amount `json:"spent" doc:"What counts as spent."`
	Until    time.Time      `json:"until,omitzero" doc:"When its day or month ends, by UTC, and it begins anew. Absent for a campaign."`
	Messages int            `json:"messages,omitempty" doc:"Of a campaign: about how many of its pending messages do not fit into the budget."`
}

func showOverBudget(u message.BudgetUse, messages int) overBudget {
	return overBudget{u.Budget, u.Limit, u.Spent, u.Until.UTC(), messages}
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
