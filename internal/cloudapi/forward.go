package cloudapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
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

	"sluice/internal/version"
)

// maxObject is the maximum size of the description of an object, maxDownload that of media. Meta allows documents
// up to 100 MB: Cloud API, "Media".
const (
	maxObject   = 64 << 10
	maxDownload = 100 << 20
)

// mediaHosts are the hosts of Meta's media, in addition to the host of the Graph API. Only these hosts get the
// token. Meta, Cloud API, "Media".
var mediaHosts = []string{".fbsbx.com", ".whatsapp.net", ".facebook.com"}

// The forwarded headers. Other headers of a request are about its connection or its caller. Other headers of an
// answer could set cookies.
var (
	askHeaders    = []string{"Accept", "Content-Type", "Range"}
	answerHeaders = []string{
		"Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Content-Disposition", "Etag", "Retry-After",
		"Facebook-Api-Version", "X-App-Usage", "X-Business-Use-Case-Usage", "X-Fb-Trace-Id", "X-Fb-Request-Id",
	}
)

// Forwarder forwards calls of API callers to Meta, with the access token of a number instead of their API key. It
// streams media, never retries, and logs nothing. It is safe for concurrent use.
type Forwarder struct {
	base   *url.URL
	client *Client // has the transport and the tokens
	calls  *prometheus.CounterVec
}

// NewForwarder returns a Forwarder. It uses the options BaseURL, Version (of its own look-ups), Token and Registerer.
func NewForwarder(o Options) (*Forwarder, error) {
	base, err := url.Parse(strings.TrimRight(cmp.Or(o.BaseURL, DefaultBaseURL), "/"))
	if err != nil {
		return nil, errors.New("graph base URL cannot be used")
	}
	f := &Forwarder{
		base:   base,
		client: NewClient(Options{BaseURL: o.BaseURL, Version: o.Version, Token: o.Token}),
		calls: promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_graph_forwarded_total",
			Help: "Other Graph API requests that callers sent through the producer and that it forwarded to Meta, by the class of Meta's HTTP status. none: no answer.",
		}, []string{"status"}),
	}
	for _, class := range []string{"2xx", "3xx", "4xx", "5xx", "none"} {
		f.calls.WithLabelValues(class)
	}
	return f, nil
}

// Close closes the idle connections.
func (f *Forwarder) Close() { f.client.Close() }

// passable matches the paths of forwarded calls: an object by its id, an edge of it, and a part of the edge; and Meta's
// library of templates. They have only characters that a URL does not encode.
var passable = regexp.MustCompile(`^/v[0-9]{1,3}\.[0-9]{1,2}/([0-9]{1,32}(/[a-z_]{1,64}(/[A-Za-z0-9]{1,64})?)?|message_template_library)$`)

// plainFields matches field names, and fields with arguments that are not about other objects: the analytics of an
// account, whose arguments select numbers and times, and the preview of a flow. With other braces and parentheses, a call could read objects that do not belong to the number or the account.
var plainFields = regexp.MustCompile(`^([A-Za-z0-9_, ]|(analytics|preview)(\.[a-z_]{1,32}\([A-Za-z0-9_\[\]", +-]*\))+)*$`)

