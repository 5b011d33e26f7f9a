package intake

import (
	"context"

	"sluice/internal/content"
	"sluice/internal/message"
)

// chooseTemplate compares a message with its template at Meta, and returns the problems. If Meta does not send messages of the
// template now, the message gets its fallback template.
func (in *Intake) chooseTemplate(e *envelope, m *message.Message) (problems []message.Problem) {
	if in.o.Templates == nil {
		return nil
	}
	if m.Content.Template == "" {
		return in.checkFallback(e, m)
	}
	problems, m.Content.Unchecked = in.o.Templates.Check(m.From, e.message, m.Content)
	unsendable := content.IsUnsendable(problems)
	for i := range problems {
		problems[i].Path = "message." + problems[i].Path
	}
	f := &e.fallback
	if f.object == nil {
		return problems
	}
	others, unchecked := in.o.Templates.Check(m.From, f.object.Root(), f.content)
	switch {
	case len(problems) == 0 && content.IsUnsendable(others): // it may be sendable when it is needed
		return nil
	case unsendable && len(others) == 0:
		f.content.Instead, f.content.Unchecked = m.Content.TemplateID(), unchecked
		m.Content, m.Payload, m.Fallback = f.content, m.Fallback.Payload, message.Fallback{}
		return nil
	}
	for _, p := range others {
		p.Path, _ = fallbackPath(p.Path)
		problems = append(problems, p)
	}
	return problems
}

// checkFallback compares the fallback template of a free-form message with Meta's description, and returns the problems. That Meta does not send
// messages of it now is none, until it is needed.
func (in *Intake) checkFallback(e *envelope, m *message.Message) []message.Problem {
	f := &e.fallback
	if f.object == nil {
		return nil
	}
	var problems []message.Problem
	problems, m.Fallback.Content.Unchecked = in.o.Templates.Check(m.From, f.object.Root(), f.content)
	unsendable := content.IsUnsendable(problems)
	for i := range problems {
		problems[i].Path, _ = fallbackPath(problems[i].Path)
	}
	if unsendable {
		m.Fallback.Problems = problems
		return nil
	}
	return problems
}

// known returns what answers a message with problems: these, unless its key is known.
func (in *Intake) known(m *message.Message, problems []message.Problem) refusal {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return in.unless(ctx, m, func() refusal { return problems })
}
