package intake

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"sluice/internal/content"
	"sluice/internal/httpapi"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// Meta's own paths: a program that calls the Graph API needs only another base URL to use Sluice. Sluice accepts
// the messages, and forwards a few other calls of a number to Meta.
// https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages

// graph forwards calls to Meta with the access token of a number. It always answers, and writes an error in Meta's
// form if Meta does not answer.
type graph interface {
	// Forward forwards r, with its method, path, query and body.
	Forward(w http.ResponseWriter, r *http.Request, number string)
	// Media returns Meta's description of a media object of the number. If object is nil, status and answer are
	// the error to return.
	Media(r *http.Request, number, version, id string) (object map[string]any, status int, answer []byte)
	// Download answers with the content at the URL of a media object.
	Download(w http.ResponseWriter, r *http.Request, number, url string)
}

// graphPath reports whether a path begins with a version of the Graph API: "/v25.0/".
func graphPath(path string) bool {
	rest, ok := strings.CutPrefix(path, "/v")
	major := digitsOf(rest)
	if !ok || major == 0 || major > 3 || !strings.HasPrefix(rest[major:], ".") {
		return false
	}
	rest = rest[major+1:]
	minor := digitsOf(rest)
	return minor > 0 && minor <= 2 && strings.HasPrefix(rest[minor:], "/")
}

// decoded returns r with a decoded path: an encoded slash separates segments like any other slash. So the mux and
// Meta read the same path.
func decoded(r *http.Request) *http.Request {
	if r.URL.RawPath == "" {
		return r
	}
	r = r.WithContext(r.Context())
	u := *r.URL
	u.RawPath = ""
	r.URL = &u
	return r
}

