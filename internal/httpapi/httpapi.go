// Package httpapi is what our HTTP APIs have in common: who may call, how they refuse, and what
// stands in each answer.
package httpapi

import (
	"crypto/rand"
	"net/http"
	"path"
	"regexp"
)

// Handler serves an API by its routes. What no route is about is not found.
func Handler(routes []Route) http.Handler {
	return Frame(Mux(routes, func(w http.ResponseWriter, code string) { Refuse(code).Write(w) }))
}

// Values of headers that all answers share. They have no room to append to.
var nosniff, noStore = []string{"nosniff"}, []string{"no-store"}

// Frame puts h into what all our APIs have in common: each answer names its request, and is
// kept by no cache.
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

// requestID is the caller's own, where it is fit for a log and a header, else a new one.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); id != "" && goodRequestID.MatchString(id) {
		return id
	}
	return rand.Text()
}
