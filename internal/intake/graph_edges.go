package intake

import (
	"net/http"
	"slices"
	"strings"

	"sluice/internal/httpapi"
)

// object is a kind of object of Meta whose calls Sluice forwards.
type object int

const (
	ofNumber object = iota
	ofAccount
	ofFlow
)

// edge is what can be called of an object: the scope that a GET needs, and a POST or DELETE. Without a scope the call is
// refused; refused says why.
type edge struct {
	of          object
	read, write string
	refused     string
}

// The scopes of the table. Reading needs ScopeRead in every case.
const (
	read    = httpapi.ScopeRead
	send    = httpapi.ScopeSend
	account = httpapi.ScopeAccount
)

// Why calls are refused.
const (
	refusedRegister  = "Sluice does not forward calls that register a number or verify it. Call Meta with a token of Meta."
	refusedSubscribe = "Sluice needs the webhooks of the account, so it does not forward calls that change them. Call Meta with a token of Meta."
	refusedPeople    = "Sluice does not forward calls about the people and the partners of an account. Call Meta with a token of Meta."
	refusedNumbers   = "Sluice does not forward calls that add or remove numbers. Call Meta with a token of Meta."
)

// graphEdges are the edges of Meta's objects, without messages, marketing_messages, media and download.
// docs/drop-in.md explains them.
var graphEdges = map[string]edge{
	"whatsapp_business_profile":    {ofNumber, read, send, ""},
	"block_users":                  {ofNumber, read, send, ""},
	"message_qrdls":                {ofNumber, read, send, ""},
	"calls":                        {ofNumber, read, send, ""},
	"call_permissions":             {ofNumber, read, "", ""},
	"groups":                       {ofNumber, read, send, ""},
	"message_history":              {ofNumber, read, "", ""},
	"whatsapp_commerce_settings":   {ofNumber, read, account, ""},
	"settings":                     {ofNumber, read, account, ""},
	"conversational_automation":    {ofNumber, read, account, ""},
	"whatsapp_business_encryption": {ofNumber, read, account, ""},
	"business_compliance_info":     {ofNumber, read, account, ""},
	"official_business_account":    {ofNumber, read, "", ""},
	"register":                     {ofNumber, "", "", refusedRegister},
	"deregister":                   {ofNumber, "", "", refusedRegister},
	"request_code":                 {ofNumber, "", "", refusedRegister},
	"verify_code":                  {ofNumber, "", "", refusedRegister},

	"message_templates":         {ofAccount, read, account, ""},
	"upsert_message_templates":  {ofAccount, "", account, ""},
	"message_template_previews": {ofAccount, read, "", ""},
	"template_analytics":        {ofAccount, read, "", ""},
	"template_group_analytics":  {ofAccount, read, "", ""},
	"pricing_analytics":         {ofAccount, read, "", ""},
	"conversation_analytics":    {ofAccount, read, "", ""},
	"call_analytics":            {ofAccount, read, "", ""},
	"phone_numbers":             {ofAccount, read, "", refusedNumbers},
	"flows":                     {ofAccount, read, account, ""},
	"product_catalogs":          {ofAccount, read, "", ""},
	"subscribed_apps":           {ofAccount, read, "", refusedSubscribe},
	"assigned_users":            {ofAccount, "", "", refusedPeople},

	"assets":    {ofFlow, read, account, ""},
	"publish":   {ofFlow, "", account, ""},
	"deprecate": {ofFlow, "", account, ""},
}

// ofAllNumbers are the edges and the fields of an account that list its numbers or count their messages. A key needs all
// numbers of the account to read them.
var ofAllNumbers = []string{"phone_numbers", "analytics", "pricing_analytics", "conversation_analytics", "call_analytics"}

// scope returns the scope that a call of the edge needs; empty: the call is refused.
func (e edge) scope(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		return e.read
	}
	return e.write
}

// edgeOf returns the edge of a request, and its name.
func edgeOf(r *http.Request) (edge, string, bool) {
	name := r.PathValue("edge")
	if name == "" { // a route of its own
		segments := strings.Split(r.URL.Path, "/") // "", version, id, edge
		name = segments[min(3, len(segments)-1)]
	}
	e, ok := graphEdges[name]
	return e, name, ok
}

// graphCall serves the calls of an edge: it forwards them.
func (in *Intake) graphCall(w http.ResponseWriter, r *http.Request) {
	e, name, known := edgeOf(r)
	scope := ""
	if known {
		scope = e.scope(r.Method)
	}
	key, refused := in.graphKey(r, scope)
	switch {
	case refused != nil:
	case scope == "" && e.refused != "":
		refused = graphRefusal("path_not_forwarded")
		refused[0].Detail, refused[0].Fix = e.refused, ""
	case scope == "":
		refused = graphRefusal("path_not_forwarded")
	}
	var number string
	if refused == nil {
		number, refused = in.graphTarget(r, key, e.of, pathID(r), scope == account || slices.Contains(ofAllNumbers, name))
	}
	if refused == nil && name == "message_history" {
		refused = in.translateQuery(r, number)
	}
	if refused != nil {
		in.graphRefuse(w, r, refused)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	in.forward(w, r, number, passTime)
}

// pathID returns the id of the object in the path.
func pathID(r *http.Request) string {
	if id := r.PathValue("id"); id != "" {
		return id
	}
	return r.PathValue("phone_number_id")
}

// graphTarget returns the number whose token is used for a call of an object, if the key covers the object. If whole is true,
// the key must cover all numbers of its account.
func (in *Intake) graphTarget(r *http.Request, key httpapi.Key, of object, id string, whole bool) (number string, refused refusal) {
	switch of {
	case ofAccount:
		return in.accountNumber(r, key, id, whole)
	case ofFlow:
		number, found, refused := in.ownerOf(r, key, id, whole)
		if refused == nil && !found {
			refused = graphRefusal("object_not_found")
		}
		return number, refused
	}
	return id, in.reachable(key, id)
}
