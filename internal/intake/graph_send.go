package intake

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"strings"
	"time"

	"sluice/internal/content"
	"sluice/internal/httpapi"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// graphAccepted is Meta's answer to a request to send.
type graphAccepted struct {
	Product  string         `json:"messaging_product,omitempty" doc:"whatsapp"`
	Contacts []graphContact `json:"contacts,omitempty" doc:"One entry, the recipient."`
	Messages []graphMessage `json:"messages,omitempty" doc:"One entry, the message."`
	Success  bool           `json:"success,omitempty" doc:"Only after a mark as read, from Meta: it is then the only member."`
}

type graphContact struct {
	Input  string `json:"input" doc:"The recipient as in the request."`
	WAID   string `json:"wa_id,omitempty" doc:"The digits of the recipient's phone number. Meta's webhooks have the real WhatsApp id, which can differ."`
	UserID string `json:"user_id,omitempty" doc:"The business-scoped user id."`
}

type graphMessage struct {
	ID     string `json:"id" doc:"Sluice's id of the message. The record and the events have Meta's id. With Sluice-Wait: Meta's id, if Meta accepted the message in time."`
	Status string `json:"message_status,omitempty" doc:"accepted, for templates."`
}

// graphSend serves POST /{version}/{phone_number_id}/messages and marketing_messages.
func (in *Intake) graphSend(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	key, refused := in.graphKey(r, httpapi.ScopeSend)
	var idempotency *string
	var wait bool
	if refused == nil {
		idempotency, refused = graphHeader(r.Header)
	}
	if refused == nil {
		wait, refused = graphWait(r.Header)
	}
	var m message.Message
	var given string
	if refused == nil {
		var mark bool
		if m, given, mark, refused = in.readGraph(w, r, key, idempotency, in.now()); mark {
			return
		}
	}
	var a message.Acceptance
	if refused == nil {
		a, refused = in.acceptTraced(r, w.Header(), &m, in.now())
	}
	if refused != nil {
		in.metrics.observe(r.Context(), result(refused.Status()), start)
		in.graphRefuse(w, r, refused)
		return
	}
	w.Header().Set("Sluice-Message-Id", a.ID)
	label := resultAccepted
	if a.Duplicate {
		w.Header().Set("Idempotent-Replayed", "true")
		label = resultDuplicate
	}
	in.metrics.observe(r.Context(), label, start)
	if warnings := unknownIn(m.Content).warnings(); len(warnings) > 0 { // Meta's answer has no member for them
		var codes []string
		for _, p := range warnings {
			codes = append(codes, p.Code)
		}
		w.Header().Set("Sluice-Warning", strings.Join(codes, ", "))
	}
	sent := graphMessage{ID: a.ID}
	if wait {
		rec := in.follow(w, r, a.ID)
		if rec.State == "" {
			rec.State = a.State
		}
		w.Header().Set("Sluice-State", string(rec.State))
		switch {
		case rec.WAMID != "":
			sent.ID = rec.WAMID
		case rec.State.Final():
			in.graphEnded(w, rec)
			return
		}
	}
	contact := graphContact{Input: given, WAID: strings.TrimPrefix(m.Content.To, "+")}
	if m.Content.To == "" {
		contact = graphContact{Input: m.Content.UserID, UserID: m.Content.UserID}
	}
	if m.Content.Type == "template" {
		sent.Status = "accepted"
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, graphAccepted{Product: "whatsapp", Contacts: []graphContact{contact}, Messages: []graphMessage{sent}})
}

