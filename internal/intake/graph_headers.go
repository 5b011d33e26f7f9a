package intake

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// checkHeaders returns a handler of Meta's paths that refuses headers of Sluice that this version does not know. A
// misspelled deadline or class would be ignored otherwise.
func (in *Intake) checkHeaders(h http.Handler) http.Handler {
	known := slices.Collect(maps.Values(graphHeaders))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if strings.HasPrefix(name, "Sluice-") && !slices.Contains(known, name) {
				in.graphRefuse(w, refuseAt(shortName(name), "header_unknown"))
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// shortName returns the name of a header, or "Sluice-..." if it is too long to be shown.
func shortName(name string) string {
	if len(name) > 64 {
		return "Sluice-..."
	}
	return name
}
