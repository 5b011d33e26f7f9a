package intake

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"sluice/internal/content"
	"sluice/internal/httpapi"
)

// graphFailure is an error in the form of Meta's errors.
type graphFailure struct {
	Error graphError `json:"error" doc:"The error, in the form of Meta's errors."`
}

type graphError struct {
	Message   string       `json:"message" doc:"The code and its title."`
	Type      string       `json:"type" doc:"Always OAuthException, as in Meta's answers."`
	Code      int          `json:"code" doc:"Meta's error code; docs/errors.md lists the codes."`
	Subcode   int          `json:"error_subcode,omitempty" doc:"33: the object was not found."`
	Transient bool         `json:"is_transient,omitempty" doc:"true: the same request may succeed later."`
	Data      *graphDetail `json:"error_data,omitempty" doc:"What to correct."`
	Trace     string       `json:"fbtrace_id" doc:"The same value as the header X-Request-Id."`
}

type graphDetail struct {
	Product string `json:"messaging_product" doc:"whatsapp"`
	Details string `json:"details" doc:"Up to 20 mistakes, each with its place, the rule and the fix."`
}

// graphCodes has Meta's codes for problem codes that are not about the content of a message. Meta, Cloud API,
// "Error codes".
var graphCodes = map[string]struct{ status, code, subcode int }{
	"unauthenticated":           {401, 190, 0},
	"api_key_revoked":           {401, 190, 0},
	"api_key_expired":           {401, 190, 463}, // Meta's subcode of a token that expired
	"scope_missing":             {403, 10, 0},
	"phone_number_id_not_found": {400, 100, 33},
	"not_found":                 {400, 100, 33},
	"deadline_unreachable":      {429, 130429, 0},
	"store_unavailable":         {503, 2, 0},
	"overloaded":                {503, 2, 0},
	"forwarding_not_configured": {503, 2, 0},
	"type_unknown":              {400, 131051, 0},
	"recipient_is_sender":       {400, 131021, 0},
	"template_name_invalid":     {400, 132001, 0},
}

// breachCode returns Meta's code for a problem code about the content of a message. It returns 100, an invalid
// parameter, for other codes.
var breachCode = sync.OnceValue(func() func(code string) int {
	codes := map[string]int{}
	for _, r := range content.Rules() {
		switch r.Breach {
		case content.Missing:
			codes[r.Code] = 131008
		case content.Invalid:
			codes[r.Code] = 131009
		}
	}
	return func(code string) int {
		if c := codes[code]; c != 0 {
			return c
		}
		return 100
	}
})

// graphRefuse answers with a refusal in the form of Meta's errors.
func (in *Intake) graphRefuse(w http.ResponseWriter, refused refusal) {
	answer, known := graphCodes[refused[0].Code]
	if !known {
		answer.status, answer.code = http.StatusBadRequest, breachCode()(refused[0].Code)
	}
	title := http.StatusText(answer.status)
	if in.o.Explain != nil {
		title, _ = in.o.Explain(answer.code)
	}
	f := graphFailure{graphError{
		Message: fmt.Sprintf("(#%d) %s", answer.code, title), Type: "OAuthException", Code: answer.code, Subcode: answer.subcode,
		Transient: answer.status >= 429, Data: &graphDetail{"whatsapp", details(refused)}, Trace: w.Header().Get("X-Request-Id"),
	}}
	switch answer.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(httpapi.RetryAfter))
	}
	httpapi.WriteJSON(w, "application/json", answer.status, f)
}

// details returns one line for each problem, with the names that Meta's API has.
func details(refused refusal) string {
	var b strings.Builder
	for i, p := range refused {
		if i > 0 {
			b.WriteByte('\n')
		}
		path := strings.TrimPrefix(p.Path, "message.")
		if header := graphHeaders[path]; header != "" {
			path = header
		} else if strings.HasPrefix(path, "tags[") {
			path = graphHeaders["tags"]
		}
		if path != "" {
			b.WriteString(path + ": ")
		}
		b.WriteString(p.Detail + " " + p.Fix)
	}
	return b.String()
}
