package graphsim

import (
	"encoding/json"
	"strings"

	"sluice/internal/content"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// request is the body of POST /{version}/{number}/messages, as far as the simulator looks.
// https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages
type request struct {
	message.Content
	Marker string // biz_opaque_callback_data

	mark      bool           // no message but a receipt of ours, or that we are typing
	input     string         // the recipient as it was given
	recipient string         // wa_id, group id or user id
	failed    int            // the Graph error code of the failed webhook it will come to; 0: none
	template  map[string]any // its content, of a template message
	voice     bool           // a voice message: it can be played
	choices   []choice       // what the person can tap
}

// choice is a reply button or a row of a list.
type choice struct {
	kind  string // "button_reply" or "list_reply"
	reply reply
}

type reply struct {
	ID          string `json:"id"`
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
}

// parse reads a request and checks it as Meta does: the first thing wrong is the answer.
func parse(body []byte) (request, *wrong) {
	var m request
	var d jsondoc.Doc
	if err := d.Read(string(body)); err != nil || d.Root().Kind() != jsondoc.Object {
		return m, &wrong{100, true, "The request body is not a JSON object."}
	}
	object := d.Root()
	if product, _ := object.Get("messaging_product").Text(); product != "whatsapp" {
		return m, &wrong{100, true, "The parameter messaging_product is required."}
	}
	if m.mark = content.IsMark(object); m.mark {
		_, problems := content.CheckMark(object)
		return m, m.verdict(problems)
	}
	if kind := object.Get("type"); kind.Kind() == jsondoc.Null {
		kind.SetText("text")
	} else if !kind.Present() {
		d.AddText("type", "text")
	}
	var problems []message.Problem
	m.Content, problems = content.Check(object)
	if w := m.verdict(problems); w != nil {
		return m, w
	}
	m.Marker = m.Callback
	m.input, _ = object.Get("to").Text()
	if m.recipient = strings.TrimPrefix(m.To, "+"); m.input == "" {
		m.input, m.recipient = m.UserID, m.UserID
	} else if m.To == "" { // Meta takes a number without its plus
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
		m.template = content
	case "interactive":
		m.choices = choicesOf(content)
	}
	return m, nil
}

// toUser tells whether the recipient is a user id rather than a phone number or a group.
func (m request) toUser() bool { return m.UserID != "" && m.recipient == m.UserID }

// choicesOf returns the reply buttons or the rows of an interactive message that has passed
// the rules.
func choicesOf(content map[string]any) (all []choice) {
	add := func(kind string, of any) {
		o, _ := of.(map[string]any)
		id, _ := o["id"].(string)
		title, _ := o["title"].(string)
		description, _ := o["description"].(string)
		all = append(all, choice{kind, reply{id, title, description}})
	}
	action, _ := content["action"].(map[string]any)
	switch content["type"] {
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

// objects are the elements of an array that are objects.
func objects(value any) (all []map[string]any) {
	array, _ := value.([]any)
	for _, element := range array {
		if o, ok := element.(map[string]any); ok {
			all = append(all, o)
		}
	}
	return all
}

// digits are the digits of a text.
func digits(text string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)
}
