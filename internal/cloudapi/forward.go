package cloudapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// maxObject is the most that is read of what Meta tells of an object, maxDownload of what it
// gives out as media; Meta, Cloud API, "Media", takes documents up to 100 MB.
const (
	maxObject   = 64 << 10
	maxDownload = 100 << 20
)

// mediaHosts are where Meta keeps media, beside the host of the Graph API: who has the token
// in a request there. Meta, Cloud API, "Media".
var mediaHosts = []string{".fbsbx.com", ".whatsapp.net", ".facebook.com"}

// Headers that pass: what others there are concerns the caller's connection, or tells who he
// is. Answers that another may see must set no cookies.
var (
	askHeaders    = []string{"Accept", "Content-Type", "Range"}
	answerHeaders = []string{
		"Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Content-Disposition", "Etag", "Retry-After",
		"Facebook-Api-Version", "X-App-Usage", "X-Business-Use-Case-Usage", "X-Fb-Trace-Id", "X-Fb-Request-Id",
	}
)

// Forwarder passes calls of others on to Meta, with the access token of a number in the place
// of what they came with. It streams, repeats nothing, and logs nothing. It is safe for
// concurrent use.
type Forwarder struct {
	base   *url.URL
	client *Client // for its transport and its tokens
	calls  *prometheus.CounterVec
}

// NewForwarder returns one. Of the options it heeds BaseURL, Token and Registerer.
func NewForwarder(o Options) (*Forwarder, error) {
	base, err := url.Parse(strings.TrimRight(cmp.Or(o.BaseURL, DefaultBaseURL), "/"))
	if err != nil {
		return nil, errors.New("graph base URL cannot be used")
	}
	f := &Forwarder{
		base:   base,
		client: NewClient(Options{BaseURL: o.BaseURL, Token: o.Token}),
		calls: promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_graph_forwarded_total",
			Help: "Requests of API callers that were forwarded to Meta, by the class of Meta's HTTP status. none: no answer.",
		}, []string{"status"}),
	}
	for _, class := range []string{"2xx", "3xx", "4xx", "5xx", "none"} {
		f.calls.WithLabelValues(class)
	}
	return f, nil
}

// Close closes the idle connections.
func (f *Forwarder) Close() { f.client.Close() }

// passable are the paths of calls that are passed on. None needs a letter that a URL would encode.
var passable = regexp.MustCompile(`^/v[0-9]{1,3}\.[0-9]{1,2}/[0-9]{1,32}(/(messages|media|whatsapp_business_profile))?$`)

// passedQuery are the parameters that pass. Others, a token or a method above all, are left out.
var passedQuery = []string{"fields", "phone_number_id"}

// plainFields are names of fields. With braces and parentheses the Graph API goes on from an object to
// others, which are not the number's.
var plainFields = regexp.MustCompile(`^[A-Za-z0-9_, ]*$`)

// Forward makes the call of r, its method, path, query and body, and answers with what Meta
// answers. The call ends with r's context. It passes on only what is known to concern the number:
// see passable, passedQuery and passedBody.
func (f *Forwarder) Forward(w http.ResponseWriter, r *http.Request, number string) {
	if !passable.MatchString(r.URL.Path) {
		f.answer(w, http.StatusBadRequest, 100, "Calls of this path are not passed on.")
		return
	}
	for _, fields := range r.URL.Query()["fields"] {
		if !plainFields.MatchString(fields) {
			f.answer(w, http.StatusBadRequest, 100, "fields: names with commas between them pass, and nothing else.")
			return
		}
	}
	r = r.Clone(r.Context()) // passedBody changes it
	body, err := passedBody(r)
	if err != nil {
		f.fail(w, err)
		return
	}
	defer body.Close()
	r.Body = body
	f.pass(w, r, number, f.at(r.URL.Path, r.URL.Query()))
}

// at is the URL of a call.
func (f *Forwarder) at(path string, query url.Values) *url.URL {
	passed := url.Values{}
	for _, name := range passedQuery {
		if query.Has(name) {
			passed[name] = query[name]
		}
	}
	return &url.URL{Scheme: f.base.Scheme, Host: f.base.Host, Path: f.base.Path + path, RawQuery: passed.Encode()}
}

