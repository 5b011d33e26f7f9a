package intake

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"sluice/internal/content"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// graphFailure is an error in the form of Meta's errors.
type graphFailure struct {
	Error graphError `json:"error" doc:"The error, in the form of Meta's errors."`
}

type graphError struct {
	Message   string       `json:"message" doc:"Meta's text for the error."`
	Type      string       `json:"type" doc:"OAuthException, or GraphMethodException for an object that was not found."`
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

// graphProblems are the problems that only Meta's paths have.
var graphProblems = map[string]struct{ detail, fix string }{
	"token_missing":       {"The request has no API key.", "Send the header Authorization: Bearer <API key>, or the parameter access_token."},
	"path_not_forwarded":  {"Sluice does not serve this call and does not forward it.", "docs/drop-in.md lists the calls. Make this one at Meta, with a token of Meta."},
	"form_invalid":        {"The form cannot be read: a field comes twice, has a wrong name, or is a file.", "Send the message as JSON."},
	"message_of_sluice":   {"This is Sluice's id of a message. Meta's paths have no messages.", "Read the record: GET /v1/messages/{id}."},
	"object_not_found":    {"This is not media, a flow or a template of a number or an account that the API key covers.", "Check the id, and phone_number_ids of the API key."},
	"object_not_changed":  {"Sluice forwards changes of message templates and flows, of accounts that the API key covers. It does not forward changes of numbers and accounts.", "Check the id. Change a number or an account with a token of Meta."},
	"account_not_found":   {"This is not the account of a number that the API key covers, or Meta does not say so.", "Check the id, and phone_number_ids of the API key."},
	"account_not_covered": {"The call concerns all numbers of the account, and the API key does not cover all of them.", "Use an API key that does."},
	"number_not_named":    {"It is not clear which number the media belongs to: the API key covers no number, or too many to ask Meta about each.", "Add phone_number_id to the query."},
	"meta_unavailable":    {"Meta does not answer.", "Send the request again."},
	"message_not_sent":    {"Meta has no id for this message of Sluice: it is not sent yet, or it ended without being sent.", "Read its record: GET /v1/messages/{id}."},
	"put_without_status":  {"PUT marks a message as read.", "Send status and message_id, or send a message with POST."},
}

// graphRefusal returns the refusal for a problem that only Meta's paths have.
func graphRefusal(code string) refusal {
	p := graphProblems[code]
	return refusal{{Code: code, Detail: p.detail, Fix: p.fix}}
}

// graphCodes has Meta's codes for problem codes that are not about the content of a message. Without a message the
// error has the title of the code. Meta, Cloud API, "Error codes".
var graphCodes = map[string]struct {
	status, code, subcode int
	message               string
}{
	"token_missing":             {401, 104, 0, "An access token is required to request this resource."},
	"unauthenticated":           {401, 190, 0, "Invalid OAuth access token - Cannot parse access token"},
	"api_key_revoked":           {401, 190, 467, "Error validating access token: The session has been invalidated."}, // Meta's subcode of an invalid token
	"api_key_expired":           {401, 190, 463, "Error validating access token: Session has expired."},              // of one that expired
	"scope_missing":             {403, 10, 0, ""},
	"account_not_covered":       {403, 10, 0, ""},
	"phone_number_id_not_found": {400, 100, 33, ""},
	"not_found":                 {400, 100, 33, ""},
	"path_not_forwarded":        {400, 100, 33, ""},
	"put_without_status":        {400, 100, 33, ""},
	"message_of_sluice":         {400, 100, 33, ""},
	"object_not_found":          {400, 100, 33, ""},
	"object_not_changed":        {400, 100, 33, ""},
	"account_not_found":         {400, 100, 33, ""},
	"message_not_sent":          {400, 131009, 0, ""},
	"message_of_other_number":   {400, 131009, 0, ""},
	"messaging_product_missing": {400, 100, 0, "(#100) The parameter messaging_product is required."},
	"deadline_unreachable":      {429, 130429, 0, ""},
	"portfolio_limit_reached":   {429, 130429, 0, ""},
	"conversation_of_other_app": {400, 100, 0, ""}, // Meta has not published its own
	"service_window_closed":     {400, 131047, 0, ""},
	"recipient_suppressed":      {400, 131050, 0, ""},
	"store_unavailable":         {503, 2, 0, ""},
	"meta_unavailable":          {503, 2, 0, ""},
	"quota_exceeded":            {429, 80007, 0, ""},
	"overloaded":                {503, 2, 0, ""},
	"forwarding_not_configured": {503, 2, 0, ""},
	"recipient_is_sender":       {400, 131021, 0, ""},
	"template_unknown":          {404, 132001, 0, ""},
	"template_language_unknown": {404, 132001, 0, ""},
	"template_not_approved":     {404, 132001, 0, ""},
}

// graphRefuse answers with a refusal in the form of Meta's errors.
func (in *Intake) graphRefuse(w http.ResponseWriter, r *http.Request, refused refusal) {
	answer, known := graphCodes[refused[0].Code]
	e := graphError{Type: "OAuthException", Subcode: answer.subcode, Data: &graphDetail{"whatsapp", details(refused)}, Trace: w.Header().Get("X-Request-Id")}
	plain := false
	if !known {
		answer.status = http.StatusBadRequest
		if answer.code, plain = content.MetaCode(refused[0].Code); answer.code == 0 {
			answer.code = 100
		}
	}
	e.Code, e.Transient = answer.code, answer.status >= 429
	switch {
	case answer.message != "":
		e.Message = answer.message
	case answer.subcode == 33:
		e.Type, e.Message = "GraphMethodException", unsupported(r)
	case plain:
		e.Message = fmt.Sprintf("(#%d) %s", answer.code, content.MetaMessage(inMessage(refused[0])))
	default:
		e.Message = in.graphTitle(answer.code, answer.status)
	}
	switch answer.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(httpapi.RetryAfter))
	}
	httpapi.WriteJSON(w, "application/json", answer.status, graphFailure{e})
}

// graphTitle returns the message of Meta's errors with a code.
func (in *Intake) graphTitle(code, status int) string {
	title := http.StatusText(status)
	if in.o.Explain != nil {
		title, _ = in.o.Explain(code)
	}
	return fmt.Sprintf("(#%d) %s", code, title)
}

// unsupported returns Meta's message about an object that does not exist, or a call that it does not support.
func unsupported(r *http.Request) string {
	object := "Object"
	if id := strings.Split(r.URL.Path+"//", "/")[2]; message.IsNumberID(id) { // other ids are not repeated
		object = "Object with ID '" + id + "'"
	}
	return "Unsupported " + strings.ToLower(r.Method) + " request. " + object + " does not exist, cannot be loaded due to missing permissions, or does not support this operation. " +
		"Please read the Graph API documentation at https://developers.facebook.com/docs/graph-api"
}

// inMessage returns a problem with its path relative to Meta's message object.
func inMessage(p message.Problem) message.Problem {
	p.Path = strings.TrimPrefix(p.Path, "message.")
	return p
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
		b.WriteString(strings.TrimSpace(p.Detail + " " + p.Fix))
	}
	return b.String()
}
