package intake

import (
	"bytes"
	"slices"
	"strings"

	"sluice/internal/content"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// fallbackRequest describes the member fallback_template of a request to send. readFallback reads it.
type fallbackRequest struct {
	Name       string           `json:"name" doc:"The name of the template."`
	Language   templateLanguage `json:"language" doc:"Its language."`
	Components []any            `json:"components,omitempty" doc:"Its parameters, as Meta documents them."`
}

// templateLanguage is the language of a template as Meta's message object has it.
type templateLanguage struct {
	Code string `json:"code" doc:"The code of the language, for example en_US."`
}

// fallback is the member fallback_template of a request: the template that takes the place of the message's own one when Meta
// does not send messages of that, or of a free-form message outside the customer service window.
type fallback struct {
	value   jsondoc.Value
	object  *jsondoc.Doc    // Meta's message object with it; nil: there is no valid fallback template
	content message.Content // of object
}

// readFallback checks the fallback template by the rules for the message with this template.
func (e *envelope) readFallback(m *message.Message) {
	v := e.fallback.value
	switch {
	case !v.Present():
		return
	case v.Kind() != jsondoc.Object:
		e.refuse("fallback_template", "type_mismatch")
		return
	case m.Content.Template == "" && (!m.Content.Service() || m.Content.Group):
		e.refuse("fallback_template", "fallback_not_allowed")
		return
	}
	text := e.appendTemplate(nil, m.Content.Template == "", v)
	object := new(jsondoc.Doc)
	if object.Read(string(text)) != nil {
		e.refuse("fallback_template", "type_mismatch")
		return
	}
	c, problems := content.Check(object.Root())
	for _, p := range problems { // the others are those of the message too
		if of, is := fallbackPath(p.Path); is {
			p.Path = of
			e.add(p)
		}
	}
	if m.Content.Template != "" && c.TemplateID() == m.Content.TemplateID() {
		e.refuse("fallback_template", "fallback_not_allowed")
	}
	e.fallback.object, e.fallback.content = object, c
}

// carried are the members of a free-form message that the message with its fallback template has too: those that are not about the content.
var carried = []string{
	"messaging_product", "recipient_type", "to", "recipient", "biz_opaque_callback_data", "recipient_identity_key_hash", "messaging_account_id",
}

// appendTemplate appends Meta's message object with a template in place of the content.
func (e *envelope) appendTemplate(b []byte, freeForm bool, template jsondoc.Value) []byte {
	if freeForm {
		b = append(b, `{"type":"template"`...)
		for name, value := range e.message.Members() {
			if slices.Contains(carried, name) {
				b = value.AppendCompact(append(value.AppendName(append(b, ',')), ':'))
			}
		}
	} else {
		b = bytes.TrimSuffix(e.message.AppendWithout(b, "template"), []byte("}")) // it has other members, for example type
	}
	return append(template.AppendCompact(append(b, `,"template":`...)), '}')
}

// fallbackPath returns the place in the request of a problem of the object with the fallback template. It is false for places
// outside of the template.
func fallbackPath(path string) (string, bool) {
	rest, is := strings.CutPrefix(path, "template")
	return "fallback_template" + rest, is
}

// appendFallback appends the fallback template to the text of the hash of a request. Without one it appends nothing, like
// appendAfter.
func (e *envelope) appendFallback(b []byte) []byte {
	if !e.fallback.value.Present() {
		return b
	}
	return e.fallback.value.AppendCanonical(append(b, `,"fallback_template":`...))
}
