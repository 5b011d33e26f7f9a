package graphsim

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"sluice/internal/cloudapi"
)

// Webhook says what is reported of the messages taken, and how. Rates are shares, 0 to 1.
type Webhook struct {
	URL     string  `json:"url"`     // reports are POSTed here; empty: none are made
	Secret  string  `json:"secret"`  // the app secret that signs them
	WABA    string  `json:"waba"`    // WhatsApp Business Account id in them; empty: "102290129340398"
	Delay   Span    `json:"delay"`   // from taking to sent, and from each report of a message to its next
	Read    float64 `json:"read"`    // of delivered messages: read; voice messages are then played too
	Tap     float64 `json:"tap"`     // of messages with reply buttons or a list: read, and one tapped
	Fail    float64 `json:"fail"`    // of messages: failed with 131026 instead of sent
	Double  float64 `json:"double"`  // of reports: made twice
	Shuffle float64 `json:"shuffle"` // of messages: their reports leave together, shuffled
	Batch   int     `json:"batch"`   // most reports in a POST, up to 1,000, of those due when it leaves; 0: 1
	Senders int     `json:"senders"` // POSTs under way at once; 0: 4. With more than 1, later ones may arrive first
	Retry   Span    `json:"retry"`   // wait after a POST not answered 200, doubling from Min to Max; zero: 500ms..30s
}

// hooks decides what is reported of each message and delivers it.
type hooks struct {
	options Webhook
	metrics *metrics
	queue   *queue
	written atomic.Int64 // messages of people, see write

	mu     sync.Mutex
	chance *rand.Rand
	ok     int
	failed int
	err    string // of the latest POST that failed
}

func newHooks(o Webhook, chance *rand.Rand, m *metrics) *hooks {
	if o.WABA == "" {
		o.WABA = "102290129340398"
	}
	if o.Senders <= 0 {
		o.Senders = 4
	}
	o.Batch = min(max(o.Batch, 1), 1000)
	if o.Retry == (Span{}) {
		o.Retry = Span{500 * time.Millisecond, 30 * time.Second}
	}
	return &hooks{options: o, metrics: m, queue: newQueue(), chance: chance}
}

// report is one thing to tell: a status or an inbound message.
type report struct {
	number  string
	person  contact
	status  *status
	inbound *inbound
}

// follow plans everything that will be reported of a message that was taken.
func (h *hooks) follow(number, wamid string, m request, failed int) {
	if h.options.URL == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	hit := func(rate float64) bool { return h.chance.Float64() < rate }
	if hit(h.options.Fail) && failed == 0 {
		failed = 131026
	}
	tapped := hit(h.options.Tap) && len(m.choices) > 0
	steps := []string{"sent", "delivered"}
	if hit(h.options.Read) || tapped {
		steps = append(steps, "read")
		if m.voice {
			steps = append(steps, "played")
		}
	}
	switch {
	case failed != 0:
		steps, tapped = []string{"failed"}, false
	case m.Type == "reaction":
		steps = steps[:1] // Meta reports no more of reactions
	}

	person := personOf(m)
	var reports []report
	var due []time.Time
	at := time.Now()
	for _, step := range steps {
		at = at.Add(h.options.Delay.draw(h.chance))
		reports = append(reports, report{number: number, person: person, status: newStatus(step, wamid, m, person, at, failed)})
		due = append(due, at)
	}
	if tapped {
		at = at.Add(h.options.Delay.draw(h.chance))
		picked := m.choices[h.chance.IntN(len(m.choices))]
		reports = append(reports, report{number: number, person: person, inbound: newTap(number, wamid, picked, person, at)})
		due = append(due, at)
	}
	if hit(h.options.Shuffle) {
		h.chance.Shuffle(len(reports), func(i, j int) { reports[i], reports[j] = reports[j], reports[i] })
		for i := range due {
			due[i] = at // not before the last has happened: no report tells of the future
		}
	}
	var parcels []*parcel
	for i, r := range reports {
		parcels = append(parcels, &parcel{due: due[i], reports: []report{r}})
		if hit(h.options.Double) {
			again := due[i].Add(h.options.Delay.draw(h.chance))
			parcels = append(parcels, &parcel{due: again, reports: []report{r}})
		}
	}
	h.queue.put(parcels...)
}