// digitsOf returns the number of digits at the start of s.
func digitsOf(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

const graphGroup = "Meta's paths"

// graphRoutes returns the routes on Meta's own paths: messages, media and the business profile of a number. Calls
// that change the number itself (registration, PIN, settings) or other objects are not forwarded: the owner of
// the number makes them with a token of Meta.
func (in *Intake) graphRoutes() []httpapi.Route {
	version := httpapi.Param{In: "path", Name: "version", Doc: "A version of the Graph API. Sluice sends messages with its own configured version.", Example: "v25.0", Postman: "Version"}
	number := httpapi.Param{In: "path", Name: "phone_number_id", Doc: "Meta's id of the sending number.", Example: "106540352242922", Postman: "Phone-Number-ID"}
	media := []httpapi.Param{
		version,
		{In: "path", Name: "id", Doc: "A media id. To read settings (GET without `/download`), a phone number id.", Example: "2762702990552401", Postman: "Media-ID"},
		{In: "query", Name: "phone_number_id", Doc: "The number that the media object belongs to. Not needed if the API key is for one number only.", Example: "106540352242922"},
	}
	failed := []httpapi.Answer{
		{Status: 400, Doc: "Refused by Sluice or by Meta, in the form of Meta's errors and with Meta's codes.", Type: graphFailure{}},
		{Status: 401, Doc: "No valid API key: code 190.", Type: graphFailure{}},
		{Status: 403, Doc: "The API key does not have the scope: code 10.", Type: graphFailure{}},
	}
	away := httpapi.Answer{Status: 503, Doc: "Storage or Meta is temporarily unavailable, or Sluice cannot forward requests for this number: code 2.", Type: graphFailure{}}
	passed := func(method, path, name, summary, scope string, params ...httpapi.Param) httpapi.Route {
		return httpapi.Route{
			Method: method, Path: "/{version}/" + path, Name: name, Group: graphGroup, Summary: summary, Scope: scope, Params: params,
			Answers: append([]httpapi.Answer{{Status: 200, Doc: "Meta's answer.", Type: map[string]any{}}}, append(failed, away)...),
			Handler: in.pass(scope), Foreign: true,
		}
	}
	profile := "{phone_number_id}/whatsapp_business_profile"
	routes := []httpapi.Route{
		{
			Method: http.MethodPost, Path: "/{version}/{phone_number_id}/messages", Name: "graphSendMessage", Group: graphGroup,
			Summary: "Send a message with a request as for Meta.",
			Doc: "The body is Meta's message object. The answer has the form of Meta's answer, with Sluice's id in `messages[0].id`. It comes when the message is stored durably, before Meta has it. " +
				"Send the other members of `POST /v1/messages` (key, class, ref, tags, send_at, expires_at) as headers. Sluice forwards a body with `status`, which marks a message as read and can show a typing indicator, to Meta at once. " +
				"If `to` has no plus, Sluice sends it to Meta unchanged, and Meta decides which country it means. If Sluice does not know the type, the answer has the header `Sluice-Warning: type_unknown`.",
			Scope: httpapi.ScopeSend, Foreign: true,
			Params: []httpapi.Param{
				version, number, paramKey,
				{In: "header", Name: "Sluice-Class", Doc: "authentication, service, utility or marketing.", Example: "utility"},
				{In: "header", Name: "Sluice-Ref", Doc: "Your own reference.", Example: "order-1001"},
				{In: "header", Name: "Sluice-Tags", Doc: "Labels, separated by commas.", Example: "spring,loyal"},
				{In: "header", Name: "Sluice-Send-At", Doc: "Do not send before this time.", Type: time.Time{}, Example: "2026-12-01T08:00:00Z"},
				{In: "header", Name: "Sluice-Expires-At", Doc: "Do not start an attempt after this time.", Type: time.Time{}, Example: "2026-12-01T20:00:00Z"},
			},
			Body: &httpapi.Body{Type: metaMessage{}, Example: `{"messaging_product":"whatsapp","to":"+15551234567","type":"text","text":{"body":"It has shipped."}}`},
			Answers: append(append([]httpapi.Answer{{Status: 200, Doc: "Accepted: the message is stored and will be sent.", Type: graphAccepted{}}}, failed...),
				httpapi.Answer{Status: 429, Doc: "The message would expire before it can be sent: code 130429, with `Retry-After`.", Type: graphFailure{}}, away),
			Handler: in.graphSend,
		},
		passed("POST", "{phone_number_id}/media", "graphUploadMedia", "Upload media, up to 100 MB.", httpapi.ScopeSend, version, number),
		passed("GET", profile, "graphGetProfile", "Read the business profile of the number.", httpapi.ScopeRead, version, number),
		passed("POST", profile, "graphSetProfile", "Change the business profile of the number.", httpapi.ScopeSend, version, number),
		passed("GET", "{id}", "graphGetObject", "Read the settings of the number, or the URL of media. The `url` of media is a URL of Sluice, because Meta's URL needs Meta's token.", httpapi.ScopeRead, media...),
		passed("DELETE", "{id}", "graphDeleteMedia", "Delete media of the number.", httpapi.ScopeSend, media...),
		passed("GET", "{id}/download", "graphDownloadMedia", "Download media of the number.", httpapi.ScopeRead, media...),
	}
	routes[1].Doc = "The form has the fields `file`, `type` and `messaging_product` only."
	routes[2].Doc = "The query may have `fields`: names with commas between them, without nesting such as `a{b}`."
	routes[4].Doc = routes[2].Doc
	routes[3].Doc = "The body is a JSON object. The members `access_token`, `method`, `batch` and others that would change the token or the kind of the request are refused."
	routes[1].Body = &httpapi.Body{Media: "multipart/form-data"}
	routes[3].Body = &httpapi.Body{Type: map[string]any{}, Example: `{"messaging_product":"whatsapp","about":"We deliver."}`}
	routes[6].Answers[0] = httpapi.Answer{Status: 200, Doc: "The bytes.", Media: "*/*"}
	routes[4].Handler, routes[5].Handler, routes[6].Handler = in.graphObject, in.graphDelete, in.graphDownload
	return routes
}

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
	ID     string `json:"id" doc:"Sluice's id of the message. The record and the events have Meta's id."`
	Status string `json:"message_status,omitempty" doc:"accepted, for templates."`
}

