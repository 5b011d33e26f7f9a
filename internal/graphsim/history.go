package graphsim

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// historyKept is the number of messages whose statuses are kept.
const historyKept = 10_000

// history has the statuses of the latest messages, as webhooks reported them.
type history struct {
	mu       sync.Mutex
	order    []string // wamids, oldest first
	messages map[string]*reported
}

// reported are the statuses of a message.
type reported struct {
	number string
	events []toldEvent
}

type toldEvent struct {
	status  string
	at      time.Time
	tries   int
	arrived bool
}

func newHistory() *history { return &history{messages: map[string]*reported{}} }

// add records that the webhook of a status was sent, and whether it was answered with 200.
func (h *history) add(number string, s *status, at time.Time, arrived bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.messages[s.ID]
	if m == nil {
		m = &reported{number: number}
		h.messages[s.ID] = m
		if h.order = append(h.order, s.ID); len(h.order) > historyKept {
			delete(h.messages, h.order[0])
			h.order = h.order[1:]
		}
	}
	for i := range m.events {
		if e := &m.events[i]; e.status == s.Status {
			e.tries++
			e.arrived = e.arrived || arrived
			return
		}
	}
	m.events = append(m.events, toldEvent{s.Status, at, 1, arrived})
}

// messageHistory answers GET /{version}/{number}/message_history:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/reference/whatsapp-business-phone-number/whatsapp-business-account-message-history-api
func (s *Sim) messageHistory(w http.ResponseWriter, r *http.Request) {
	n, ok := s.ofNumber(w, r, scopeManagement, scopeMessaging)
	if !ok {
		return
	}
	wanted := r.URL.Query().Get("message_id")
	withEvents := wanted != "" || strings.Contains(r.URL.Query().Get("fields"), "events")
	data := []any{}
	h := s.hooks.history
	h.mu.Lock()
	for i := len(h.order) - 1; i >= 0; i-- { // the latest first
		id := h.order[i]
		if m := h.messages[id]; m.number == n.ID && (wanted == "" || wanted == id) {
			entry := map[string]any{"id": numberOf("history" + id), "message_id": id}
			if withEvents {
				entry["events"] = map[string]any{"data": s.events(id, m)}
			}
			data = append(data, entry)
		}
	}
	h.mu.Unlock()
	if wanted != "" && len(data) == 0 {
		s.deny(w, invalid("The requested message_id was not found in the message history"))
		return
	}
	s.succeed(w, page(r, data))
}

// historyEvents answers GET /{version}/{history}/events.
func (s *Sim) historyEvents(w http.ResponseWriter, r *http.Request) {
	h := s.hooks.history
	h.mu.Lock()
	var found []any
	for id, m := range h.messages {
		if numberOf("history"+id) == r.PathValue("id") {
			found = s.events(id, m)
			break
		}
	}
	h.mu.Unlock()
	if found == nil {
		s.unsupported(w, r)
		return
	}
	s.succeed(w, page(r, found))
}

// events returns the statuses of a message as Meta lists them. The caller holds the lock of the history.
func (s *Sim) events(id string, m *reported) []any {
	data := []any{}
	for _, e := range m.events {
		state := "DELIVERED"
		switch {
		case e.arrived:
		case e.tries > 1:
			state = "RETRYING"
		default:
			state = "PENDING"
		}
		data = append(data, map[string]any{
			"id": numberOf("event" + id + e.status), "delivery_status": strings.ToUpper(e.status), "timestamp": e.at.Unix(),
			"webhook_update_state": state, "webhook_uri": s.options.Webhook.URL, "application": map[string]string{"id": s.standing.Load().App.ID},
		})
	}
	return data
}
