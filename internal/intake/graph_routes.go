package intake

import (
	"net/http"
	"time"

	"sluice/internal/httpapi"
)

const graphGroup = "Meta's paths"

var (
	graphVersion = httpapi.Param{In: "path", Name: "version", Doc: "A version of the Graph API. Sluice sends messages with its own configured version, and forwards other calls with this one. A path without it means the configured version.", Example: "v25.0", Postman: "Version"}
	graphNumber  = httpapi.Param{In: "path", Name: "phone_number_id", Doc: "Meta's id of the sending number.", Example: "106540352242922", Postman: "Phone-Number-ID"}
	graphID      = httpapi.Param{In: "path", Name: "id", Doc: "Meta's id of a number, an account, media, a flow or a message template.", Example: "2762702990552401", Postman: "Media-ID"}
	graphEdge    = httpapi.Param{In: "path", Name: "edge", Doc: "What the call is about, for example `message_templates`: see docs/drop-in.md.", Example: "message_templates"}
	graphOwner   = httpapi.Param{In: "query", Name: "phone_number_id", Doc: "With media: the number that it belongs to. Without it Sluice asks Meta about the numbers of the API key.", Example: "106540352242922"}
)

// graphFailed are the refusals of all Meta's paths.
var graphFailed = []httpapi.Answer{
	{Status: 400, Doc: "Refused by Sluice or by Meta, in the form of Meta's errors and with Meta's codes.", Type: graphFailure{}},
	{Status: 401, Doc: "No API key: code 104. No valid one: code 190.", Type: graphFailure{}},
	{Status: 403, Doc: "The API key does not have the scope: code 10.", Type: graphFailure{}},
}

var graphAway = httpapi.Answer{Status: 503, Doc: "Storage or Meta is temporarily unavailable, or Sluice cannot forward requests for this number: code 2.", Type: graphFailure{}}

// graphRoutes returns the routes on Meta's own paths. The table graphEdges says which other calls are forwarded.
func (in *Intake) graphRoutes() []httpapi.Route {
	passed := func(method, path, name, summary, scope string, handler http.HandlerFunc, params ...httpapi.Param) httpapi.Route {
		return httpapi.Route{
			Method: method, Path: "/{version}/" + path, Name: name, Group: graphGroup, Summary: summary, Scope: scope, Params: append([]httpapi.Param{graphVersion}, params...),
			Answers: append([]httpapi.Answer{{Status: 200, Doc: "Meta's answer.", Type: map[string]any{}}}, append(graphFailed, graphAway)...),
			Handler: handler, Foreign: true,
		}
	}
	const profile, fields = "{phone_number_id}/whatsapp_business_profile", "The query may have `fields`: names with commas between them, without nesting such as `a{b}`."
	const parameters = "Sluice removes the member `access_token`, and refuses `method`, `batch` and others that would change the kind of the request."
	const scopes = "Calls that change the account or the settings of a number need the scope `account:write`, and an API key that covers all numbers of the account in the configuration."
	object := &httpapi.Body{Type: map[string]any{}, Example: `{"messaging_product":"whatsapp"}`}
	routes := []httpapi.Route{
		in.graphSendRoute("messages", "graphSendMessage", "Send a message with a request as for Meta.", aboutGraphSend),
		in.graphSendRoute("marketing_messages", "graphSendMarketing", "Send a message with Meta's Marketing Messages API.",
			"Like `messages`, for template messages only. The message gets the class marketing, unless a header or `template_classes` says otherwise, and `product_policy` `CLOUD_API_FALLBACK`, which is Meta's default. `POST /v1/messages` does the same with a message that has a `product_policy`."),
		passed("PUT", "{phone_number_id}/messages", "graphMarkRead", "Mark a message as read.", httpapi.ScopeSend, in.graphPut, graphNumber),
		passed("POST", "{phone_number_id}/media", "graphUploadMedia", "Upload media, up to 100 MB.", httpapi.ScopeSend, in.graphUpload, graphNumber),
		passed("GET", profile, "graphGetProfile", "Read the business profile of the number.", httpapi.ScopeRead, in.graphCall, graphNumber),
		passed("POST", profile, "graphSetProfile", "Change the business profile of the number.", httpapi.ScopeSend, in.graphCall, graphNumber),
		passed("GET", "message_template_library", "graphGetTemplateLibrary", "Search Meta's library of message templates.", httpapi.ScopeRead, in.graphLibrary),
		passed("GET", "{id}", "graphGetObject", "Read the settings of a number, an account, a flow or a template, or the URL of media. The `url` of media is a URL of Sluice, because Meta's URL needs Meta's token.", httpapi.ScopeRead, in.graphObject, graphID, graphOwner),
		passed("POST", "{id}", "graphSetObject", "Change a message template or a flow.", httpapi.ScopeAccount, in.graphSetObject, graphID),
		passed("DELETE", "{id}", "graphDeleteObject", "Delete media of the number, or a flow.", httpapi.ScopeSend, in.graphDelete, graphID, graphOwner),
		passed("GET", "{id}/download", "graphDownloadMedia", "Download media of the number.", httpapi.ScopeRead, in.graphDownload, graphID, graphOwner),
		passed("GET", "{id}/{edge}", "graphReadEdge", "Read something of a number, an account or a flow.", httpapi.ScopeRead, in.graphCall, graphID, graphEdge),
		passed("POST", "{id}/{edge}", "graphWriteEdge", "Change something of a number, an account or a flow.", httpapi.ScopeSend, in.graphCall, graphID, graphEdge),
		passed("DELETE", "{id}/{edge}", "graphDeleteEdge", "Delete something of a number, an account or a flow.", httpapi.ScopeSend, in.graphCall, graphID, graphEdge),
	}
	docs := map[string]string{
		"graphMarkRead":           "The same as `POST` with the same body.",
		"graphUploadMedia":        "The form has the fields `file`, `type`, `messaging_product` and `ttl_minutes` only.",
		"graphGetProfile":         fields,
		"graphGetObject":          fields,
		"graphSetProfile":         "The body is a JSON object. " + parameters,
		"graphSetObject":          scopes,
		"graphDeleteObject":       "A flow needs the scope `account:write` too.",
		"graphReadEdge":           "[drop-in.md](drop-in.md) lists the calls that work, and why others do not. " + fields,
		"graphWriteEdge":          "[drop-in.md](drop-in.md) lists the calls that work, and why others do not. " + scopes + " " + parameters,
		"graphDeleteEdge":         scopes,
		"graphGetTemplateLibrary": "It is the same for all accounts. Sluice asks with Meta's token of a number that the API key covers.",
		"graphDownloadMedia":      "A path that Meta does not have.",
	}
	bodies := map[string]*httpapi.Body{
		"graphMarkRead":    {Type: map[string]any{}, Example: `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.HBgLMTU1NTEyMzQ1NjcVAgASGBQ"}`},
		"graphUploadMedia": {Media: multipartMedia},
		"graphSetProfile":  {Type: map[string]any{}, Example: `{"messaging_product":"whatsapp","about":"We deliver."}`},
		"graphSetObject":   object,
		"graphWriteEdge":   object,
	}
	for i := range routes {
		r := &routes[i]
		if r.Doc == "" {
			r.Doc = docs[r.Name]
		}
		if r.Body == nil {
			r.Body = bodies[r.Name]
		}
		if r.Name == "graphDownloadMedia" {
			r.Answers[0] = httpapi.Answer{Status: 200, Doc: "The bytes.", Media: "*/*"}
		}
	}
	return routes
}