// graphSend serves POST /{version}/{phone_number_id}/messages.
func (in *Intake) graphSend(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeSend)
	var idempotency *string
	if refused == nil {
		idempotency, refused = checkHeader(r.Header)
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
		a, refused = in.accept(r.Context(), w.Header(), &m, in.now())
	}
	if refused != nil {
		in.metrics.observe(result(refused.Status()), start)
		in.graphRefuse(w, refused)
		return
	}
	label := resultAccepted
	if a.Duplicate {
		w.Header().Set("Idempotent-Replayed", "true")
		label = resultDuplicate
	}
	in.metrics.observe(label, start)
	if m.Content.Unknown != "" { // Meta's answer has no member for it
		w.Header().Set("Sluice-Warning", warningUnknown)
	}
	contact := graphContact{Input: given, WAID: strings.TrimPrefix(m.Content.To, "+")}
	if m.Content.To == "" {
		contact = graphContact{Input: m.Content.UserID, UserID: m.Content.UserID}
	}
	sent := graphMessage{ID: a.ID}
	if m.Content.Type == "template" {
		sent.Status = "accepted"
	}
	httpapi.WriteJSON(w, "application/json", http.StatusOK, graphAccepted{Product: "whatsapp", Contacts: []graphContact{contact}, Messages: []graphMessage{sent}})
}

// readGraph returns the message of a request to Meta's own path, and its recipient as given. If the request marks a
// message as read, readGraph forwards it, answers, and returns mark.
func (in *Intake) readGraph(w http.ResponseWriter, r *http.Request, key httpapi.Key, idempotency *string, now time.Time) (m message.Message, given string, mark bool, refused refusal) {
	e := newEnvelope()
	defer e.free()
	if refused = e.readBody(w, r); refused != nil {
		return m, "", false, refused
	}
	object := e.body.Root()
	if content.IsMark(object) {
		in.graphMark(w, r, key, object, bytes.Clone(e.buffer)) // the transport may read the body after e.free
		return m, "", true, nil
	}
	given, _ = object.Get("to").Text()
	plain := e.assumeMeta(object)
	e.openHeaders(r)
	e.message = object
	m = e.newMessage(idempotency)
	if plain { // Meta interprets it
		m.Content.To = strings.TrimPrefix(m.Content.To, "+")
	}
	if !object.Get("messaging_product").Present() {
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

// assumeMeta accepts what Meta accepts in addition: text without a type, and a phone number without a plus. plain
// reports such a phone number. Meta interprets it, perhaps as a number in the country of the sender.
func (e *envelope) assumeMeta(object jsondoc.Value) (plain bool) {
	to := object.Get("to")
	kind, _ := object.Get("recipient_type").Text()
	if digit, _ := to.Text(); kind != "group" && digits.MatchString(digit) {
		to.SetText("+" + digit)
		plain = true
	}
	if object.Get("text").Present() {
		switch kind := object.Get("type"); kind.Kind() {
		case jsondoc.Absent:
			e.body.AddText("type", "text")
		case jsondoc.Null:
			kind.SetText("text")
		}
	}
	return plain
}

// graphMark forwards a request that marks a message as read, or shows a typing indicator.
func (in *Intake) graphMark(w http.ResponseWriter, r *http.Request, key httpapi.Key, object jsondoc.Value, body []byte) {
	_, problems := content.CheckMark(object)
	if len(problems) > 0 {
		in.graphRefuse(w, problems)
		return
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	in.forward(w, r, key, r.PathValue("phone_number_id"), passTime)
}

// forward forwards a call of a number that the key covers.
func (in *Intake) forward(w http.ResponseWriter, r *http.Request, key httpapi.Key, number string, most time.Duration) {
	if in.reachable(w, key, number) {
		r, cancel := within(r, most)
		defer cancel()
		in.o.Graph.Forward(w, r, number)
	}
}

// within returns r with a time limit for Meta. If Meta does not answer in time, Sluice can still write an error
// before the deadline of the connection.
func within(r *http.Request, most time.Duration) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), most)
	return r.WithContext(ctx), cancel
}

// reachable reports whether calls of a number can be forwarded for a key. If not, it answers with the refusal.
func (in *Intake) reachable(w http.ResponseWriter, key httpapi.Key, number string) bool {
	switch {
	case !message.IsNumberID(number) || !key.Covers(number) || !in.o.Numbers(number):
		in.graphRefuse(w, refuse("phone_number_id_not_found"))
	case in.o.Graph == nil:
		in.graphRefuse(w, refuse("forwarding_not_configured"))
	default:
		return true
	}
	return false
}

