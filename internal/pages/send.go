package pages

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// examplesFile has an example of each type of message. They are those of docs/messages.md; a test compares them.
//
//go:embed examples.json
var examplesFile []byte

// example is a message object of Meta's.
type example struct {
	Name    string
	Message json.RawMessage
}

var examples = func() (all []example) {
	if err := json.Unmarshal(examplesFile, &all); err != nil {
		panic(err)
	}
	return all
}()

// sendForm is the data of the page that sends a message.
type sendForm struct {
	Examples  []example
	Example   string // the name of the one that is shown
	Number    string // the only number that the API key covers; empty: it covers several
	Key       string // a new idempotency key
	Text      string // the message object of the example
	CanSend   bool
	Simulator bool
}

func sendPage() page {
	return page{
		name: "send", path: "send", title: "Send", nav: true,
		read: func(v *view) (any, *problem) {
			f := sendForm{
				Examples: examples, Example: examples[0].Name, Key: "console-" + strings.ToLower(rand.Text()),
				Number: v.onlyNumber(), CanSend: maySend(v.session.key), Simulator: v.p.o.Simulator,
			}
			i := max(0, slices.IndexFunc(examples, func(e example) bool { return e.Name == v.query("example") }))
			f.Example = examples[i].Name
			var text bytes.Buffer
			if err := json.Indent(&text, examples[i].Message, "", "  "); err != nil {
				return nil, v.broken("examples", err)
			}
			f.Text = text.String()
			return f, nil
		},
		acts: map[string]func(*view) (done, *problem){"check": checkMessage, "send": sendMessage},
	}
}

// maySend reports whether the pages send messages with an API key: it is an act of an operator, so the right to send alone is not enough.
func maySend(k httpapi.Key) bool { return k.Has(httpapi.ScopeSend) && k.Has(httpapi.ScopeAdmin) }

// onlyNumber returns the only number that the API key of the session covers; empty: it covers several.
func (v *view) onlyNumber() string {
	if key := v.session.key; len(key.Numbers) == 1 && !key.CoversAll() {
		return key.Numbers[0]
	}
	return ""
}

// ordered returns the request that the form describes.
func (v *view) ordered() map[string]any {
	body := map[string]any{"message": json.RawMessage(v.field("message"))}
	for field, member := range map[string]string{"phone_number_id": "from", "class": "class", "key": "key", "ref": "ref", "send_at": "send_at"} {
		if text := v.field(field); text != "" {
			body[member] = text
		}
	}
	var tags []string
	for tag := range strings.SplitSeq(v.field("tags"), ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			tags = append(tags, tag)
		}
	}
	if len(tags) > 0 {
		body["tags"] = tags
	}
	return body
}

// checked is what a check of a message found.
type checked struct {
	Problem *problem // why it would be refused; nil: it would be accepted
	Message struct {
		message.Context
		Duplicate bool
		ExpiresAt time.Time `json:"expires_at"`
		Payload   json.RawMessage
		Warnings  []mistake
	}
	Preview []line
	Curl    string // the same request on a command line, without the API key
}

// checkMessage checks the message of the form, without sending it.
func checkMessage(v *view) (done, *problem) {
	var c checked
	if c.Problem = v.jsonProblem(); c.Problem == nil {
		body := v.ordered()
		if c.Problem = v.api("POST", "/v1/messages/check", body, &c.Message); c.Problem == nil {
			c.Preview, c.Curl = preview(c.Message.Payload), curl(body)
		}
	}
	return done{show: c}, nil
}

// jsonProblem returns what is wrong if the message of the form is not JSON.
func (v *view) jsonProblem() *problem {
	if json.Valid([]byte(v.field("message"))) {
		return nil
	}
	return &problem{Status: http.StatusUnprocessableEntity, Title: "The message is not JSON", Detail: "Correct the text of the message. Choose an example to begin again."}
}

// sendMessage sends the message of the form. The API of callers has no audit log, so the console writes the entry first.
func sendMessage(v *view) (done, *problem) {
	if failed := v.jsonProblem(); failed != nil {
		return done{}, failed
	}
	body := v.ordered()
	var c checked
	if failed := v.api("POST", "/v1/messages/check", body, &c.Message); failed != nil {
		return done{}, failed
	}
	target := fmt.Sprintf("ask to send %s from number %s", c.Message.Type, c.Message.From)
	if c.Message.ID != "" {
		target = "ask to send " + c.Message.Type + " " + c.Message.ID
	}
	var entry auditEntry
	if failed := v.console("POST", "/v1/audit", v.order(map[string]any{"target": target}), &entry); failed != nil {
		return done{}, failed
	}
	var sent struct {
		ID        string
		Duplicate bool
	}
	if failed := v.api("POST", "/v1/messages", body, &sent); failed != nil {
		return done{}, failed
	}
	text := "The message is accepted."
	if sent.Duplicate {
		text = "This message was accepted before, with the same key. It is not sent again."
	}
	return done{text: text, to: root + "messages/" + url.PathEscape(sent.ID)}, nil
}

// curl returns the command that sends a request. The API key is in a variable of the shell, so it is in no history.
func curl(body map[string]any) string {
	text, err := json.Marshal(body)
	if err != nil {
		return ""
	}
	quoted := strings.ReplaceAll(string(text), `'`, `'\''`)
	return "curl \"${SLUICE_API:-http://127.0.0.1:8080}/v1/messages\" \\\n  -H \"Authorization: Bearer $SLUICE_API_KEY\" \\\n  -H 'Content-Type: application/json' \\\n  -d '" + quoted + "'"
}

// line is a line of the preview of a message.
type line struct{ Label, Text string }

// preview returns what the recipient sees of a message, as plain text: every text, link and button, in the order in which
// people write them.
func preview(payload json.RawMessage) (lines []line) {
	var m map[string]json.RawMessage
	if json.Unmarshal(payload, &m) != nil {
		return nil
	}
	var kind string
	json.Unmarshal(m["type"], &kind) // without a type it is a text
	if kind == "" {
		kind = "text"
	}
	var content any
	if json.Unmarshal(m[kind], &content) != nil {
		return nil
	}
	return appendLines(nil, "", content)
}

// shown are the members of content that people see, in the order of a preview. Their texts are in them or in objects below them.
var shown = []string{
	"name", "language", "header", "image", "video", "document", "link", "id", "filename", "caption", "body", "text", "address", "latitude", "longitude",
	"emoji", "formatted_name", "phones", "phone", "components", "parameters", "cards", "sections", "title", "description", "rows", "button", "buttons",
	"reply", "display_text", "url", "action", "footer", "code", "payload", "coupon_code",
}

func appendLines(lines []line, label string, value any) []line {
	switch value := value.(type) {
	case string:
		return append(lines, line{label, value})
	case float64, bool:
		return append(lines, line{label, fmt.Sprint(value)})
	case []any:
		for _, element := range value {
			lines = appendLines(lines, label, element)
		}
	case map[string]any:
		for _, name := range shown {
			if member, ok := value[name]; ok {
				lines = appendLines(lines, name, member)
			}
		}
	}
	return lines
}