// graphParts returns the routes of parts of an edge, which the description leaves out.
func (in *Intake) graphParts() (routes []httpapi.Route) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		routes = append(routes, httpapi.Route{Method: method, Path: "/{version}/{id}/message_qrdls/{part}", Handler: in.graphCall, Foreign: true})
	}
	return routes
}

const aboutGraphSend = "The body is Meta's message object, as JSON or as a form. The answer has the form of Meta's answer, with Sluice's id in `messages[0].id`. It comes when the message is stored durably, before Meta has it. " +
	"With the header `Sluice-Wait: submitted` the answer waits for Meta, for up to 10 s: it then has Meta's id, or Meta's error. " +
	"Send the other members of `POST /v1/messages` (key, class, ref, tags, send_at, expires_at) as headers. Sluice forwards a body with `status`, which marks a message as read and can show a typing indicator, to Meta at once. " +
	"Where a message names another one (`context.message_id`, `reaction.message_id`), you can use Sluice's id of a message of the same number in place of Meta's: see docs/messages.md. " +
	"If `to` has no plus, Sluice sends it to Meta unchanged, and Meta decides which country it means. If Sluice does not know the type or a member, the answer has the header `Sluice-Warning`: `type_unknown`, `member_unknown`."

// graphSendRoute returns the route of an edge that accepts messages.
func (in *Intake) graphSendRoute(edge, name, summary, doc string) httpapi.Route {
	return httpapi.Route{
		Method: http.MethodPost, Path: "/{version}/{phone_number_id}/" + edge, Name: name, Group: graphGroup,
		Summary: summary, Doc: doc, Scope: httpapi.ScopeSend, Foreign: true,
		Params: []httpapi.Param{
			graphVersion, graphNumber, paramKey,
			{In: "header", Name: "Sluice-Wait", Doc: "`submitted`: wait until Meta has accepted or refused the message. The header `Sluice-Message-Id` of the answer has Sluice's id, and `Sluice-State` the state.", Example: "submitted"},
			{In: "header", Name: "Sluice-Class", Doc: "authentication, service, utility or marketing.", Example: "utility"},
			{In: "header", Name: "Sluice-Ref", Doc: "Your own reference.", Example: "order-1001"},
			{In: "header", Name: "Sluice-Tags", Doc: "Labels, separated by commas.", Example: "spring,loyal"},
			{In: "header", Name: "Sluice-Send-At", Doc: "Do not send before this time.", Type: time.Time{}, Example: "2026-12-01T08:00:00Z"},
			{In: "header", Name: "Sluice-Expires-At", Doc: "Do not start an attempt after this time.", Type: time.Time{}, Example: "2026-12-01T20:00:00Z"},
		},
		Body: &httpapi.Body{Type: metaMessage{}, Example: `{"messaging_product":"whatsapp","to":"+15551234567","type":"text","text":{"body":"It has shipped."}}`},
		Answers: append(append([]httpapi.Answer{{Status: 200, Doc: "Accepted: the message is stored and will be sent.", Type: graphAccepted{}}}, graphFailed...),
			httpapi.Answer{Status: 429, Doc: "The message would expire before it can be sent: code 130429, with `Retry-After`.", Type: graphFailure{}}, graphAway),
		Handler: in.o.Tracer.Handler(http.MethodPost, "/{version}/{phone_number_id}/"+edge, true, in.graphSend),
	}
}