const (
	// maxMedia is Meta's limit, 100 MB, and 1 MB for the form around the media.
	maxMedia  = 100<<20 + 1<<20
	mediaTime = 5 * time.Minute
	// The time limits of Meta for forwarded calls, without and with media. The server has 20 s to read a request
	// and to answer it, and mediaTime for media.
	passTime      = 8 * time.Second
	passMediaTime = mediaTime - 10*time.Second
)

// pass returns a handler that forwards calls unchanged.
func (in *Intake) pass(scope string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key, refused := in.o.Keys.Authorize(r, scope)
		if refused != nil {
			in.graphRefuse(w, refused)
			return
		}
		most, limit := int64(maxBody), passTime
		if strings.HasSuffix(r.URL.Path, "/media") {
			most, limit = maxMedia, passMediaTime
			giveTime(w)
		}
		r.Body = http.MaxBytesReader(w, r.Body, most)
		in.forward(w, r, key, r.PathValue("phone_number_id"), limit)
	}
}

// giveTime extends the time limits of a request to mediaTime.
func giveTime(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	c.SetReadDeadline(time.Now().Add(mediaTime))
	c.SetWriteDeadline(time.Now().Add(mediaTime))
}

// graphObject serves GET /{version}/{id} for a configured number, or for media of one.
func (in *Intake) graphObject(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead)
	if refused != nil {
		in.graphRefuse(w, refused)
		return
	}
	if id := r.PathValue("id"); in.o.Numbers(id) {
		in.forward(w, r, key, id, passTime)
		return
	}
	object, number, ok := in.graphMedia(w, r, key)
	if !ok {
		return
	}
	here := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path + "/download", RawQuery: url.Values{"phone_number_id": {number}}.Encode()}
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		here.Scheme = "https"
	}
	object["url"] = here.String()
	httpapi.WriteJSON(w, "application/json", http.StatusOK, object)
}

// graphDelete serves DELETE /{version}/{id} for media only.
func (in *Intake) graphDelete(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeSend)
	if refused != nil {
		in.graphRefuse(w, refused)
		return
	}
	if _, number, ok := in.graphMedia(w, r, key); ok {
		in.forward(w, r, key, number, passTime)
	}
}

// graphDownload serves GET /{version}/{id}/download, a path that Meta does not have: the content of media, for
// callers without a token of Meta.
func (in *Intake) graphDownload(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeRead)
	if refused != nil {
		in.graphRefuse(w, refused)
		return
	}
	object, number, ok := in.graphMedia(w, r, key)
	if !ok {
		return
	}
	giveTime(w)
	r, cancel := within(r, passMediaTime)
	defer cancel()
	in.o.Graph.Download(w, r, number, object["url"].(string))
}

// graphMedia reads the media object of a call from Meta. It answers not_found for objects of other kinds and of
// numbers that the key does not cover: the token of the number can read more than the caller may.
func (in *Intake) graphMedia(w http.ResponseWriter, r *http.Request, key httpapi.Key) (object map[string]any, number string, ok bool) {
	number = r.URL.Query().Get("phone_number_id")
	if number == "" && !key.CoversAll() && len(key.Numbers) == 1 {
		number = key.Numbers[0]
	}
	if !message.IsNumberID(r.PathValue("id")) {
		in.graphRefuse(w, refuse("not_found"))
		return nil, "", false
	}
	if !in.reachable(w, key, number) {
		return nil, "", false
	}
	r, cancel := within(r, passTime)
	defer cancel()
	object, status, answer := in.o.Graph.Media(r, number, r.PathValue("version"), r.PathValue("id"))
	if object == nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		w.Write(answer)
		return nil, "", false
	}
	_, isURL := object["url"].(string)
	if _, isMedia := object["mime_type"].(string); !isURL || !isMedia {
		in.graphRefuse(w, refuse("not_found"))
		return nil, "", false
	}
	return object, number, true
}
