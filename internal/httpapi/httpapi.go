// Package httpapi has what the HTTP APIs share: API keys, problem answers, strict bodies and times, and the
// table of routes from which the mux and all descriptions are made.
package httpapi

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"path"
	"regexp"
)

// Handler serves the routes of an API. It answers not_found for all other paths.
func Handler(routes []Route) http.Handler {
	return Frame(Mux(routes, func(w http.ResponseWriter, code string) { Refuse(code).Write(w) }))
}

// Values of headers that all answers share. Their capacity equals their length, so an append copies them.
var nosniff, noStore = []string{"nosniff"}, []string{"no-store"}

// Frame adds to h what all APIs of Sluice share: each answer has a request id, and headers that forbid caching
// and content sniffing.
func Frame(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header["X-Request-Id"] = []string{requestID(r)}
		header["X-Content-Type-Options"] = nosniff
		header["Cache-Control"] = noStore
		if p := r.URL.EscapedPath(); p != path.Clean(p) { // the mux would redirect
			Refuse("not_found").Write(w)
			return
		}
		h.ServeHTTP(w, r)
	})
}

var goodRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestID returns the request id of the caller if it is safe for logs and headers, else a new one.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); id != "" && goodRequestID.MatchString(id) {
		return id
	}
	return rand.Text()
}

// Origin returns the scheme and the host by which the caller of a request reached the API, also through a proxy that ends TLS.
func Origin(r *http.Request) *url.URL {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return &url.URL{Scheme: scheme, Host: r.Host}
}
