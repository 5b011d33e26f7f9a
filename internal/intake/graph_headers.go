package intake

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// knownHeaders are the headers of Sluice on Meta's paths.
var knownHeaders = append(slices.Collect(maps.Values(graphHeaders)), "Sluice-Wait")

// checkHeaders refuses headers of Sluice that this version does not know. A misspelled deadline or class would be
// ignored otherwise.
func checkHeaders(h http.Header) refusal {
	for name := range h {
		if strings.HasPrefix(name, "Sluice-") && !slices.Contains(knownHeaders, name) {
			return refuseAt(shortName(name), "header_unknown")
		}
	}
	return nil
}

// shortName returns the name of a header, or "Sluice-..." if it is too long to be shown.
func shortName(name string) string {
	if len(name) > 64 {
		return "Sluice-..."
	}
	return name
}
