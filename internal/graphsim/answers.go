package graphsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/internal/cloudapi"
)

// graph adds to a handler the checks of all of Meta's paths: the outage, the
// version and, unless the handler does it itself, the token.
func (s *Sim) graph(next http.HandlerFunc, judged bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served, known := s.standing.Load().serves(cmp.Or(r.PathValue("version"), defaultVersion))
		setHeaders(w.Header(), served)
		if s.inOutage() {
			s.count(outage)
			writeError(w, 2, "")
			return
		}
		if judged {
			if d := s.standing.Load().judge(tokenOf(w, r), time.Now()); d != nil {
				s.deny(w, d)
				return
			}
		}
		if version := r.PathValue("version"); version != "" && !versionForm.MatchString(version) {
			s.unsupported(w, r)
			return
		}
		if !known {
			s.deny(w, unknownVersion(r))
			return
		}
		next(w, r)
	})
}

// metaHeaders are headers of each answer of the Graph API.
var metaHeaders = map[string]string{
	"Access-Control-Allow-Origin": "*",
	"Cache-Control":               "private, no-cache, no-store, must-revalidate",
	"Expires":                     "Sat, 01 Jan 2000 00:00:00 GMT",
	"Pragma":                      "no-cache",
	"Strict-Transport-Security":   "max-age=15552000; preload",
	"Vary":                        "Origin",
	"X-App-Usage":                 `{"call_count":0,"total_cputime":0,"total_time":0}`,
	"X-Fb-Rev":                    "1031234567",
	"X-Fb-Request-Id":             trace,
	"X-Fb-Trace-Id":               trace,
}

func setHeaders(h http.Header, version string) {
	for name, value := range metaHeaders {
		h.Set(name, value)
	}
	h.Set("Facebook-Api-Version", version)
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
		s.deny(w, &denial{status: http.StatusBadRequest, code: wrong.code, subcode: 0, message: fmt.Sprintf("(#%d) %s", wrong.code, wrong.details)})
		return
	}
	s.refuse(w, wrong.code, wrong.details)
}

// succeed answers 200 and counts it.
func (s *Sim) succeed(w http.ResponseWriter, body any) {
	s.count(okay)
	writeJSON(w, http.StatusOK, body)
}

// unsupported answers requests to other paths. The Graph API answers a GET of something that an existing object does not have with
// another error than the other calls.
func (s *Sim) unsupported(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/") // "", version, id, edge
	if len(parts) < 3 {
		s.deny(w, notFound(r.Method, ""))
		return
	}
	id := parts[2]
	if kind := s.kindOf(id); kind != "" && r.Method == http.MethodGet && len(parts) > 3 {
		s.deny(w, nonexisting(parts[3], kind))
		return
	}
	s.deny(w, notFound(r.Method, id))
}

// kindOf returns the node type of an id, or "" if there is no such object.
func (s *Sim) kindOf(id string) string {
	st := s.standing.Load()
	switch _, number := st.number(id, s.options.Rate); {
	case id == st.ID:
		return "WhatsAppBusinessAccount"
	case id == st.App.ID:
		return "Application"
	case number:
		return "WhatsAppBusinessPhoneNumber"
	}
	return ""
}

// graphError is Meta's error shape:
// https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
type graphError struct {
	Message string     `json:"message"`
	Type    string     `json:"type"`
	Code    int        `json:"code"`
	Subcode int        `json:"error_subcode,omitempty"`
	Title   string     `json:"error_user_title,omitempty"`
	Text    string     `json:"error_user_msg,omitempty"`
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
	writeFailure(w, cmp.Or(known.Status, http.StatusBadRequest), graphError{
		Message: fmt.Sprintf("(#%d) %s", code, known.Title),
		Type:    "OAuthException",
		Code:    code,
		Data:    &errorData{"whatsapp", cmp.Or(details, known.Meaning)},
		Trace:   trace,
	})
}

// writeFailure answers with an error in Meta's form.
func writeFailure(w http.ResponseWriter, status int, e graphError) {
	kind := "invalid_request"
	if status == http.StatusUnauthorized {
		kind = "invalid_token"
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf("OAuth \"Facebook Platform\" %q %+q", kind, e.Message))
	writeJSON(w, status, map[string]graphError{"error": e})
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
