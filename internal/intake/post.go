package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/content"
	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/tracing"
)

// maxBody is the maximum size of a request, in bytes.
const maxBody = 256 << 10

// post serves POST /v1/messages.
func (in *Intake) post(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	wait, refused := waitOf(r)
	var shown acceptedMessage
	if refused == nil {
		shown, refused = in.submit(w, r, in.now())
	}
	if refused != nil {
		in.metrics.observe(r.Context(), result(refused.Status()), start)
		refused.Write(w)
		return
	}
	status, label := http.StatusAccepted, resultAccepted
	if shown.Duplicate {
		w.Header().Set("Idempotent-Replayed", "true")
		status, label = http.StatusOK, resultDuplicate
	}
	in.metrics.observe(r.Context(), label, start)
	if wait {
		if rec := in.follow(w, r, shown.ID); rec.State != "" {
			shown.State, shown.WAMID, shown.Code, shown.Reason = rec.State, rec.WAMID, rec.Code, rec.Reason
		}
	}
	httpapi.WriteBytes(w, "application/json", status, append(shown.append(make([]byte, 0, 256)), '\n'))
}

// acceptedMessage is a message.Acceptance as the API shows it.
type acceptedMessage struct {
	ID        string        `json:"id" doc:"Sluice's id of the message. It never changes."`
	State     message.State `json:"state" doc:"The state of the message now."`
	Class     message.Class `json:"class" doc:"The class of the request, or its default: see MessageRequest."`
	ExpiresAt time.Time     `json:"expires_at" doc:"No attempt starts after this time."`
	Duplicate bool          `json:"duplicate" doc:"true: an earlier request with the same idempotency key was accepted. No new message is sent."`
	WAMID     string        `json:"wamid,omitempty" doc:"Meta's id of the message. Only with ?wait=submitted, and if Meta accepted the message in time. Never in a batch."`
	Code      int           `json:"code,omitempty" doc:"Meta's error code. Only with ?wait=submitted. Never in a batch."`
	Reason    string        `json:"reason,omitempty" doc:"Why the message is in this state. Only with ?wait=submitted. Never in a batch."`

	Warnings []message.Problem `json:"warnings,omitempty" doc:"Possible mistakes. The message was accepted."`
}

func show(a message.Acceptance, u unknown) acceptedMessage {
	return acceptedMessage{ID: a.ID, State: a.State, Class: a.Class, ExpiresAt: a.ExpiresAt.UTC(), Duplicate: a.Duplicate, Warnings: u.warnings()}
}

// The codes of the warnings.
const (
	warningType   = "type_unknown"
	warningMember = "member_unknown"
	warningStale  = "template_unchecked"
	warningOther  = "fallback_used"
)

// unknown is what this version does not know in Meta's object.
type unknown struct {
	kind   string // the member with the type; empty: the type is known
	member string // the path of a member; empty: all are known
	stale  bool   // what is known of the template is too old

	instead string // the message has the fallback template of the request in place of this, see message.Content; empty: it does not
}

func unknownIn(c message.Content) unknown {
	return unknown{c.Unknown, c.Extra, c.Unchecked, c.Instead}
}

