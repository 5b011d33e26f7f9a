package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// maxBody is the most a request may have, in bytes.
const maxBody = 256 << 10

// post serves POST /v1/messages.
func (in *Intake) post(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	wait, refused := waitOf(r)
	var a message.Acceptance
	if refused == nil {
		a, refused = in.submit(w, r, start)
	}
	if refused != nil {
		in.metrics.observe(result(refused.Status()), start)
		refused.Write(w)
		return
	}
	status, label := http.StatusAccepted, resultAccepted
	if a.Duplicate {
		w.Header().Set("Idempotent-Replayed", "true")
		status, label = http.StatusOK, resultDuplicate
	}
	in.metrics.observe(label, start)
	shown := show(a)
	if wait {
		in.follow(w, r, &shown)
	}
	httpapi.WriteJSON(w, "application/json", status, shown)
}

// acceptance is a message.Acceptance as the API shows it.
type acceptance struct {
	ID        string        `json:"id" doc:"The message's name, for ever."`
	State     message.State `json:"state" doc:"Where the message is now."`
	Class     message.Class `json:"class" doc:"The one that was asked for, or what follows from its type."`
	ExpiresAt time.Time     `json:"expires_at" doc:"No attempt starts after this."`
	Duplicate bool          `json:"duplicate" doc:"It was accepted before, under the same key."`
	WAMID     string        `json:"wamid,omitempty" doc:"Meta's id of the message, when it was waited for and came."`
	Code      int           `json:"code,omitempty" doc:"Meta's error code, when it was waited for Meta's answer."`
	Reason    string        `json:"reason,omitempty" doc:"Why it is in this state, when it was waited for."`
}

func show(a message.Acceptance) acceptance {
	return acceptance{ID: a.ID, State: a.State, Class: a.Class, ExpiresAt: a.ExpiresAt.UTC(), Duplicate: a.Duplicate}
}

// submit checks a request from the outside in and hands its message over.
func (in *Intake) submit(w http.ResponseWriter, r *http.Request, now time.Time) (message.Acceptance, refusal) {
	var none message.Acceptance
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeSend)
	if refused != nil {
		return none, refused
	}
	idempotency, refused := checkHeader(r.Header)
	if refused != nil {
		return none, refused
	}
	body, refused := readBody(w, r)
	if refused != nil {
		return none, refused
	}
	document, refused := strict(body)
	if refused != nil {
		return none, refused
	}
	e := open(document)
	m := e.order(idempotency)
	return in.hand(r.Context(), w.Header(), key, e, m, now)
}

// hand hands over the message that was read from e, if all is well with it. What its caller
// should know beside the answer goes into header.
func (in *Intake) hand(ctx context.Context, header http.Header, key httpapi.Key, e *envelope, m message.Message, now time.Time) (message.Acceptance, refusal) {
	var none message.Acceptance
	if message.IsNumberID(m.From) && !(key.Covers(m.From) && in.o.Numbers(m.From)) {
		return none, refuseAt("from", "phone_not_found")
	}
	if own := in.o.Own(m.From); own != "" && strings.TrimPrefix(m.Content.To, "+") == own[1:] { // at Meta's path To may have no plus
		e.refuse("message.to", "recipient_is_sender")
	}
	if m.SendAt.After(now.Add(maxAhead)) {
		e.refuse("send_at", "schedule_too_far")
	}
	if len(e.problems) > 0 {
		return none, e.problems
	}
	if m.Key != "" { // without one no other request can mean this message
		m.Hash = asked{m.From, m.Class, m.Ref, m.Tags, m.SendAt, m.ExpiresAt, e.members["message"]}.hash()
	}
	in.complete(&m, now)
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if !m.ExpiresAt.After(now) {
		return in.late(ctx, m)
	}
	if wait := in.wait(ctx, m, now); now.Add(wait).After(m.ExpiresAt) {
		if refused := in.unreachable(ctx, header, m, wait); refused != nil {
			return none, refused
		}
	}
	return in.accept(ctx, m)
}

