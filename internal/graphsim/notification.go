package graphsim

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// The shapes of Meta's webhooks, as they are sent:
// https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/reference/messages

type notification struct {
	Object string         `json:"object"`
	Entry  []accountEntry `json:"entry"`
}

type accountEntry struct {
	ID      string   `json:"id"`
	Changes []change `json:"changes"`
}

type change struct {
	Value value  `json:"value"`
	Field string `json:"field"`
}

type value struct {
	Product  string   `json:"messaging_product"`
	Metadata metadata `json:"metadata"`
	items
	Standby *items `json:"standby,omitempty"` // of the field standby: the items are in it
}

type items struct {
	Contacts []contact  `json:"contacts,omitempty"`
	Statuses []*status  `json:"statuses,omitempty"`
	Messages []*inbound `json:"messages,omitempty"`
}

type metadata struct {
	Displayed string `json:"display_phone_number"`
	Number    string `json:"phone_number_id"`
}

type contact struct {
	Profile profile `json:"profile"`
	WaID    string  `json:"wa_id,omitempty"`
	UserID  string  `json:"user_id"`
}

type profile struct {
	Name string `json:"name"`
}

type status struct {
	ID        string        `json:"id"`
	Status    string        `json:"status"`
	Time      string        `json:"timestamp"`
	Recipient string        `json:"recipient_id,omitempty"`
	UserID    string        `json:"recipient_user_id,omitempty"`
	Kind      string        `json:"recipient_type,omitempty"`
	Marker    string        `json:"biz_opaque_callback_data,omitempty"`
	Pricing   *pricing      `json:"pricing,omitempty"`
	Errors    []statusError `json:"errors,omitempty"`
}

type pricing struct {
	Billable bool   `json:"billable"`
	Model    string `json:"pricing_model"`
	Type     string `json:"type"`
	Category string `json:"category"`
}

type statusError struct {
	Code    int       `json:"code"`
	Title   string    `json:"title"`
	Message string    `json:"message"`
	Data    errorData `json:"error_data"`
	Href    string    `json:"href"`
}

type inbound struct {
	Context     *quoted   `json:"context,omitempty"`
	From        string    `json:"from,omitempty"`
	UserID      string    `json:"from_user_id,omitempty"`
	ID          string    `json:"id"`
	Time        string    `json:"timestamp"`
	Type        string    `json:"type"`
	Text        *textBody `json:"text,omitempty"`
	Interactive any       `json:"interactive,omitempty"`
	Button      *pressed  `json:"button,omitempty"`

	System *systemChange `json:"system,omitempty"`
}

// pressed is a quick reply of a template.
type pressed struct {
	Payload string `json:"payload"`
	Text    string `json:"text"`
}

type quoted struct {
	From string `json:"from"`
	ID   string `json:"id"`
}

type textBody struct {
	Body string `json:"body"`
}

// newContact returns the person with a phone number. Meta gives everybody a business-scoped user id too:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
func newContact(phone string) contact {
	return contact{Profile: profile{"Zoë Sim"}, WaID: phone, UserID: "US." + numberOf("user"+phone)}
}

func newStatus(step, wamid string, m request, person contact, at time.Time, failed int) *status {
	s := &status{
		ID: wamid, Status: step, Time: seconds(at),
		Recipient: person.WaID, Marker: m.Marker,
	}
	if m.toUser() { // only then, Meta names the user id in the status too
		s.UserID = person.UserID
	}
	if m.Group {
		s.Kind = "group"
	}
	switch step {
	case "failed":
		known := describe(failed)
		s.Errors = []statusError{{
			Code: failed, Title: known.Title, Message: known.Title, Data: errorData{Details: known.Meaning},
			Href: "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
		}}
	case "sent", "delivered": // Meta sends the price with sent, and with one of delivered and read
		s.Pricing = &pricing{Model: "PMP", Type: "free_customer_service", Category: "service"}
		if m.Type == "template" {
			s.Pricing = &pricing{Billable: true, Model: "PMP", Type: "regular", Category: m.category}
		}
	}
	return s
}

func newTap(display, wamid string, picked choice, person contact, at time.Time) *inbound {
	in := &inbound{
		Context: &quoted{From: display, ID: wamid},
		From:    person.WaID,
		UserID:  person.UserID,
		ID:      wamid + "tap",
		Time:    seconds(at),
	}
	if picked.kind == "button" {
		in.Type, in.Button = "button", &pressed{picked.reply.ID, picked.reply.Title}
	} else {
		in.Type, in.Interactive = "interactive", map[string]any{"type": picked.kind, picked.kind: picked.reply}
	}
	return in
}

// notify returns reports as one webhook, as Meta sends it: one change for each field and
// number, contacts once.
func notify(st *standing, reports []report) []byte {
	var changes []change
	type of struct {
		number  string
		standby bool
	}
	place := map[of]int{}
	known := map[of]map[contact]bool{}
	for _, r := range reports {
		in := of{r.number, r.standby}
		i, ok := place[in]
		if !ok {
			i = len(changes)
			place[in], known[in] = i, map[contact]bool{}
			c := change{Field: "messages", Value: value{
				Product:  "whatsapp",
				Metadata: metadata{st.digits(r.number), r.number},
			}}
			if r.standby {
				c.Field, c.Value.Standby = "standby", &items{}
			}
			changes = append(changes, c)
		}
		v := &changes[i].Value.items
		if r.standby {
			v = changes[i].Value.Standby
		}
		// Meta sends no contact with failed, and none with a system message.
		if without := r.status != nil && r.status.Status == "failed" || r.inbound != nil && r.inbound.System != nil; !without && !known[in][r.person] {
			known[in][r.person] = true
			v.Contacts = append(v.Contacts, r.person)
		}
		if r.status != nil {
			v.Statuses = append(v.Statuses, r.status)
		} else {
			v.Messages = append(v.Messages, r.inbound)
		}
	}
	body, err := json.Marshal(notification{
		Object: "whatsapp_business_account",
		Entry:  []accountEntry{{ID: st.ID, Changes: changes}},
	})
	if err != nil {
		panic(err) // cannot happen: all of it can be marshalled
	}
	return escape(body)
}

// escape returns JSON as Meta signs it: ASCII only, and slashes escaped. So a receiver that parses the body before it
// checks the signature computes a wrong signature.
func escape(body []byte) []byte {
	out := make([]byte, 0, len(body)+len(body)/8)
	for len(body) > 0 {
		r, size := utf8.DecodeRune(body)
		body = body[size:]
		switch {
		case r == '/':
			out = append(out, '\\', '/')
		case r < utf8.RuneSelf:
			out = append(out, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = appendUnicode(appendUnicode(out, high), low)
		default:
			out = appendUnicode(out, r)
		}
	}
	return out
}

func appendUnicode(out []byte, r rune) []byte {
	hex := strconv.FormatInt(int64(r), 16)
	return append(append(out, `\u`...), strings.Repeat("0", 4-len(hex))+hex...)
}

// seconds returns a time as webhooks have it.
func seconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