// warnings returns the warnings for the caller.
func (u unknown) warnings() (all []message.Problem) {
	if u.kind != "" {
		all = append(all, message.Problem{
			Path: "message." + u.kind, Code: warningType,
			Detail: "This version of Sluice does not know this type. The content was not checked, and Meta may refuse it.",
			Fix:    "Check the spelling of the type.",
		})
	}
	if u.member != "" {
		all = append(all, message.Problem{
			Path: "message." + u.member, Code: warningMember,
			Detail: "This version of Sluice does not know this member. It goes to Meta unchanged, and Meta may refuse it or ignore it.",
			Fix:    "Check the spelling of the member.",
		})
	}
	if u.stale {
		all = append(all, message.Problem{
			Path: "message.template", Code: warningStale,
			Detail: "Sluice has not read the templates of the account from Meta for too long. The message was not compared with its template, and Meta may refuse it.",
			Fix:    "The log of the workers says why: cannot read the templates of an account from Meta.",
		})
	}
	switch {
	case strings.Contains(u.instead, "/"): // a template as name/language
		all = append(all, message.Problem{
			Path: "fallback_template", Code: warningOther,
			Detail: "Meta does not send messages of the template now. Sluice sends the fallback template in its place.",
			Fix:    "GET /v1/templates of the console shows the status of the template.",
		})
	case u.instead != "":
		all = append(all, message.Problem{
			Path: "fallback_template", Code: warningOther,
			Detail: "The customer service window of the recipient is closed. Sluice sends the fallback template in place of the message.",
			Fix:    "None is needed. When the recipient writes, free-form messages are sent again.",
		})
	}
	return all
}

// submit checks a request and accepts its message.
func (in *Intake) submit(w http.ResponseWriter, r *http.Request, now time.Time) (acceptedMessage, refusal) {
	m, refused := in.requested(w, r, now)
	if refused != nil {
		return acceptedMessage{}, refused
	}
	a, refused := in.acceptTraced(r, w.Header(), &m, now)
	return show(a, unknownIn(m.Content)), refused
}

// requested returns the message of a request, checked from the outside in: key, headers, body.
func (in *Intake) requested(w http.ResponseWriter, r *http.Request, now time.Time) (message.Message, refusal) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeSend)
	if refused != nil {
		return message.Message{}, refused
	}
	idempotency, refused := checkHeader(r.Header)
	if refused != nil {
		return message.Message{}, refused
	}
	return in.readPost(w, r, key, idempotency, now)
}

// readPost returns the message of a request whose headers are checked.
func (in *Intake) readPost(w http.ResponseWriter, r *http.Request, key httpapi.Key, idempotency *string, now time.Time) (m message.Message, refused refusal) {
	e := newEnvelope()
	defer e.free()
	if refused = e.readBody(w, r); refused != nil {
		return m, refused
	}
	m = e.readAll(idempotency, func() { e.open(e.body.Root()) })
	return m, in.check(e, &m, key, now)
}

// check checks what needs the configuration and the time, and completes the message. The envelope may be freed
// afterwards.
func (in *Intake) check(e *envelope, m *message.Message, key httpapi.Key, now time.Time) refusal {
	if message.IsNumberID(m.From) && !(key.Covers(m.From) && in.o.Accepts(m.From)) {
		return refuseAt("from", "phone_number_id_not_found")
	}
	owner := in.o.Owner(m.From)
	if m.Client = key.Client; m.Client == "" {
		m.Client = owner
	}
	if m.Client != owner && m.After.ID != "" && e.after.key.Present() {
		id, _ := e.after.key.Text()
		m.After.ID = in.idOf(m.From, m.Client, id)
	}
	if own := in.o.Own(m.From); own != "" && strings.TrimPrefix(m.Content.To, "+") == own[1:] { // on Meta's own path To may lack the plus
		e.refuse("message.to", "recipient_is_sender")
	}
	if path := content.OtherNumber(e.message, m.From); path != "" && message.IsNumberID(m.From) {
		e.refuse("message."+path, "message_of_other_number")
	}
	if m.SendAt.After(now.Add(maxAhead)) {
		e.refuse("send_at", "send_at_too_far")
	}
	if m.ExpiresAt.After(now.Add(maxAhead)) {
		e.refuse("expires_at", "expires_at_too_far")
	}
	if m.Content.Unknown != "" && !in.o.Refuse(m.From) {
		e.problems = slices.DeleteFunc(e.problems, content.IsUnknownKind)
	}
	if len(e.problems) > 0 {
		return e.problems
	}
	e.finish(m)
	in.earlier(e, m)
	m.Account = cmp.Or(m.Content.Account, key.Account, in.o.Account(m.From))
	problems := append(in.useUploads(m), in.chooseTemplate(e, m)...)
	if m.Campaign != "" && in.o.Cancelled != nil && in.o.Cancelled(message.Flow{Client: m.Client, Campaign: m.Campaign}) {
		problems = append(problems, problem("campaign", "campaign_cancelled"))
	}
	if in.complete(m, now); len(problems) > 0 {
		return in.known(m, problems)
	}
	return nil
}

