package intake

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"sluice/internal/content"
	"sluice/internal/httpapi"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// The limits of an envelope. Meta's limits apply to the message in it.
const (
	maxKey   = 255 // bytes, printable ASCII
	maxRef   = 255 // code points
	maxTags  = 10
	maxTag   = 64                  // code points
	maxAhead = 90 * 24 * time.Hour // for send_at and expires_at, so that no calculation with them overflows
)

// maxProblems is the maximum number of problems in an answer, as in content.Check.
const maxProblems = 20

// envelope is a request to send. It parses the JSON text once, and collects the problems of the request. It treats
// a member that is null like an absent one.
type envelope struct {
	body    jsondoc.Doc
	headers jsondoc.Doc // members that are headers, on Meta's own path

	from, class, key, ref, tags, campaign, sendAt, expiresAt, message jsondoc.Value

	after    after
	fallback fallback

	defaultKey string // the idempotency key of a request that names none; empty: it has none

	problems refusal
	buffer   []byte // for reading and hashing
}

var envelopePool = sync.Pool{New: func() any { return new(envelope) }}

func newEnvelope() *envelope { return envelopePool.Get().(*envelope) }

// free returns e to the pool. Strings that were read from e stay valid.
func (e *envelope) free() {
	e.reset()
	envelopePool.Put(e)
}

func (e *envelope) reset() {
	e.body.Reset()
	e.headers.Reset()
	buffer := e.buffer
	if cap(buffer) > 16<<10 {
		buffer = nil
	}
	*e = envelope{body: e.body, headers: e.headers, buffer: buffer[:0]}
}

// read parses the JSON object of a request.
func (e *envelope) read(text []byte) refusal {
	err := e.body.Read(string(text))
	switch {
	case err != nil:
		return refuseAt(err.Path, err.Code)
	case e.body.Root().Kind() != jsondoc.Object:
		return refuse("json_not_object")
	}
	return nil
}

// open reads the members of a request from an object, and refuses unknown ones.
func (e *envelope) open(object jsondoc.Value) {
	var unknown []string
	for name, value := range object.Members() {
		if member := e.member(name); member != nil {
			*member = value
		} else {
			unknown = append(unknown, jsondoc.PathName(name))
		}
	}
	slices.Sort(unknown)
	for _, name := range slices.Compact(unknown) {
		e.refuse(name, "field_unknown")
	}
}

// member returns the field for a member; nil: there is no such member.
func (e *envelope) member(name string) *jsondoc.Value {
	switch name {
	case "from":
		return &e.from
	case "message":
		return &e.message
	case "class":
		return &e.class
	case "key":
		return &e.key
	case "ref":
		return &e.ref
	case "tags":
		return &e.tags
	case "campaign":
		return &e.campaign
	case "send_at":
		return &e.sendAt
	case "expires_at":
		return &e.expiresAt
	case "after":
		return &e.after.value
	case "fallback_template":
		return &e.fallback.value
	}
	return nil
}

// maxEmbedded is how often JSON texts in strings are decoded: each time, those in the decoded ones are found.
const maxEmbedded = 5

// readAll opens the request and returns its message, see newMessage. Where Meta's object has an object and the request
// has a string with the JSON text of one, the object takes its place.
func (e *envelope) readAll(key *string, open func()) message.Message {
	open()
	m := e.newMessage(key)
	for range maxEmbedded {
		if !e.inline(e.message) {
			break
		}
		e.problems = nil
		open()
		m = e.newMessage(key)
	}
	return m
}

// inline decodes the JSON texts in strings of Meta's object, and reports whether there were any that can be read. Then
// the values of e are not valid any more.
func (e *envelope) inline(object jsondoc.Value) bool {
	if !slices.ContainsFunc(e.problems, isTypeMismatch) && !content.IsMark(object) {
		return false
	}
	found := content.Embedded(object)
	if len(found) == 0 {
		return false
	}
	text := e.body.Inline(found)
	var d jsondoc.Doc
	if d.Read(text) != nil {
		return false // the problems that were found stay
	}
	e.body.Read(text)
	return true
}

func isTypeMismatch(p message.Problem) bool { return p.Code == "type_mismatch" }

// newMessage returns the message of the request. It does not set ID, the defaults of Class and ExpiresAt (see
// complete), Payload and Hash (see finish). key is the header Idempotency-Key.
func (e *envelope) newMessage(key *string) message.Message {
	m := message.Message{
		From:      e.sender(),
		Class:     message.Class(e.text("class", &e.class)),
		Key:       e.idempotency(key),
		Ref:       e.text("ref", &e.ref),
		Tags:      e.labels(),
		SendAt:    e.time("send_at", &e.sendAt),
		ExpiresAt: e.time("expires_at", &e.expiresAt),
	}
	if e.class.Present() && !m.Class.Valid() {
		e.refuse("class", "class_unknown")
	}
	if e.ref.Present() && !isLabel(m.Ref, maxRef) {
		e.refuse("ref", "ref_invalid")
	}
	if !m.ExpiresAt.IsZero() && !m.SendAt.Before(m.ExpiresAt) {
		e.refuse("send_at", "send_at_after_expires_at")
	}
	e.readCampaign(&m)
	e.readAfter(&m)
	e.content(&m)
	e.readFallback(&m)
	return m
}

func (e *envelope) refuse(path, code string) { e.add(problem(path, code)) }

func (e *envelope) add(p message.Problem) {
	if len(e.problems) < maxProblems {
		e.problems = append(e.problems, p)
	}
}

