package graphsim

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// request is the body of POST /{version}/{number}/messages, as far as the simulator looks.
// https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages
type request struct {
	Product       string `json:"messaging_product"`
	RecipientType string `json:"recipient_type"`
	To            string `json:"to"`
	Recipient     string `json:"recipient"` // a user id, when there is no To
	Type          string `json:"type"`
	Marker        string `json:"biz_opaque_callback_data"`
	Status        string `json:"status"` // "read": no message but a receipt of ours
	MessageID     string `json:"message_id"`

	recipient string   // wa_id, group id or user id
	voice     bool     // a voice message: it can be played
	choices   []choice // what the person can tap
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

// wrong is why a request is refused: a Graph error code, and details for people.
type wrong struct {
	code    int
	details string
}

// types are the message types there are.
var types = []string{
	"text", "image", "audio", "video", "document", "sticker", "location", "contacts",
	"reaction", "interactive", "template", "pin",
}

// content is what the simulator looks at inside a message's content, whatever its type.
type content struct {
	Body      json.RawMessage `json:"body"` // text: a string; interactive: an object
	ID        string          `json:"id"`
	Link      string          `json:"link"`
	Voice     bool            `json:"voice"`
	Latitude  any             `json:"latitude"`
	Longitude any             `json:"longitude"`
	MessageID string          `json:"message_id"`
	Name      string          `json:"name"`
	Language  struct {
		Code string `json:"code"`
	} `json:"language"`
	Type   string  `json:"type"`
	Action *action `json:"action"`
}

type action struct {
	Buttons []struct {
		Reply reply `json:"reply"`
	} `json:"buttons"`
	Sections []struct {
		Rows []reply `json:"rows"`
	} `json:"sections"`
}

// parse reads a request and checks it as Meta does: the first thing wrong is the
// answer.
func parse(body []byte) (request, *wrong) {
	var m request
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil || json.Unmarshal(body, &m) != nil {
		return m, &wrong{100, "The request body is not a JSON object with members of the right types."}
	}
	if m.Product != "whatsapp" {
		return m, &wrong{100, "The parameter messaging_product is required."}
	}
	if m.Status != "" {
		if m.Status != "read" || m.MessageID == "" {
			return m, &wrong{100, "The parameter status must be read, with the parameter message_id."}
		}
		return m, nil
	}
	if w := m.checkRecipient(); w != nil {
		return m, w
	}
	if utf8.RuneCountInString(m.Marker) > 512 {
		return m, &wrong{100, "Param biz_opaque_callback_data must be at most 512 characters long."}
	}
	if m.Type == "" {
		m.Type = "text"
	}
	if !slices.Contains(types, m.Type) {
		return m, &wrong{131051, "Message type is not currently supported."}
	}
	raw, ok := members[m.Type]
	if !ok || string(raw) == "null" {
		return m, &wrong{131008, "Parameter " + m.Type + " is missing."}
	}
	return m, m.checkContent(raw)
}

var userIDForm = regexp.MustCompile(`^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$`)

func (m *request) checkRecipient() *wrong {
	switch {
	case m.To == "" && m.Recipient == "":
		return &wrong{100, "The parameter to is required."}
	case m.To == "":
		if m.recipient = m.Recipient; !userIDForm.MatchString(m.Recipient) {
			return &wrong{131009, "Parameter recipient is not a user id."}
		}
	case m.RecipientType == "group":
		m.recipient = m.To
	default:
		m.recipient = strings.NewReplacer("+", "", "-", "", "(", "", ")", "", " ", "").Replace(m.To)
		if !numberForm.MatchString(m.recipient) || len(m.recipient) < 7 || len(m.recipient) > 15 {
			return &wrong{131009, "Parameter to is not a phone number."}
		}
	}
	return nil
}

func (m *request) checkContent(raw json.RawMessage) *wrong {
	if m.Type == "contacts" {
		var people []json.RawMessage
		if json.Unmarshal(raw, &people) != nil || len(people) == 0 {
			return &wrong{131009, "Parameter contacts must be an array of contacts."}
		}
		return nil
	}
	var c content
	if json.Unmarshal(raw, &c) != nil {
		return &wrong{131009, "Parameter " + m.Type + " has members of wrong types."}
	}
	switch m.Type {
	case "text":
		return checkText(c.Body, "text['body']")
	case "image", "audio", "video", "document", "sticker":
		m.voice = m.Type == "audio" && c.Voice
		if c.ID == "" && c.Link == "" {
			return missing(m.Type + "['id'] or " + m.Type + "['link']")
		}
		if c.ID != "" && c.Link != "" {
			return &wrong{131009, "Only one of id and link may be given."}
		}
	case "location":
		if c.Latitude == nil || c.Longitude == nil {
			return missing("location['latitude'] and location['longitude']")
		}
	case "reaction", "pin":
		if c.MessageID == "" {
			return missing(m.Type + "['message_id']")
		}
	case "template":
		if c.Name == "" || c.Language.Code == "" {
			return missing("template['name'] and template['language']['code']")
		}
	case "interactive":
		return m.checkInteractive(c)
	}
	return nil
}

func (m *request) checkInteractive(c content) *wrong {
	if c.Type == "" || c.Action == nil {
		return missing("interactive['type'] and interactive['action']")
	}
	if c.Type != "button" && c.Type != "list" {
		return nil
	}
	var body struct {
		Text json.RawMessage `json:"text"`
	}
	if len(c.Body) > 0 && json.Unmarshal(c.Body, &body) != nil {
		return &wrong{131009, "Parameter interactive['body'] is not an object."}
	}
	if w := checkText(body.Text, "interactive['body']['text']"); w != nil {
		return w
	}
	for _, b := range c.Action.Buttons {
		m.choices = append(m.choices, choice{"button_reply", b.Reply})
	}
	most, longest := 3, 20
	if c.Type == "list" {
		most, longest, m.choices = 10, 24, nil
		for _, s := range c.Action.Sections {
			for _, row := range s.Rows {
				m.choices = append(m.choices, choice{"list_reply", row})
			}
		}
	}
	if n := len(m.choices); n == 0 || n > most {
		return &wrong{131009, "Too few or too many buttons or rows."}
	}
	for _, c := range m.choices {
		if c.reply.ID == "" || c.reply.Title == "" || utf8.RuneCountInString(c.reply.Title) > longest {
			return &wrong{131009, "A button or row has no id, no title, or one that is too long."}
		}
	}
	return nil
}

// checkText checks a text that must be there, of at most 4096 characters.
func checkText(raw json.RawMessage, name string) *wrong {
	var text string
	if len(raw) == 0 {
		return missing(name)
	}
	if json.Unmarshal(raw, &text) != nil || text == "" || utf8.RuneCountInString(text) > 4096 {
		return &wrong{131009, "Param " + name + " must be 1 to 4096 characters long."}
	}
	return nil
}

func missing(name string) *wrong {
	return &wrong{131008, "The parameter " + name + " is required."}
}