// accept accepts a checked message. It blocks and sets header like admit.
func (in *Intake) accept(ctx context.Context, header http.Header, m *message.Message, now time.Time) (message.Acceptance, refusal) {
	ctx, cancel, refused := in.admit(ctx, header, m, now)
	defer cancel()
	if refused != nil {
		return message.Acceptance{}, refused
	}
	if in.o.Quotas == nil || m.Client == "" {
		a, err := in.o.Acceptor.Accept(ctx, *m)
		return a, in.refused(m, err)
	}
	r := in.acceptAll(ctx, []message.Message{*m})[0]
	if full, is := errors.AsType[*message.QuotaError](r.Err); is {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(full.Wait.Seconds()))))
	}
	return r.Acceptance, in.refused(m, r.Err)
}

// admit refuses a checked message that would expire before it can be sent, whose recipient opted out or has a closed customer service window, or whose
// conversation another app owns, and then sets Retry-After in header if the time is known. It may give the message its fallback template. It returns a
// context for what remains to be done at the store.
func (in *Intake) admit(ctx context.Context, header http.Header, m *message.Message, now time.Time) (context.Context, context.CancelFunc, refusal) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	if !m.ExpiresAt.After(now) {
		return ctx, cancel, in.late(ctx, m)
	}
	if outside := in.outside(ctx, now, m); outside != nil && outside[0] && !in.replace(m) {
		return ctx, cancel, in.unless(ctx, m, func() refusal { return in.refuseOutside(m) })
	}
	if by := in.suppressed(ctx, m); by != nil && by[0] != nil {
		return ctx, cancel, in.unless(ctx, m, func() refusal { return in.refuseSuppressed(m, *by[0]) })
	}
	if wait := in.wait(ctx, m, now); now.Add(wait).After(m.ExpiresAt) {
		return ctx, cancel, in.unreachable(ctx, header, m, wait, "deadline_unreachable")
	}
	if wait := in.limitWait(ctx, m, now); wait > 0 && (in.o.CountedPerson == nil || !in.o.CountedPerson(ctx, m.From, m.Content.Recipient())) {
		return ctx, cancel, in.unreachable(ctx, header, m, wait, "portfolio_limit_reached")
	}
	if until := in.elsewhere(ctx, now, m); until != nil && !until[0].IsZero() {
		return ctx, cancel, in.unless(ctx, m, func() refusal { return refuseOtherApp(header, m, until[0], now) })
	}
	return ctx, cancel, nil
}

// checkHeader returns the header Idempotency-Key, and refuses bodies that are not declared as JSON.
func checkHeader(h http.Header) (idempotency *string, refused refusal) {
	if refused := httpapi.CheckMedia(h, "application/json"); refused != nil {
		return nil, refused
	}
	return idempotencyKey(h)
}

// idempotencyKey returns the header Idempotency-Key; nil: there is none.
func idempotencyKey(h http.Header) (idempotency *string, refused refusal) {
	switch keys := h.Values("Idempotency-Key"); len(keys) {
	case 0:
		return nil, nil
	case 1:
		return &keys[0], nil
	default:
		return nil, refuseAt("Idempotency-Key", "header_duplicate")
	}
}