// pass makes the call of r at another URL.
func (f *Forwarder) pass(w http.ResponseWriter, r *http.Request, number string, to *url.URL) {
	token, err := f.client.tokenOf(number)
	if err != nil {
		f.refuse(w)
		return
	}
	proxy := &httputil.ReverseProxy{
		Transport: f.client.transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL, p.Out.Host = to, to.Host
			p.Out.Header = only(p.Out.Header, askHeaders)
			p.Out.Header.Set("Authorization", "Bearer "+token)
			p.Out.Header.Set("User-Agent", "sluice")
			p.Out.GetBody = nil // else a call might be made twice
		},
		ModifyResponse: func(resp *http.Response) error {
			if resp.ContentLength > maxDownload {
				return errors.New("too large")
			}
			f.count(resp.StatusCode)
			resp.Header = only(resp.Header, answerHeaders)
			resp.Body = struct {
				io.Reader
				io.Closer
			}{io.LimitReader(resp.Body, maxDownload), resp.Body}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			f.fail(w, err)
		},
		ErrorLog: log.New(io.Discard, "", 0), // it would quote what came
	}
	proxy.ServeHTTP(w, r)
}

func only(h http.Header, names []string) http.Header {
	out := http.Header{}
	for name, values := range h {
		if slices.Contains(names, name) {
			out[name] = values
		}
	}
	return out
}

// Media asks Meta about a media object. Meta checks whether it belongs to the number. Without
// an object, status and answer are those to give.
func (f *Forwarder) Media(r *http.Request, number, version, id string) (object map[string]any, status int, answer []byte) {
	status, answer = f.get(r, number, f.at("/"+version+"/"+id, url.Values{"phone_number_id": {number}}))
	if status != http.StatusOK {
		return nil, status, answer
	}
	if json.Unmarshal(answer, &object) != nil || object == nil {
		return nil, http.StatusServiceUnavailable, failure(2, "The answer could not be read.")
	}
	return object, status, answer
}

// get makes a small call of our own on behalf of r.
func (f *Forwarder) get(r *http.Request, number string, at *url.URL) (status int, answer []byte) {
	away := failure(2, "Meta does not answer.")
	token, err := f.client.tokenOf(number)
	if err != nil {
		f.calls.WithLabelValues("none").Inc()
		return http.StatusServiceUnavailable, away
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, at.String(), nil)
	if err != nil {
		return http.StatusServiceUnavailable, away
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("User-Agent", "sluice")
	resp, err := f.client.transport.RoundTrip(req)
	if err != nil {
		f.calls.WithLabelValues("none").Inc()
		return http.StatusServiceUnavailable, away
	}
	defer resp.Body.Close()
	f.count(resp.StatusCode)
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxObject))
	if err != nil {
		return http.StatusServiceUnavailable, away
	}
	return resp.StatusCode, answer
}

// Download answers with the content of the URL that Media returned. The token goes to Meta's hosts
// alone.
func (f *Forwarder) Download(w http.ResponseWriter, r *http.Request, number, link string) {
	u, err := url.Parse(link)
	if err != nil || !f.isMetas(u) {
		f.answer(w, http.StatusServiceUnavailable, 2, "The media lies where no token is sent.")
		return
	}
	f.pass(w, r, number, u)
}

func (f *Forwarder) isMetas(u *url.URL) bool {
	if u.Scheme == f.base.Scheme && u.Host == f.base.Host {
		return true
	}
	return u.Scheme == "https" && u.User == nil && u.Port() == "" &&
		slices.ContainsFunc(mediaHosts, func(host string) bool { return strings.HasSuffix(u.Hostname(), host) })
}

func (f *Forwarder) count(status int) {
	class := "none"
	if status >= 200 && status < 600 {
		class = string('0'+byte(status/100)) + "xx"
	}
	f.calls.WithLabelValues(class).Inc()
}

// fail answers for a call that ended with an error.
func (f *Forwarder) fail(w http.ResponseWriter, err error) {
	_, large := errors.AsType[*http.MaxBytesError](err)
	refused, ours := errors.AsType[bodyRefused](err)
	switch {
	case large:
		f.answer(w, http.StatusBadRequest, 100, "The body is too large.")
	case ours:
		f.answer(w, http.StatusBadRequest, 100, string(refused))
	default:
		f.refuse(w)
	}
}

// refuse answers for a call that could not be made, or got no answer.
func (f *Forwarder) refuse(w http.ResponseWriter) {
	f.calls.WithLabelValues("none").Inc()
	f.answer(w, http.StatusServiceUnavailable, 2, "The call could not be passed on to Meta, or Meta did not answer.")
}

func (f *Forwarder) answer(w http.ResponseWriter, status, code int, details string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(failure(code, details))
}

// failure writes an error in Meta's shape.
func failure(code int, details string) []byte {
	e, _ := Lookup(code)
	b, _ := json.Marshal(map[string]any{"error": map[string]any{
		"message": e.Title, "type": "OAuthException", "code": code, "is_transient": code == 2,
		"error_data": map[string]string{"messaging_product": "whatsapp", "details": details}, "fbtrace_id": "",
	}}) // all of it can be written
	return b
}
