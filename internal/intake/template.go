package intake

import (
	"context"
	"net/http"

	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// checkTemplate refuses a message that does not fit its template at Meta, unless its key is known: then the request is accepted
// as a duplicate, or refused because the key was used for another message.
func (in *Intake) checkTemplate(object jsondoc.Value, m *message.Message) refusal {
	if in.o.Templates == nil || m.Content.Template == "" {
		return nil
	}
	var problems []message.Problem
	if problems, m.Content.Unchecked = in.o.Templates.Check(m.From, object, m.Content); len(problems) == 0 {
		return nil
	}
	if m.Key != "" {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		if _, refused := in.find(ctx, m.ID); refused == nil || refused.Status() != http.StatusNotFound {
			return refused
		}
	}
	for i := range problems {
		problems[i].Path = "message." + problems[i].Path
	}
	return problems
}