// Forward forwards r to Meta, with its method, path, query and body, and answers with Meta's answer: see rewrite. It uses the
// access token of the number. origin is the scheme and the host by which the caller reached Sluice. The call ends with the
// context of r. The caller decides which objects and edges r may name.
// Forward refuses what could make another call of it: see passable, passedQuery and passedBody.
func (f *Forwarder) Forward(w http.ResponseWriter, r *http.Request, number string, origin *url.URL) {
	if !passable.MatchString(r.URL.Path) {
		f.answer(w, http.StatusBadRequest, 100, "Sluice does not forward calls of this path.")
		return
	}
	query := r.URL.Query()
	for _, method := range query["method"] {
		if !strings.EqualFold(method, r.Method) {
			f.answer(w, http.StatusBadRequest, 100, "method: Sluice uses the method of the request. Send the request with that method.")
			return
		}
	}
	for _, fields := range query["fields"] {
		if !plainFields.MatchString(fields) {
			f.answer(w, http.StatusBadRequest, 100, "fields: only names with commas between them are allowed, and analytics and preview with their arguments.")
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
	r.Header.Del("Range") // a part of an answer could have a part of the token
	f.pass(w, r, number, f.at(r.URL.Path, query), func(resp *http.Response, token string) error { return f.rewrite(resp, token, origin) })
}

// at returns the URL of a call.
func (f *Forwarder) at(path string, query url.Values) *url.URL {
	return &url.URL{Scheme: f.base.Scheme, Host: f.base.Host, Path: f.base.Path + path, RawQuery: passedQuery(query).Encode()}
}

// pass makes the call of r at another URL. change changes the answer.
func (f *Forwarder) pass(w http.ResponseWriter, r *http.Request, number string, to *url.URL, change func(resp *http.Response, token string) error) {
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
			p.Out.Header.Set("User-Agent", version.UserAgent)
			p.Out.GetBody = nil // with it the transport could retry the call
		},
		ModifyResponse: func(resp *http.Response) error {
			resp.Header = only(resp.Header, answerHeaders)
			if err := change(resp, token); err != nil {
				return err
			}
			f.count(resp.StatusCode)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			f.fail(w, err)
		},
		ErrorLog: log.New(io.Discard, "", 0), // its lines could quote requests
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

// Media returns Meta's description of a media object. Meta checks that it belongs to the number. If object is nil,
// status and answer are the error to return.
func (f *Forwarder) Media(r *http.Request, number, version, id string) (object map[string]any, status int, answer []byte) {
	status, answer = f.get(r, number, f.at("/"+version+"/"+id, url.Values{"phone_number_id": {number}}))
	if status != http.StatusOK {
		return nil, status, answer
	}
	if json.Unmarshal(answer, &object) != nil || object == nil {
		return nil, http.StatusServiceUnavailable, failure(2, "Meta's answer cannot be read.", "")
	}
	return object, status, answer
}

// get makes a small call for the request r.
func (f *Forwarder) get(r *http.Request, number string, at *url.URL) (status int, answer []byte) {
	away := failure(2, "Meta does not answer.", "")
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
	req.Header.Set("User-Agent", version.UserAgent)
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
	return resp.StatusCode, withoutToken(answer, token)
}

// Download answers with the content of the URL that Media returned. Only Meta's hosts get the token.
func (f *Forwarder) Download(w http.ResponseWriter, r *http.Request, number, link string) {
	u, err := url.Parse(link)
	if err != nil || !f.isMetas(u) {
		f.answer(w, http.StatusServiceUnavailable, 2, "The URL of the media is not on a host of Meta.")
		return
	}
	f.pass(w, r, number, u, limited)
}

// limited limits an answer to maxDownload.
func limited(resp *http.Response, _ string) error {
	if resp.ContentLength > maxDownload {
		return errors.New("too large")
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxDownload), resp.Body}
	return nil
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

// fail answers a call that ended with an error.
func (f *Forwarder) fail(w http.ResponseWriter, err error) {
	_, large := errors.AsType[*http.MaxBytesError](err)
	refused, ours := errors.AsType[bodyRefused](err)
	switch {
	case large:
		f.answer(w, http.StatusBadRequest, 100, "The body is larger than 256 KiB, or than 100 MB for media.")
	case ours:
		f.answer(w, http.StatusBadRequest, 100, string(refused))
	default:
		f.refuse(w)
	}
}

// refuse answers a call that could not be made, or got no answer.
func (f *Forwarder) refuse(w http.ResponseWriter) {
	f.calls.WithLabelValues("none").Inc()
	f.answer(w, http.StatusServiceUnavailable, 2, "Sluice could not forward the call, or Meta did not answer.")
}

func (f *Forwarder) answer(w http.ResponseWriter, status, code int, details string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(failure(code, details, w.Header().Get("X-Request-Id")))
}

// failure returns an error in the form of Meta's errors. trace identifies the request.
func failure(code int, details, trace string) []byte {
	e, _ := Lookup(code)
	b, _ := json.Marshal(map[string]any{"error": map[string]any{
		"message": fmt.Sprintf("(#%d) %s", code, e.Title), "type": "OAuthException", "code": code, "is_transient": code == 2,
		"error_data": map[string]string{"messaging_product": "whatsapp", "details": details}, "fbtrace_id": trace,
	}}) // cannot fail for strings and numbers
	return b
}