// readBody reads the body of a request, a JSON object.
func (e *envelope) readBody(w http.ResponseWriter, r *http.Request) refusal {
	var err error
	if r.ContentLength >= 0 && r.ContentLength <= maxBody {
		e.buffer = slices.Grow(e.buffer[:0], int(r.ContentLength))[:r.ContentLength]
		_, err = io.ReadFull(r.Body, e.buffer)
	} else {
		e.buffer, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	}
	if err != nil {
		return httpapi.Unread(err)
	}
	return e.read(e.buffer)
}

// idOf returns the id of a message with an idempotency key. Clients that share a number have keys of their own; those of the client that
// the number belongs to are the keys that the number had before it was shared.
func (in *Intake) idOf(number, client, key string) string {
	return message.NewID(number, in.keyOf(number, client, key))
}

// keyOf returns the key of which the id is made.
func (in *Intake) keyOf(number, client, key string) string {
	if key != "" && client != in.o.Owner(number) {
		return client + "\x00" + key
	}
	return key
}

// earlier sets what the id and the hash of a message with a key would be at the numbers whose messages were moved to its number. These
// numbers belonged to the same client.
func (in *Intake) earlier(e *envelope, m *message.Message) {
	if m.Key == "" {
		return
	}
	for _, number := range in.o.MovedTo(m.From) {
		other := *m
		other.From = number
		m.Earlier = append(m.Earlier, message.Earlier{ID: message.NewID(number, in.keyOf(m.From, m.Client, m.Key)), Hash: e.hash(&other)})
	}
}

// complete sets the id of a checked message, and the defaults of its class and deadline.
func (in *Intake) complete(m *message.Message, now time.Time) {
	m.ID = in.idOf(m.From, m.Client, m.Key)
	if m.After.ID != "" {
		m.AfterBy = now.Add(m.AfterBy.Sub(time.Time{})).UTC().Truncate(time.Millisecond)
	}
	if m.Class == "" {
		m.Class = in.o.Classes.Class(m.From, m.Content)
	}
	m.Price = in.price(m, now)
	if !m.ExpiresAt.IsZero() {
		return
	}
	begin := now
	switch {
	case m.After.ID != "":
		begin = m.AfterBy
	case m.SendAt.After(now):
		begin = m.SendAt
	}
	m.ExpiresAt = begin.Add(in.o.Policy(m.From, m.Class).Deadline).UTC().Truncate(time.Millisecond)
}

// refused returns the refusal for an error of the acceptor. It is nil without an error: then the message is
// durable.
func (in *Intake) refused(m *message.Message, err error) refusal {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, message.ErrKeyReused):
		return refuseAt("key", "idempotency_key_reused")
	case errors.Is(err, message.ErrNoLeader):
		return refuseAt("after", "after_not_found")
	case errors.Is(err, message.ErrFollowers):
		return refuseAt("after", "after_too_many")
	case errors.Is(err, message.ErrFull):
		return refuse("overloaded")
	}
	if full, is := errors.AsType[*message.QuotaError](err); is {
		p := problem("", "quota_exceeded")
		p.Detail = full.Error() + "."
		return refusal{p}
	}
	in.o.Log.Error("cannot store message", "message_id", m.ID, "phone_number_id", m.From, tracing.ID(m.Trace), "err", err)
	return refuse("store_unavailable")
}

// late refuses a message whose deadline has passed, unless its key is known.
func (in *Intake) late(ctx context.Context, m *message.Message) refusal {
	return in.unless(ctx, m, func() refusal { return refuseAt("expires_at", "expires_at_invalid") })
}

// wait returns how long m would wait behind the backlog. It is 0 if that is unknown, or if m is scheduled or waits for
// another message, because the backlog will change until then.
func (in *Intake) wait(ctx context.Context, m *message.Message, now time.Time) time.Duration {
	if in.o.ETA == nil || m.SendAt.After(now) || m.After.ID != "" {
		return 0
	}
	wait, err := in.o.ETA(ctx, m.From, m.Class, m.Flow())
	if err != nil {
		return 0
	}
	return wait
}

