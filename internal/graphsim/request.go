package graphsim

import (
	"encoding/json"
	"slices"
	"strings"

	"sluice/internal/content"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// request has the members of the body of POST /{version}/{number}/messages that the simulator uses.
// https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages
type request struct {
	message.Content
	Marker string // biz_opaque_callback_data

	version   string // of the Graph API that the call named
	marketing bool   // for the Marketing Messages API
	category  string // that Meta charges for, of a template message

	mark      bool           // not a message but a mark of read, or a typing indicator
	input     string         // the recipient as it was given
	recipient string         // wa_id, group id or user id
	failed    int            // the Graph error code of its later failed webhook; 0: none
	template  map[string]any // its content, of a template message
	voice     bool           // a voice message: it can be played
	choices   []choice       // the buttons and rows that the recipient can tap
}

// choice is a reply button, a row of a list, or a quick reply of a template.
type choice struct {
	kind  string // "button_reply", "list_reply", or "button" for a template's
	reply reply
}

type reply struct {
	ID          string `json:"id"`
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
}

// parse reads a request and checks it as Meta does. The answer names the first error.
func parse(body []byte) (request, *wrong) {
	var m request
	var d jsondoc.Doc
	if err := d.Read(string(body)); err != nil || d.Root().Kind() != jsondoc.Object {
		return m, &wrong{100, true, "The request body is not a JSON object."}
	}
	object := d.Root()
	if product, _ := object.Get("messaging_product").Text(); !strings.EqualFold(product, "whatsapp") {
		return m, &wrong{100, true, "The parameter messaging_product is required."}
	}
	if m.mark = content.IsMark(object); m.mark {
		_, problems := content.CheckMark(object)
		problems = slices.DeleteFunc(problems, func(p message.Problem) bool { return p.Path == "access_token" }) // the token of the call
		return m, m.verdict(problems)
	}
	var problems []message.Problem
	m.Content, problems = content.Check(object)
	if slices.ContainsFunc(problems, func(p message.Problem) bool { return p.Code == "type_mismatch" }) {
		if text := d.Inline(content.Embedded(object)); d.Read(text) == nil { // JSON text where an object belongs
			object = d.Root()
			m.Content, problems = content.Check(object)
		}
	}
	if w := m.verdict(problems); w != nil {
		return m, w
	}
	m.Marker = m.Callback
	m.input, _ = object.Get("to").Text()
	if m.recipient = strings.TrimPrefix(m.To, "+"); m.input == "" {
		m.input, m.recipient = m.UserID, m.UserID
	} else if m.To == "" { // Meta accepts a number without its plus
		m.recipient = digits(m.input)
	}
	var content map[string]any
	if m.Type == "audio" || m.Type == "template" || m.Type == "interactive" {
		decoder := json.NewDecoder(strings.NewReader(object.Get(m.Type).Raw()))
		decoder.UseNumber()
		decoder.Decode(&content) // it has passed the rules: it is an object
	}
	switch m.Type {
	case "audio":
		m.voice = content["voice"] == true
	case "template":
		m.template, m.choices = content, quickReplies(content)
	case "interactive":
		m.choices = choicesOf(content)
	}
	return m, nil
}

// toUser reports whether the recipient is a user id rather than a phone number or a group.
func (m request) toUser() bool { return m.UserID != "" && m.recipient == m.UserID }

// choicesOf returns the reply buttons or the rows of a valid interactive message.
func choicesOf(content map[string]any) (all []choice) {
	add := func(kind string, of any) {
		o, _ := of.(map[string]any)
		id, _ := o["id"].(string)
		title, _ := o["title"].(string)
		description, _ := o["description"].(string)
		all = append(all, choice{kind, reply{id, title, description}})
	}
	action, _ := content["action"].(map[string]any)
	kind, _ := content["type"].(string)
	switch strings.ToLower(kind) {
	case "button":
		for _, b := range objects(action["buttons"]) {
			add("button_reply", b["reply"])
		}
	case "list":
		for _, section := range objects(action["sections"]) {
			for _, row := range objects(section["rows"]) {
				add("list_reply", row)
			}
		}
	}
	return all
}

// quickReplies returns the quick replies of a template message. Their titles are in the template, which may be
// unknown, so that the payload stands for the title.
func quickReplies(content map[string]any) (all []choice) {
	for _, c := range objects(content["components"]) {
		kind, _ := c["type"].(string)
		sub, _ := c["sub_type"].(string)
		if !strings.EqualFold(kind, "button") || !strings.EqualFold(sub, "quick_reply") {
			continue
		}
		for _, p := range objects(c["parameters"]) {
			if payload, is := p["payload"].(string); is {
				all = append(all, choice{"button", reply{ID: payload, Title: payload}})
			}
		}
	}
	return all
}

// objects returns the elements of an array that are objects.
func objects(value any) (all []map[string]any) {
	array, _ := value.([]any)
	for _, element := range array {
		if o, ok := element.(map[string]any); ok {
			all = append(all, o)
		}
	}
	return all
}

// digits returns the digits of a text.
func digits(text string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)
}
