package graphsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"sluice/internal/cloudapi"
)

// graph adds to a handler the checks of all of Meta's paths: the outage, the
// version and, unless the handler does it itself, the token.
func (s *Sim) graph(next http.HandlerFunc, judged bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Facebook-Api-Version", "v25.0")
		w.Header().Set("X-Fb-Trace-Id", trace)
		if s.inOutage() {
			s.count(outage)
			writeError(w, 2, "")
			return
		}
		if judged {
			if d := s.standing.Load().judge(bearer(r), time.Now()); d != nil {
				s.deny(w, d)
				return
			}
		}
		if version := r.PathValue("version"); version != "" && !versionForm.MatchString(version) {
			s.unsupported(w, r)
			return
		}
		next(w, r)
	})
}

// refuse answers with a Graph error and counts it. Empty details mean Meta's general text for the
// code.
func (s *Sim) refuse(w http.ResponseWriter, code int, details string) {
	s.count(strconv.Itoa(code))
	writeError(w, code, details)
}

// refuseFor answers with the error of a message and counts it.
func (s *Sim) refuseFor(w http.ResponseWriter, wrong *wrong) {
	if wrong.plain {
		s.deny(w, &denial{http.StatusBadRequest, wrong.code, 0, fmt.Sprintf("(#%d) %s", wrong.code, wrong.details)})
		return
	}
	s.refuse(w, wrong.code, wrong.details)
}

// succeed answers 200 and counts it.
func (s *Sim) succeed(w http.ResponseWriter, body any) {
	s.count(okay)
	writeJSON(w, http.StatusOK, body)
}

// unsupported answers requests to other paths, as the Graph API does for
// objects that do not exist.
func (s *Sim) unsupported(w http.ResponseWriter, r *http.Request) { s.deny(w, notFound(r.Method)) }

// graphError is Meta's error shape:
// https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
type graphError struct {
	Message string     `json:"message"`
	Type    string     `json:"type"`
	Code    int        `json:"code"`
	Subcode int        `json:"error_subcode,omitempty"`
	Data    *errorData `json:"error_data,omitempty"`
	Trace   string     `json:"fbtrace_id"`
}

type errorData struct {
	Product string `json:"messaging_product,omitempty"`
	Details string `json:"details"`
}

// trace is the value of Meta's trace id.
const trace = "SluiceGraphSimulator"

func writeError(w http.ResponseWriter, code int, details string) {
	known := describe(code)
	writeJSON(w, cmp.Or(known.Status, http.StatusBadRequest), map[string]graphError{"error": {
		Message: fmt.Sprintf("(#%d) %s", code, known.Title),
		Type:    "OAuthException",
		Code:    code,
		Data:    &errorData{"whatsapp", cmp.Or(details, known.Meaning)},
		Trace:   trace,
	}})
}

// describe returns the catalogue entry of a code, which must be one of Meta's or unlisted.
func describe(code int) cloudapi.Entry {
	known, ok := cloudapi.Lookup(code)
	switch {
	case ok:
		return known
	case unlisted(code):
		return cloudapi.Entry{Code: code, Title: "Something new", Meaning: "This code is in no list.", Status: http.StatusBadRequest}
	}
	panic(fmt.Sprintf("graphsim: code %d is not in the catalogue", code))
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // an error means that the client left
}
