package intake

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// AcceptOrders accepts orders with the rights of the API key with a name. It checks and stores them in the same way as
// lines of a batch that arrive together: some hundred at most. It returns a result for each, in order, and blocks for
// at most 7 s. An error means that the key may not send: it is unknown, revoked or expired, and nothing was accepted.
func (in *Intake) AcceptOrders(ctx context.Context, keyName string, orders []message.Order) ([]message.OrderResult, error) {
	key, refused := in.o.Keys.Named(keyName, httpapi.ScopeSend)
	if refused != nil {
		return nil, fmt.Errorf("API key %s: %s", keyName, refused[0].Detail)
	}
	e, g := newEnvelope(), newGroup()
	defer e.free()
	defer g.free()
	for i, o := range orders {
		if len(o.Body) > maxBody {
			in.metrics.count(resultInvalid)
			g.refuse(i+1, refuse("body_too_large"))
			continue
		}
		in.readLine(e, g, key, i+1, o, in.metrics.count)
	}
	in.acceptGroup(ctx, g)
	all := make([]message.OrderResult, len(g.lines))
	for i := range g.lines {
		l := &g.lines[i]
		if l.refused == nil {
			all[i] = message.OrderResult{ID: l.accepted.ID, Duplicate: l.accepted.Duplicate}
			continue
		}
		f := l.refused.Document()
		problem, _ := json.Marshal(f) // cannot fail for strings and numbers
		all[i] = message.OrderResult{Code: f.Code, Problem: problem, Retry: f.Status == http.StatusServiceUnavailable}
	}
	return all, nil
}

// CheckOrder checks the body of a request to send with the rights of an API key, apart from what changes with time, such as opt-outs, quotas
// and the backlog. It returns the phone number id that sends it, the recipient, and what may be a mistake. It does not block.
func (in *Intake) CheckOrder(key httpapi.Key, body []byte) (number, recipient string, warnings []message.Problem, refused httpapi.Refusal) {
	e := newEnvelope()
	defer e.free()
	if refused := e.read(body); refused != nil {
		return "", "", nil, refused
	}
	m := e.readAll(nil, func() { e.open(e.body.Root()) })
	if refused := in.check(e, &m, key, in.now()); refused != nil {
		return "", "", nil, refused
	}
	return m.From, m.Content.Recipient(), unknownIn(m.Content).warnings(), nil
}

// Recipient returns the recipient of the body of a request to send, also if the request would be refused; empty: it has none.
func Recipient(body []byte) string {
	e := newEnvelope()
	defer e.free()
	if e.read(body) != nil {
		return ""
	}
	m := e.readAll(nil, func() { e.open(e.body.Root()) })
	return m.Content.Recipient()
}
