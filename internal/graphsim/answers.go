package graphsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"sluice/internal/cloudapi"
)

// graph puts in front of a handler what holds for all of Meta's paths: the outage and the
// token.
func (s *Sim) graph(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.inOutage() {
			s.count(outage)
			writeError(w, 2, "")
			return
		}
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || token == "" || s.options.Token != "" && token != s.options.Token {
			s.refuse(w, 190, "")
			return
		}
		next(w, r)
	})
}

// refuse answers with a Graph error and counts it. Empty details: what Meta says of the
// code in general.
func (s *Sim) refuse(w http.ResponseWriter, code int, details string) {
	s.count(strconv.Itoa(code))
	writeError(w, code, details)
}

// succeed answers 200 and counts it.
func (s *Sim) succeed(w http.ResponseWriter, body any) {
	s.count(okay)
	writeJSON(w, http.StatusOK, body)
}

// unsupported answers for paths the simulator does not have, as the Graph API does for
// objects that do not exist.
func (s *Sim) unsupported(w http.ResponseWriter, r *http.Request) {
	s.count("100")
	e := graphError{
		Message: "Unsupported " + strings.ToLower(r.Method) + " request. Object does not exist, cannot be loaded" +
			" due to missing permissions, or does not support this operation",
		Type:    "GraphMethodException",
		Code:    100,
		Subcode: 33,
		Trace:   trace,
	}
	writeJSON(w, http.StatusBadRequest, map[string]graphError{"error": e})
}

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

// trace stands where Meta names its trace of a call.
const trace = "SluiceGraphSimulator"

func writeError(w http.ResponseWriter, code int, details string) {
	known, ok := cloudapi.Lookup(code)
	if !ok {
		panic(fmt.Sprintf("graphsim: code %d is not in the catalogue", code))
	}
	if details == "" {
		details = known.Meaning
	}
	writeJSON(w, cmp.Or(known.Status, http.StatusBadRequest), map[string]graphError{"error": {
		Message: fmt.Sprintf("(#%d) %s", code, known.Title),
		Type:    "OAuthException",
		Code:    code,
		Data:    &errorData{"whatsapp", details},
		Trace:   trace,
	}})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) // an error here is a client that left
}
