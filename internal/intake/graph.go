package intake

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sluice/internal/httpapi"
)

// Meta's own paths: a program that calls the Graph API needs only another base URL and an API key to use Sluice.
// Sluice accepts the messages, and forwards the other calls of a number and its account to Meta.
// https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages

// graph forwards calls to Meta with the access token of a number. It always answers, and writes an error in Meta's
// form if Meta does not answer.
type graph interface {
	// Forward forwards r, with its method, path, query and body. origin is the scheme and the host by which the caller
	// reached Sluice: links to further pages lead there.
	Forward(w http.ResponseWriter, r *http.Request, number string, origin *url.URL)
	// Media returns Meta's description of a media object of the number. If object is nil, status and answer are
	// the error to return.
	Media(r *http.Request, number, version, id string) (object map[string]any, status int, answer []byte)
	// Download answers with the content at the URL of a media object.
	Download(w http.ResponseWriter, r *http.Request, number, url string)
	// Belongs reports whether an object is a flow or a message template of an account. It uses the token of number.
	Belongs(ctx context.Context, number, account, id string) (bool, error)
	// Overridden reports whether the webhooks of an account go to a URL of its own. It uses the token of number.
	Overridden(ctx context.Context, number, account string) (bool, error)
}

// accounts knows which WhatsApp Business Account each number belongs to.
type accounts interface {
	// Accounts returns the accounts that are known, by number. It may ask Meta.
	Accounts(ctx context.Context) (map[string]string, error)
}

// graphPath returns a path of Meta in its usual form: "/v25.0/<id>/<edge>". It is false for other paths. Meta ignores
// empty segments, also one at the end, and a path without a version means the given version.
func graphPath(path, version string) (string, bool) {
	segments := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(segments) == 0 {
		return "", false
	}
	switch first := segments[0]; {
	case isVersion(first):
		version, segments = first, segments[1:]
	case digitsOf(first) == len(first), slices.Contains(graphRoots, first):
	default:
		return "", false
	}
	if slices.Contains(segments, ".") || slices.Contains(segments, "..") {
		segments = nil // Meta has no such path
	}
	return strings.TrimSuffix("/"+version+"/"+strings.Join(segments, "/"), "/"), true
}

// graphRoots are objects of the Graph API that have a name in place of an id. Sluice serves the library only.
var graphRoots = []string{"me", "debug_token", "oauth", "message_template_library"}

// isVersion reports whether a segment of a path is a version of the Graph API: "v25.0".
func isVersion(segment string) bool {
	rest, ok := strings.CutPrefix(segment, "v")
	major := digitsOf(rest)
	if !ok || major == 0 || major > 3 || !strings.HasPrefix(rest[major:], ".") {
		return false
	}
	minor := rest[major+1:]
	return minor != "" && len(minor) <= 2 && digitsOf(minor) == len(minor)
}

// digitsOf returns the number of digits at the start of s.
func digitsOf(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }

// graphRequest returns a request on one of Meta's paths with the path in its usual form; nil: the path is not Meta's.
// The path is decoded: an encoded slash separates segments like any other slash. So the mux and Meta read the same path.
func (in *Intake) graphRequest(r *http.Request) *http.Request {
	path, ok := graphPath(r.URL.Path, in.o.Version)
	if !ok {
		return nil
	}
	if path == r.URL.Path && r.URL.RawPath == "" {
		return r
	}
	r = r.WithContext(r.Context())
	u := *r.URL
	u.Path, u.RawPath = path, ""
	r.URL = &u
	return r
}

// graphHandler serves Meta's paths. Every answer has Meta's form.
func (in *Intake) graphHandler() http.Handler {
	mux := httpapi.Mux(append(in.graphRoutes(), in.graphParts()...), func(http.ResponseWriter, string) {}) // refused below
	return httpapi.Frame(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, refused := withToken(w, r)
		if refused == nil {
			refused = checkHeaders(r.Header)
		}
		if refused == nil {
			if _, pattern := mux.Handler(r); pattern == "/" { // a path or a method that Meta does not have, or that Sluice does not serve
				if _, refused = in.graphKey(r, ""); refused == nil {
					refused = graphRefusal("path_not_forwarded")
				}
			}
		}
		if refused != nil {
			in.graphRefuse(w, r, refused)
			return
		}
		mux.ServeHTTP(w, r)
	}))
}

// graphKey returns the API key of a request on one of Meta's paths, which must have a scope; empty: any scope.
func (in *Intake) graphKey(r *http.Request, scope string) (key httpapi.Key, refused refusal) {
	if len(r.Header.Values("Authorization")) == 0 {
		return key, graphRefusal("token_missing")
	}
	scopes := []string{scope}
	if scope == "" {
		scopes = httpapi.Scopes()
	}
	for _, s := range scopes {
		if key, refused = in.o.Keys.Authorize(r, s); refused == nil || refused[0].Code != "scope_missing" {
			break
		}
	}
	return key, refused
}