// write makes a person write to a number, at once, and returns the message's id.
func (h *hooks) write(from, number, text string) string {
	now := time.Now()
	in := &inbound{
		From: from,
		ID:   fmt.Sprintf("wamid.in%d.%d", now.UnixNano(), h.written.Add(1)),
		Time: seconds(now),
		Type: "text",
		Text: &textBody{text},
	}
	h.queue.put(&parcel{due: now, reports: []report{{number: number, person: newContact(from), inbound: in}}})
	return in.ID
}

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
	Product  string     `json:"messaging_product"`
	Metadata metadata   `json:"metadata"`
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
	UserID  string  `json:"user_id,omitempty"`
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
}

type quoted struct {
	From string `json:"from"`
	ID   string `json:"id"`
}

type textBody struct {
	Body string `json:"body"`
}

func newContact(phone string) contact { return contact{Profile: profile{"Zoë Sim"}, WaID: phone} }

func personOf(m request) contact {
	if m.To == "" {
		return contact{Profile: profile{"Zoë Sim"}, UserID: m.recipient}
	}
	return newContact(m.recipient)
}

func newStatus(step, wamid string, m request, person contact, at time.Time, failed int) *status {
	s := &status{
		ID: wamid, Status: step, Time: seconds(at),
		Recipient: person.WaID, UserID: person.UserID, Marker: m.Marker,
	}
	if m.RecipientType == "group" {
		s.Kind = "group"
	}
	switch step {
	case "failed":
		known, _ := cloudapi.Lookup(failed)
		s.Errors = []statusError{{
			Code: failed, Title: known.Title, Message: known.Title, Data: errorData{Details: known.Meaning},
			Href: "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
		}}
	case "sent", "delivered": // Meta prices on sent, and on one of delivered and read
		s.Pricing = &pricing{Model: "PMP", Type: "free_customer_service", Category: "service"}
		if m.Type == "template" {
			s.Pricing = &pricing{Billable: true, Model: "PMP", Type: "regular", Category: "utility"}
		}
	}
	return s
}

func newTap(number, wamid string, picked choice, person contact, at time.Time) *inbound {
	return &inbound{
		Context: &quoted{From: displayed(number), ID: wamid},
		From:    person.WaID,
		UserID:  person.UserID,
		ID:      wamid + "tap",
		Time:    seconds(at),
		Type:    "interactive",
		Interactive: map[string]any{
			"type":      picked.kind,
			picked.kind: picked.reply,
		},
	}
}

// notify renders reports as one notification, the way Meta sends it: one change for each
// number, contacts once.
func notify(waba string, reports []report) []byte {
	var changes []change
	place := map[string]int{}
	known := map[string]map[contact]bool{}
	for _, r := range reports {
		i, ok := place[r.number]
		if !ok {
			i = len(changes)
			place[r.number], known[r.number] = i, map[contact]bool{}
			changes = append(changes, change{Field: "messages", Value: value{
				Product:  "whatsapp",
				Metadata: metadata{displayed(r.number), r.number},
			}})
		}
		v := &changes[i].Value
		// Meta sends no contact with failed.
		if failed := r.status != nil && r.status.Status == "failed"; !failed && !known[r.number][r.person] {
			known[r.number][r.person] = true
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
		Entry:  []accountEntry{{ID: waba, Changes: changes}},
	})
	if err != nil {
		panic(err) // nothing in it can fail to marshal
	}
	return escape(body)
}

// escape writes JSON as Meta does before it signs: ASCII only, and slashes escaped, so that
// who parses before verifying gets the signature wrong.
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

// seconds is a time as webhooks carry it.
func seconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