// graphEnded answers for a message that ended without being accepted by Meta, with Meta's own error if there is one.
func (in *Intake) graphEnded(w http.ResponseWriter, rec message.Record) {
	code := rec.Code
	if !message.HasCode(rec.Code, rec.Reason) {
		code = 131000 // Meta's code for an unknown error
	}
	e := graphError{
		Message: in.graphTitle(code, http.StatusBadRequest), Type: "OAuthException", Code: code, Subcode: rec.Detail.Subcode,
		Data: &graphDetail{"whatsapp", rec.Detail.Details}, Trace: rec.Detail.Trace,
	}
	if rec.Detail.Message != "" {
		e.Message = rec.Detail.Message
	}
	if e.Trace == "" {
		e.Trace = w.Header().Get("X-Request-Id")
	}
	if e.Data.Details == "" {
		e.Data.Details = strings.TrimSpace("The message is " + string(rec.State) + ", and Meta did not accept it. " + rec.Reason)
	}
	httpapi.WriteJSON(w, "application/json", http.StatusBadRequest, graphFailure{e})
}

// graphHeader returns the header Idempotency-Key, and refuses bodies that are declared neither as JSON nor as a form.
func graphHeader(h http.Header) (idempotency *string, refused refusal) {
	if refused := httpapi.CheckMedia(h, "application/json", formMedia, multipartMedia); refused != nil {
		return nil, refused
	}
	return idempotencyKey(h)
}

// graphWait reads the header Sluice-Wait.
func graphWait(h http.Header) (wait bool, refused refusal) {
	switch values := h.Values("Sluice-Wait"); {
	case len(values) == 0:
		return false, nil
	case len(values) > 1 || values[0] != "submitted":
		return false, refuseAt("Sluice-Wait", "wait_invalid")
	}
	return true, nil
}

// graphPut serves PUT /{version}/{phone_number_id}/messages: it marks a message as read.
func (in *Intake) graphPut(w http.ResponseWriter, r *http.Request) {
	key, refused := in.graphKey(r, httpapi.ScopeSend)
	if refused == nil {
		_, refused = graphHeader(r.Header)
	}
	if refused == nil {
		e := newEnvelope()
		defer e.free()
		if refused = e.readMessage(w, r); refused == nil {
			if object := e.body.Root(); content.IsMark(object) {
				in.graphMark(w, r, key, e)
				return
			}
			refused = graphRefusal("put_without_status")
		}
	}
	in.graphRefuse(w, r, refused)
}

// readGraph returns the message of a request to Meta's own path, and its recipient as given. If the request marks a
// message as read, readGraph forwards it, answers, and returns mark.
func (in *Intake) readGraph(w http.ResponseWriter, r *http.Request, key httpapi.Key, idempotency *string, now time.Time) (m message.Message, given string, mark bool, refused refusal) {
	e := newEnvelope()
	defer e.free()
	if refused = e.readMessage(w, r); refused != nil {
		return m, "", false, refused
	}
	marketing := strings.HasSuffix(r.URL.Path, "/marketing_messages")
	if content.IsMark(e.body.Root()) && !marketing {
		in.graphMark(w, r, key, e)
		return m, "", true, nil
	}
	plain := false
	m = e.readAll(idempotency, func() {
		object := e.body.Root()
		given, _ = object.Get("to").Text()
		plain = assumeMeta(object)
		if marketing {
			e.assumeMarketing(object)
		}
		e.openHeaders(r)
		e.message = object
	})
	if plain { // Meta interprets it
		m.Content.To = strings.TrimPrefix(m.Content.To, "+")
	}
	if !e.message.Get("messaging_product").Present() {
		e.refuse("message.messaging_product", "messaging_product_missing")
	}
	return m, given, false, in.check(e, &m, key, now)
}

// graphHeaders are the members of a request that are headers on Meta's own path.
var graphHeaders = map[string]string{
	"class": "Sluice-Class", "ref": "Sluice-Ref", "tags": "Sluice-Tags", "send_at": "Sluice-Send-At", "expires_at": "Sluice-Expires-At",
}

