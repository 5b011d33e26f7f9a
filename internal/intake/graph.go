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

// The drop-in: Meta's own paths, so that what was made to call the Graph API calls us by
// another base URL alone. Messages become ours; a few other calls of a number pass through to
// Meta. https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages

// graph passes calls on to Meta with the access token of a number. Whatever comes of it is
// answered, in the shape of Meta's errors when there is no answer of Meta's.
type graph interface {
	// Forward makes the call of r: its method, path, query and body.
	Forward(w http.ResponseWriter, r *http.Request, number string)
	// Media returns what Meta tells of a media object of the number, or the answer that refuses.
	Media(r *http.Request, number, version, id string) (object map[string]any, status int, answer []byte)
	// Download answers with what stands at the URL of a media object.
	Download(w http.ResponseWriter, r *http.Request, number, url string)
}

// graphPath tells whether a path begins with a version of the Graph API: "/v25.0/".
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

// decoded returns r with its path as it reads: an encoded slash divides segments like any other, so a
// route means the path that Meta would read.
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

// digitsOf returns how many digits s begins with.
func digitsOf(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

const graphGroup = "Meta's paths"

// graphRoutes are those of the drop-in. Beside messages they are what a caller needs to show
// himself and to handle media. What changes the number itself (registering, its PIN, its
// settings) or reaches beyond the number is for its owner, with his own token.
func (in *Intake) graphRoutes() []httpapi.Route {
	version := httpapi.Param{In: "path", Name: "version", Doc: "A version of the Graph API. Sluice sends messages with its own configured version.", Example: "v25.0", Postman: "Version"}
	number := httpapi.Param{In: "path", Name: "phone_number_id", Doc: "Meta's id of the sending number.", Example: "106540352242922", Postman: "Phone-Number-ID"}
	media := []httpapi.Param{
		version,
		{In: "path", Name: "id", Doc: "A media id. For GET also a phone number id.", Example: "2762702990552401", Postman: "Media-ID"},
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
				"Headers have what `POST /v1/messages` has besides the message. Sluice forwards a body with `status`, which marks a message as read and can show a typing indicator, to Meta at once. " +
				"`to` without its plus is sent to Meta unchanged. If Sluice does not know the type, the answer has the header `Sluice-Warning: type_unknown`.",
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
	routes[2].Doc = "The query may have `fields`, with plain names."
	routes[4].Doc = routes[2].Doc
	routes[3].Doc = "The body is a JSON object. A token, a method or a batch in it is refused."
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
	Success  bool           `json:"success,omitempty" doc:"Only after a mark as read, from Meta: no other member is there then."`
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
		a, refused = in.hand(r.Context(), w.Header(), &m, in.now())
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

// readGraph returns the message of a request to Meta's own path, and its recipient as it was given.
// A mark as read is passed on, and answered.
func (in *Intake) readGraph(w http.ResponseWriter, r *http.Request, key httpapi.Key, idempotency *string, now time.Time) (m message.Message, given string, mark bool, refused refusal) {
	e := newEnvelope()
	defer e.free()
	if refused = e.readBody(w, r); refused != nil {
		return m, "", false, refused
	}
	object := e.body.Root()
	if content.IsMark(object) {
		in.graphMark(w, r, key, object, bytes.Clone(e.buffer)) // the transport may read it for longer than the envelope lives
		return m, "", true, nil
	}
	given, _ = object.Get("to").Text()
	plain := e.assumeMeta(object)
	e.openHeaders(r)
	e.message = object
	m = e.order(idempotency)
	if plain { // what Meta makes of it is Meta's to say
		m.Content.To = strings.TrimPrefix(m.Content.To, "+")
	}
	if !object.Get("messaging_product").Present() {
		e.refuse("message.messaging_product", "messaging_product_missing")
	}
	return m, given, false, in.check(e, &m, key, now)
}

// graphHeaders are the members of an order that ride in headers.
var graphHeaders = map[string]string{
	"class": "Sluice-Class", "ref": "Sluice-Ref", "tags": "Sluice-Tags", "send_at": "Sluice-Send-At", "expires_at": "Sluice-Expires-At",
}

// openHeaders takes the members of a request from its path and headers. A header that is there
// and blank is not as good as absent: its caller meant to give something.
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

// assumeMeta lets pass what Meta lets pass: text without a type, and a phone number without its
// plus. It tells whether there was one: on Meta's path it means what it means at Meta, which may
// be a number of the sender's country.
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

// graphMark passes a mark as read, or that somebody types, on to Meta.
func (in *Intake) graphMark(w http.ResponseWriter, r *http.Request, key httpapi.Key, object jsondoc.Value, body []byte) {
	_, problems := content.CheckMark(object)
	if len(problems) > 0 {
		in.graphRefuse(w, problems)
		return
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	in.forward(w, r, key, r.PathValue("phone_number_id"), passTime)
}

// forward passes a call on for a number, if the key covers it.
func (in *Intake) forward(w http.ResponseWriter, r *http.Request, key httpapi.Key, number string, most time.Duration) {
	if in.reachable(w, key, number) {
		r, cancel := within(r, most)
		defer cancel()
		in.o.Graph.Forward(w, r, number)
	}
}

// within gives a call of Meta so much time at most: its caller is to get an answer of ours when Meta
// gives none, while there is time left to write it.
func within(r *http.Request, most time.Duration) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), most)
	return r.WithContext(ctx), cancel
}

// reachable tells whether calls of a number are passed on for a key, and refuses them if not.
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
	// maxMedia is what Meta takes at most, 100 MB, with room for the form around it.
	maxMedia  = 100<<20 + 1<<20
	mediaTime = 5 * time.Minute
	// A call that is passed on may take so long, one with media so long. The server's own time to answer
	// is 20 s, in which the body comes too; for media it is mediaTime.
	passTime      = 8 * time.Second
	passMediaTime = mediaTime - 10*time.Second
)

// pass serves calls that go to Meta as they come.
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

// giveTime lets a request with media take its time.
func giveTime(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	c.SetReadDeadline(time.Now().Add(mediaTime))
	c.SetWriteDeadline(time.Now().Add(mediaTime))
}

// graphObject serves GET /{version}/{id}: a number of ours, or media of one.
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

// graphDelete serves DELETE /{version}/{id}, of media alone.
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

// graphDownload serves GET /{version}/{id}/download, which Meta has not: what stands at the URL
// of media, for those who have no token of Meta's.
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

// graphMedia asks Meta about the media object that a call names. What is no media of a number
// within the key is not there: an id may be anything that the number's token reaches.
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