// limitWait returns how long m would wait for capacity under the messaging limit of its portfolio, if it would expire before, and if
// messages of its class are refused then; else 0.
func (in *Intake) limitWait(ctx context.Context, m *message.Message, now time.Time) time.Duration {
	if in.o.LimitWait == nil || m.Content.Template == "" || m.Content.Group || m.SendAt.After(now) || m.After.ID != "" || !in.o.Policy(m.From, m.Class).RefuseOverLimit {
		return 0
	}
	wait, err := in.o.LimitWait(ctx, m.From, m.Class)
	if err != nil || now.Add(wait).Before(m.ExpiresAt) {
		return 0
	}
	return wait
}

// unreachable refuses a message that would wait beyond its deadline, unless its key is known.
func (in *Intake) unreachable(ctx context.Context, header http.Header, m *message.Message, wait time.Duration, code string) refusal {
	return in.unless(ctx, m, func() refusal {
		p, after := problem("expires_at", code), retryAfter(header, wait)
		if p.Detail = fmt.Sprintf("The messages that wait before it at this number take about %s. The message would expire before it can be sent.", after); code == "portfolio_limit_reached" {
			p.Detail = fmt.Sprintf("Meta's limit of people in 24 hours allows the business portfolio another person in about %s. The message would expire before it can be sent.", after)
		}
		return refusal{p}
	})
}

// unless returns the refusal of a message, unless its key is known: then the request is accepted as a duplicate, or refused because the
// key was used for another message.
func (in *Intake) unless(ctx context.Context, m *message.Message, refused func() refusal) refusal {
	if id, unread := in.repeats(ctx, m); id != "" || unread != nil {
		return unread
	}
	return refused()
}

// repeats returns the id of the message that m repeats; empty: it repeats none.
func (in *Intake) repeats(ctx context.Context, m *message.Message) (id string, unread refusal) {
	if m.Key == "" {
		return "", nil
	}
	ids, err := in.o.Acceptor.Repeats(ctx, []message.Message{*m})
	if err != nil {
		in.o.Log.Error("cannot read message", "message_id", m.ID, "err", err)
		return "", refuse("store_unavailable")
	}
	return ids[0], nil
}

// retryAfter sets Retry-After in header, and returns it.
func retryAfter(header http.Header, wait time.Duration) time.Duration {
	seconds := int(math.Ceil(wait.Seconds()))
	header.Set("Retry-After", strconv.Itoa(seconds))
	return time.Duration(seconds) * time.Second
}

// elsewhere returns until when another app owns the conversations of messages; nil: none does. Scheduled messages, and those that
// wait for another one, are checked before they are sent only. So are all while Redis does not say.
func (in *Intake) elsewhere(ctx context.Context, now time.Time, all ...*message.Message) []time.Time {
	if in.o.Elsewhere == nil {
		return nil
	}
	asked, of := immediate(all, now)
	if len(asked) == 0 {
		return nil
	}
	found, err := in.o.Elsewhere(ctx, asked)
	if err != nil || found == nil {
		return nil
	}
	until := make([]time.Time, len(all))
	for i, at := range found {
		until[of[i]] = at
	}
	return until
}

// refuseOtherApp refuses a service message in a conversation that another app owns.
func refuseOtherApp(header http.Header, m *message.Message, until, now time.Time) refusal {
	p := problem(recipientPath(m), "conversation_of_other_app")
	p.Detail = fmt.Sprintf("Another app owns the conversation with this recipient, until it gives the conversation back, or until %s if the recipient writes nothing more. Meta does not accept service messages from you until then.", until.UTC().Format(time.RFC3339))
	retryAfter(header, until.Sub(now))
	return refusal{p}
}

// recipientPath is the place of the recipient in a request.
func recipientPath(m *message.Message) string {
	if m.Content.To == "" {
		return "message.recipient"
	}
	return "message.to"
}