// openHeaders reads the members of a request from its path and headers. It refuses an empty header, which is
// probably a mistake of the caller.
func (e *envelope) openHeaders(r *http.Request) {
	e.headers.Reset()
	e.headers.AddText("from", r.PathValue("phone_number_id"))
	for member, header := range graphHeaders {
		values := r.Header.Values(header)
		if len(values) == 0 {
			continue
		}
		value := values[0]
		switch {
		case len(values) > 1:
			e.refuse(member, "header_duplicate")
		case value == "":
			e.refuse(member, "value_empty")
		case member == "tags":
			var tags []string
			for tag := range strings.SplitSeq(value, ",") {
				tags = append(tags, strings.TrimSpace(tag))
			}
			e.headers.AddTexts(member, tags)
		default:
			e.headers.AddText(member, value)
		}
	}
	e.open(e.headers.Root())
}

var digits = regexp.MustCompile(`^[0-9 ().-]+$`)

// assumeMeta accepts a phone number without a plus, as Meta does, and reports it. Meta interprets it, perhaps as a
// number in the country of the sender.
func assumeMeta(object jsondoc.Value) (plain bool) {
	to := object.Get("to")
	kind, _ := object.Get("recipient_type").Text()
	if digit, _ := to.Text(); !strings.EqualFold(kind, "group") && digits.MatchString(digit) {
		to.SetText("+" + digit)
		plain = true
	}
	return plain
}

// assumeMarketing adds Meta's default policy to a message for the Marketing Messages API. It marks the message as one.
func (e *envelope) assumeMarketing(object jsondoc.Value) {
	switch policy := object.Get("product_policy"); policy.Kind() {
	case jsondoc.Absent:
		e.body.AddText("product_policy", content.DefaultPolicy)
	case jsondoc.Null:
		policy.SetText(content.DefaultPolicy)
	}
}

// graphMark forwards the request in e that marks a message as read, or shows a typing indicator. If it names the message
// by Sluice's id, Meta's id takes its place.
func (in *Intake) graphMark(w http.ResponseWriter, r *http.Request, key httpapi.Key, e *envelope) {
	number := r.PathValue("phone_number_id")
	var mark content.Mark
	for range maxEmbedded {
		var problems []message.Problem
		if mark, problems = content.CheckMark(e.body.Root()); len(problems) == 0 {
			break
		} else if !e.inline(e.body.Root()) {
			in.graphRefuse(w, r, problems)
			return
		}
	}
	refused := in.reachable(key, number)
	body := []byte(e.body.Root().Raw()) // a copy: the transport may read the body after e.free
	if isMessageID(mark.MessageID) && refused == nil {
		var wamid string
		if wamid, refused = in.translate(r.Context(), number, mark.MessageID); refused == nil {
			body = e.body.Root().AppendWithout(nil, "message_id")
			body = append(jsondoc.AppendString(append(body[:len(body)-1], `,"message_id":`...), wamid), '}')
		}
	}
	if refused != nil {
		in.graphRefuse(w, r, refused)
		return
	}
	r = r.Clone(r.Context())
	r.Method = http.MethodPost
	r.Header.Set("Content-Type", "application/json")
	setBody(r, bytes.Clone(body))
	in.forward(w, r, number, passTime)
}

// translate returns Meta's id of a message of a number.
func (in *Intake) translate(ctx context.Context, number, id string) (string, refusal) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if of, _ := message.Number(id); of != number {
		return "", refuse("message_of_other_number")
	}
	rec, refused := in.find(ctx, id)
	switch {
	case refused != nil && refused.Status() == http.StatusNotFound, refused == nil && rec.WAMID == "":
		return "", graphRefusal("message_not_sent")
	}
	return rec.WAMID, refused
}

// translateQuery puts Meta's id in place of Sluice's into the message_id of a query.
func (in *Intake) translateQuery(r *http.Request, number string) refusal {
	query := r.URL.Query()
	id := query.Get("message_id")
	if !isMessageID(id) {
		return nil
	}
	wamid, refused := in.translate(r.Context(), number, id)
	if refused == nil {
		query.Set("message_id", wamid)
		r.URL.RawQuery = query.Encode()
	}
	return refused
}
