package graphsim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Webhook says which webhooks are sent about accepted messages, and how. Rates are shares, 0 to 1.
type Webhook struct {
	URL     string  `json:"url"`     // reports are POSTed here; empty: none are made
	Secret  string  `json:"secret"`  // the app secret that signs them
	WABA    string  `json:"waba"`    // short for Account.ID
	Delay   Span    `json:"delay"`   // from the acceptance to sent, and from each report of a message to the next one
	Read    float64 `json:"read"`    // of delivered messages: read; voice messages are then played too
	Tap     float64 `json:"tap"`     // of messages with reply buttons, quick replies or a list: read, and one tapped
	Fail    float64 `json:"fail"`    // of messages: failed with 131026 instead of sent
	Double  float64 `json:"double"`  // of reports: made twice
	Shuffle float64 `json:"shuffle"` // of messages: their reports leave together, shuffled
	Batch   int     `json:"batch"`   // most reports in a POST, up to 1,000, of those due when it leaves; 0: 1
	Senders int     `json:"senders"` // POSTs at the same time; 0: 4. With more than 1, later ones may arrive first
	Retry   Span    `json:"retry"`   // wait after a POST not answered 200, doubling from Min to Max; zero: 500ms..30s
}

// hooks decides which webhooks are sent about each message, and delivers them.
type hooks struct {
	options  Webhook
	metrics  *metrics
	standing *atomic.Pointer[standing]
	wrote    func(number, person string, at time.Time)
	reported func(wamid string, at time.Time) // called when a status other than failed goes out
	queue    *queue
	history  *history
	serial   atomic.Int64 // inbound messages, see write
	users    sync.Map     // by phone number: the user ids that changed

	conversations conversations

	mu     sync.Mutex
	chance *rand.Rand
	ok     int
	failed int
	err    string // of the latest POST that failed
}

func newHooks(o Webhook, chance *rand.Rand, m *metrics, st *atomic.Pointer[standing], wrote func(string, string, time.Time), reported func(string, time.Time)) *hooks {
	if o.Senders <= 0 {
		o.Senders = 4
	}
	o.Batch = min(max(o.Batch, 1), 1000)
	if o.Retry == (Span{}) {
		o.Retry = Span{500 * time.Millisecond, 30 * time.Second}
	}
	return &hooks{options: o, metrics: m, standing: st, wrote: wrote, reported: reported, queue: newQueue(), history: newHistory(), chance: chance}
}

// report is a status or an inbound message to send.
type report struct {
	at      time.Time // when it happened
	number  string
	person  contact
	status  *status
	inbound *inbound
	standby bool // in a conversation that another app owns
}

// follow plans all reports of an accepted message.
func (h *hooks) follow(number, wamid string, m request, failed int) {
	to, ok := h.target("messages", number)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	reports := h.story(number, wamid, m, failed)
	last := reports[len(reports)-1].at
	shuffled := h.hit(h.options.Shuffle)
	if shuffled {
		h.chance.Shuffle(len(reports), func(i, j int) { reports[i], reports[j] = reports[j], reports[i] })
	}
	var parcels []*parcel
	for _, r := range reports {
		due := r.at
		if shuffled {
			due = last // no report has a time in the future
		}
		parcels = append(parcels, &parcel{due: due, url: to, reports: []report{r}})
		if h.hit(h.options.Double) {
			again := due.Add(h.options.Delay.draw(h.chance))
			parcels = append(parcels, &parcel{due: again, url: to, reports: []report{r}})
		}
	}
	h.queue.put(parcels...)
}

// story chooses randomly what happens to a message, in order.
func (h *hooks) story(number, wamid string, m request, failed int) []report {
	fails, taps, reads := h.hit(h.options.Fail), h.hit(h.options.Tap), h.hit(h.options.Read)
	if fails && failed == 0 {
		failed = 131026
	}
	taps = taps && failed == 0 && len(m.choices) > 0
	steps := []string{"sent", "delivered"}
	switch {
	case failed != 0:
		steps = []string{"failed"}
	case m.Type == "reaction":
		steps = []string{"sent"} // Meta sends no other status of reactions
	case reads && m.voice:
		steps = append(steps, "read", "played")
	case reads || taps:
		steps = append(steps, "read")
	}

	next := report{at: time.Now(), number: number, person: h.person(m.recipient)}
	var reports []report
	for _, step := range steps {
		next.at = next.at.Add(h.options.Delay.draw(h.chance))
		next.status = newStatus(step, wamid, m, next.person, next.at, failed)
		reports = append(reports, next)
	}
	if taps {
		next.at = next.at.Add(h.options.Delay.draw(h.chance))
		picked := m.choices[h.chance.IntN(len(m.choices))]
		next.status, next.inbound = nil, newTap(h.standing.Load().digits(number), wamid, picked, next.person, next.at)
		reports = append(reports, next)
		h.wrote(number, m.recipient, next.at)
	}
	return reports
}

// target returns the URL of webhooks of a field, and false if there is none.
func (h *hooks) target(field, number string) (url string, ok bool) {
	st := h.standing.Load()
	n, _ := st.number(number, 0)
	return cmp.Or(st.callback(field, n), h.options.URL), h.options.URL != "" && st.subscribed(field)
}

func (h *hooks) hit(rate float64) bool { return h.chance.Float64() < rate }

// write makes n inbound messages to a number, this long ago, and sends their webhooks at once. replyTo is Meta's id of the
// message that they reply to, or empty. write returns the id of the first message, and false if no webhook is sent.
func (h *hooks) write(from, number, text, replyTo string, n int, ago time.Duration) (id string, ok bool) {
	person := h.person(from)
	standby := h.conversations.elsewhere(number, person)
	field := "messages"
	if standby {
		field = "standby"
	}
	to, ok := h.target(field, number)
	if !ok {
		return "", false
	}
	now := time.Now()
	at := now.Add(-ago)
	parcels := make([]*parcel, n)
	for i := range parcels {
		in := &inbound{
			From:   person.WaID,
			UserID: person.UserID,
			ID:     fmt.Sprintf("wamid.in%d.%d", now.UnixNano(), h.serial.Add(1)),
			Time:   seconds(at),
			Type:   "text",
			Text:   &textBody{text},
		}
		if replyTo != "" {
			in.Context = &quoted{From: h.standing.Load().digits(number), ID: replyTo}
		}
		if i == 0 {
			id = in.ID
		}
		parcels[i] = &parcel{due: now, url: to, reports: []report{{at: at, number: number, person: person, inbound: in, standby: standby}}}
	}
	h.wrote(number, from, at)
	h.queue.put(parcels...)
	return id, true
}