// content checks Meta's message object.
func (e *envelope) content(m *message.Message) {
	if !e.message.Present() {
		e.refuse("message", "message_missing")
		return
	}
	var problems []message.Problem
	m.Content, problems = content.Check(e.message)
	for _, p := range problems {
		p.Path = strings.TrimSuffix("message."+p.Path, ".")
		e.add(p)
	}
	m.Callback = m.Content.Callback
}

// finish sets the payload and the hash. A message without a key needs no hash, because it cannot be repeated.
func (e *envelope) finish(m *message.Message) {
	const more = 64 // bytes for messaging_product and the recipient
	if f := &e.fallback; f.object != nil {
		m.Fallback = message.Fallback{Template: f.content.TemplateID(), Payload: content.AppendPayload(nil, f.object.Root(), f.content.To), Content: new(f.content)}
	}
	m.Payload = content.AppendPayload(make([]byte, 0, len(e.message.Raw())+more), e.message, m.Content.To)
	if m.Key != "" {
		m.Hash = e.hash(m)
	}
}

// hash returns a hash that distinguishes a repeated request from another request with the same key. The order of
// members, white space and escapes in strings do not matter. 128 bits are enough against accidental collisions,
// and a caller gains nothing from a collision with its own key. The hash is of the given class and times, because
// defaults may change between a request and its repetition.
func (e *envelope) hash(m *message.Message) string {
	b := jsondoc.AppendString(append(e.buffer[:0], `{"from":`...), m.From)
	b = jsondoc.AppendString(append(b, `,"class":`...), string(m.Class))
	b = jsondoc.AppendString(append(b, `,"ref":`...), m.Ref)
	b = append(b, `,"tags":`...)
	if e.tags.Len() == 0 { // tags is absent, null or empty
		b = append(b, "null"...)
	} else {
		b = e.tags.AppendCanonical(b)
	}
	b = m.SendAt.AppendFormat(append(b, `,"send_at":"`...), time.RFC3339Nano)
	b = m.ExpiresAt.AppendFormat(append(b, `","expires_at":"`...), time.RFC3339Nano)
	b = e.message.AppendCanonical(append(b, `","message":`...))
	b = e.appendFallback(e.appendAfter(b))
	if m.Campaign != "" {
		b = jsondoc.AppendString(append(b, `,"campaign":`...), m.Campaign)
	}
	b = append(b, '}')
	e.buffer = b
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// text returns a string member. It is empty if the member is absent or, with a problem, of another type.
func (e *envelope) text(name string, v *jsondoc.Value) string {
	s, ok := v.Text()
	if !ok && v.Present() {
		e.refuse(name, "type_mismatch")
		*v = jsondoc.Value{}
	}
	return s
}

func (e *envelope) sender() string {
	given := e.from.Present()
	from := e.text("from", &e.from)
	switch {
	case !given:
		e.refuse("from", "from_missing")
	case e.from.Present() && !message.IsNumberID(from):
		e.refuse("from", "from_invalid")
	}
	return from
}

// idempotency returns the idempotency key, which can be a header, a member, or both.
func (e *envelope) idempotency(header *string) string {
	key := e.text("key", &e.key)
	if e.key.Present() {
		e.checkKey("key", key)
		if header != nil && *header != key {
			e.refuse("key", "idempotency_key_mismatch")
		}
		return key
	}
	if header == nil {
		return e.defaultKey
	}
	e.checkKey("Idempotency-Key", *header)
	return *header
}

func (e *envelope) checkKey(path, key string) {
	forbidden := func(r rune) bool { return r < ' ' || r > '~' }
	if strings.TrimSpace(key) == "" || len(key) > maxKey || strings.ContainsFunc(key, forbidden) {
		e.refuse(path, "idempotency_key_invalid")
	}
}

func (e *envelope) labels() (tags []string) {
	if e.tags.Present() && e.tags.Kind() != jsondoc.Array {
		e.refuse("tags", "type_mismatch")
		return nil
	}
	if e.tags.Len() > maxTags {
		e.refuse("tags", "tags_too_many")
		return nil
	}
	for i, value := range e.tags.Elements() {
		tag, ok := value.Text()
		if !ok {
			e.refuse("tags["+strconv.Itoa(i)+"]", "type_mismatch")
		} else if !isLabel(tag, maxTag) {
			e.refuse("tags["+strconv.Itoa(i)+"]", "tag_invalid")
		}
		tags = append(tags, tag)
	}
	return tags
}

// readCampaign reads the campaign, which is one of the tags too.
func (e *envelope) readCampaign(m *message.Message) {
	m.Campaign = e.text("campaign", &e.campaign)
	switch {
	case !e.campaign.Present():
	case !isLabel(m.Campaign, maxTag), m.Campaign == ".", m.Campaign == "..": // no URL of the API can end with these
		e.refuse("campaign", "tag_invalid")
	case !slices.Contains(m.Tags, m.Campaign):
		if len(m.Tags) == maxTags {
			e.refuse("campaign", "tags_too_many")
		}
		m.Tags = append(m.Tags, m.Campaign)
	}
}

// isLabel reports whether s has 1 to most code points and no control characters, which could harm a terminal.
func isLabel(s string, most int) bool {
	return s != "" && utf8.RuneCountInString(s) <= most && !strings.ContainsFunc(s, unicode.IsControl)
}

// time returns a time member in milliseconds, the precision of records. It is zero if the member is absent or
// invalid.
func (e *envelope) time(name string, v *jsondoc.Value) time.Time {
	s := e.text(name, v)
	if !v.Present() {
		return time.Time{}
	}
	t, ok := httpapi.ParseTime(s)
	if !ok {
		e.refuse(name, "time_invalid")
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}
