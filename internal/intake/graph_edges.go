package intake

import (
	"io"
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
	refusedOverride  = "The webhooks of the account go to a URL of its own (override_callback_uri), and this call would remove that. Call Meta with a token of Meta."
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
	"subscribed_apps":           {ofAccount, read, account, ""}, // see checkSubscribe
	"message_template_library":  {ofAccount, read, "", ""},
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
		refused = notForwarded(e.refused)
	case scope == "":
		refused = graphRefusal("path_not_forwarded")
	}
	var number string
	if refused == nil {
		number, refused = in.graphTarget(r, key, e.of, pathID(r), scope == account || slices.Contains(ofAllNumbers, name))
	}
	switch {
	case refused != nil:
	case name == "message_history":
		refused = in.translateQuery(r, number)
	case name == "subscribed_apps" && scope == account:
		refused = in.checkSubscribe(w, r, number)
	}
	if refused != nil {
		in.graphRefuse(w, r, refused)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	in.forward(w, r, number, passTime)
}

// notForwarded returns a refusal with a reason.
func notForwarded(why string) refusal {
	refused := graphRefusal("path_not_forwarded")
	refused[0].Detail, refused[0].Fix = why, ""
	return refused
}

// checkSubscribe refuses changes of subscribed_apps, except a POST without parameters: it subscribes the app of Sluice's
// token, which Sluice needs. But it would also remove a callback URL of the account.
// https://developers.facebook.com/docs/whatsapp/embedded-signup/webhooks/override
func (in *Intake) checkSubscribe(w http.ResponseWriter, r *http.Request, number string) refusal {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return httpapi.Unread(err)
	}
	if r.Method != http.MethodPost || r.URL.RawQuery != "" || strings.Trim(string(body), "{} \r\n") != "" {
		return notForwarded(refusedSubscribe)
	}
	setBody(r, nil)
	switch overridden, err := in.o.Graph.Overridden(r.Context(), number, pathID(r)); {
	case err != nil:
		in.o.Log.Warn("cannot read the subscribed apps of an account from Meta", "phone_number_id", number, "err", err)
		return graphRefusal("meta_unavailable")
	case overridden:
		return notForwarded(refusedOverride)
	}
	return nil
}

// graphLibrary serves GET /{version}/message_template_library: it belongs to no account, so any number's token will do.
func (in *Intake) graphLibrary(w http.ResponseWriter, r *http.Request) {
	key, refused := in.graphKey(r, read)
	numbers := in.covered(key)
	switch {
	case refused != nil:
	case len(numbers) == 0:
		refused = refuse("phone_number_id_not_found")
	default:
		refused = in.reachable(key, numbers[0])
	}
	if refused != nil {
		in.graphRefuse(w, r, refused)
		return
	}
	in.forward(w, r, numbers[0], passTime)
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
