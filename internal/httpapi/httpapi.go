// Package httpapi is what our HTTP APIs have in common: who may call, how they refuse, and what
// stands in each answer.
package httpapi

import (
	"crypto/rand"
	"net/http"
	"path"
	"regexp"
)

// Handler serves an API by its routes. What no route is about is not found. Each answer names
// its request, and is kept by no cache.
func Handler(routes *http.ServeMux) http.Handler {
	routes.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { Refuse("not_found").Write(w) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", requestID(r))
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if p := r.URL.EscapedPath(); p != path.Clean(p) { // the mux would redirect
			Refuse("not_found").Write(w)
			return
		}
		routes.ServeHTTP(w, r)
	})
}

// NotAllowed answers for the methods that a path does not take.
func NotAllowed(allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", allow)
		Refuse("method_not_allowed").Write(w)
	}
}

var goodRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestID is the caller's own, where it is fit for a log and a header, else a new one.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); goodRequestID.MatchString(id) {
		return id
	}
	return rand.Text()
}