// checkHeader reads the Idempotency-Key and refuses bodies that are not plain JSON.
func checkHeader(h http.Header) (idempotency *string, refused refusal) {
	if media, _, err := mime.ParseMediaType(h.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, refuse("unsupported_media_type")
	}
	if encoding := h.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, refuse("encoding_not_supported")
	}
	switch keys := h.Values("Idempotency-Key"); len(keys) {
	case 0:
		return nil, nil
	case 1:
		return &keys[0], nil
	default:
		return nil, refuseAt("Idempotency-Key", "header_duplicate")
	}
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, refusal) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		return body, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, refuse("body_too_large")
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return nil, refuse("timeout")
	}
	return nil, refuse("json_invalid") // cut off
}

// complete fills in what follows from a checked message and the time it came.
func (in *Intake) complete(m *message.Message, now time.Time) {
	m.ID = message.NewID(m.From, m.Key)
	if m.Class == "" {
		m.Class = message.DefaultClass(m.Content.Type)
	}
	if m.ExpiresAt.IsZero() {
		begin := now
		if m.SendAt.After(now) {
			begin = m.SendAt
		}
		m.ExpiresAt = begin.Add(in.o.Policy(m.From, m.Class).Deadline).UTC().Truncate(time.Millisecond)
	}
}

// accept hands a message over. Only its success means that the message is durable.
func (in *Intake) accept(ctx context.Context, m message.Message) (message.Acceptance, refusal) {
	a, err := in.o.Acceptor.Accept(ctx, m)
	switch {
	case errors.Is(err, message.ErrKeyReused):
		return a, refuseAt("key", "idempotency_key_reused")
	case errors.Is(err, message.ErrFull):
		return a, refuse("overloaded")
	case err != nil:
		in.o.Log.Error("message not accepted", "msg_id", m.ID, "phone_number_id", m.From, "err", err)
		return a, refuse("store_unavailable")
	}
	return a, nil
}

// late answers for a message that expires before it came: with an earlier acceptance where
// the request repeats one, since a caller who repeats himself asks what became of it.
func (in *Intake) late(ctx context.Context, m message.Message) (message.Acceptance, refusal) {
	expired := refuseAt("expires_at", "ttl_invalid")
	if m.Key == "" {
		return message.Acceptance{}, expired
	}
	rec, refused := in.find(ctx, m.ID)
	if refused != nil && refused.Status() != http.StatusNotFound {
		return message.Acceptance{}, refused
	}
	same := rec.ExpiresAt.Equal(m.ExpiresAt) && rec.Type == m.Content.Type && rec.To == message.Mask(m.Content.Recipient())
	if !same {
		return message.Acceptance{}, expired
	}
	return message.Acceptance{ID: m.ID, State: rec.State, Class: rec.Class, ExpiresAt: rec.ExpiresAt, Duplicate: true}, nil
}

// wait is how long the messages before m will take; 0 when that is not known, or when m is for
// later: what waits now may be gone by then.
func (in *Intake) wait(ctx context.Context, m message.Message, now time.Time) time.Duration {
	if in.o.Drain == nil || m.SendAt.After(now) {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	wait, err := in.o.Drain(ctx, m.From, m.Class)
	if err != nil {
		return 0
	}
	return wait
}

// unreachable refuses a message that would wait beyond its deadline. It refuses no repeat of
// one that was accepted: the caller is to learn what became of that.
func (in *Intake) unreachable(ctx context.Context, header http.Header, m message.Message, wait time.Duration) refusal {
	if m.Key != "" {
		_, refused := in.find(ctx, m.ID)
		if refused == nil || refused.Status() != http.StatusNotFound {
			return refused
		}
	}
	seconds := int(math.Ceil(wait.Seconds()))
	header.Set("Retry-After", strconv.Itoa(seconds))
	p := problem("expires_at", "deadline_unreachable")
	p.Detail = fmt.Sprintf("What this number has to send before would take about %s; the message would expire before its turn.", time.Duration(seconds)*time.Second)
	return refusal{p}
}
