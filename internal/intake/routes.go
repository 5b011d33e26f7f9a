package intake

import (
	"net/http"
	"slices"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// routes returns the routes of the API without Meta's own paths.
func (in *Intake) routes() []httpapi.Route {
	return append([]httpapi.Route{
		{
			Method: http.MethodPost, Path: "/v1/messages", Name: "sendMessage", Group: "Messages",
			Summary: "Send a message.",
			Doc: "The answer comes when the message is stored durably. A request with the same `key` and the same content is the same message: the answer is 200 with the state of the message, " +
				"and the header `Idempotent-Replayed: true`. With other content it is refused with 422 `idempotency_key_reused`. After a 503, or without an answer, send the request again with the same key.",
			Scope:  httpapi.ScopeSend,
			Params: []httpapi.Param{paramKey, paramWait},
			Body:   &httpapi.Body{Type: messageRequest{}, Example: exampleMessage},
			Answers: []httpapi.Answer{
				{Status: 202, Doc: "Accepted: the message is stored and will be sent. With `wait`, `state` can show that Meta has already refused it.", Type: acceptedMessage{}},
				{Status: 200, Doc: "Accepted before, with the same key.", Type: acceptedMessage{}},
			},
			Codes:   append(append([]string{}, bodyCodes...), append(messageCodes, "wait_invalid", "deadline_unreachable", "portfolio_limit_reached", "conversation_of_other_app", "service_window_closed", "recipient_suppressed", "quota_exceeded", "overloaded", "store_unavailable")...),
			Handler: in.o.Tracer.Handler(http.MethodPost, "/v1/messages", true, in.post),
		},
		{
			Method: http.MethodPost, Path: "/v1/messages/batch", Name: "sendBatch", Group: "Messages",
			Summary: "Send many messages, one JSON object per line.",
			Doc: "Each line is a body of `POST /v1/messages`, up to 256 KiB. The answer has one line for each, in the same order, with the line number. The line comes as soon as the message " +
				"and those before it are durable, while the body is still being read. A line that is refused does not affect the others. The number of lines is not limited. " +
				"A batch may take 10 minutes, and ends if you send nothing for 30 s. If it ends before its last line, the result of the line where it stopped says why " +
				"(the code `timeout`, or `stopping` with status 503 when the server stops). Give each line a `key`, and send the lines without a result again.",
			Scope: httpapi.ScopeSend,
			Body:  &httpapi.Body{Media: batchMedia[0], Type: messageRequest{}, Example: exampleMessage + "\n"},
			Answers: []httpapi.Answer{
				{Status: 200, Doc: "A result for each line.", Media: batchMedia[0], Type: lineResult{}},
			},
			Codes:   []string{"unsupported_media_type", "charset_not_supported", "encoding_not_supported", "idempotency_key_not_allowed"},
			Handler: in.o.Tracer.Handler(http.MethodPost, "/v1/messages/batch", true, in.batch),
		},
		{
			Method: http.MethodGet, Path: "/v1/messages/{id}", Name: "getMessage", Group: "Messages",
			Summary: "Read the record of a message, with its timeline.",
			Doc: "A record is kept until the message is final, then for 24 hours after `delivered`, `read` or `played` and for 7 days after another final state. " +
				"After that, a message with a key shows its last state and times for 30 days more, with `key_until`. A message without a key is then not found (404).",
			Scope: httpapi.ScopeRead, Console: true,
			Params:  []httpapi.Param{paramID},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The record of the message.", Type: record{}}},
			Codes:   []string{"not_found", "store_unavailable"},
			Handler: in.about(in.get),
		},
		{
			Method: http.MethodGet, Path: "/v1/messages", Name: "listMessages", Group: "Messages",
			Summary: "List messages by their ids, by reference, by state or by tag.",
			Doc:     aboutList,
			Scope:   httpapi.ScopeRead, Console: true,
			Params:  paramsList,
			Answers: []httpapi.Answer{{Status: 200, Doc: "The records.", Type: messageList{}}},
			Codes:   []string{"filter_unclear", "phone_number_id_missing", "phone_number_id_invalid", "phone_number_id_not_found", "ref_invalid", "tag_invalid", "client_not_found", "time_invalid", "cursor_invalid", "store_unavailable"},
			Handler: in.list,
		},
		{
			Method: http.MethodPost, Path: "/v1/messages/search", Name: "searchMessages", Group: "Messages",
			Summary: "Find messages by id, key, reference, Meta's id, recipient, state, tag or error code.",
			Doc:     aboutSearch,
			Scope:   httpapi.ScopeRead, Console: true,
			Body:    &httpapi.Body{Type: searchRequest{}, Example: `{"recipient":"+15551234567"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The records.", Type: messageList{}}},
			Codes:   append(httpapi.BodyCodes(), "search_unclear", "filter_unclear", "client_not_found", "recipient_index_missing", "phone_number_id_not_found", "tag_invalid", "cursor_invalid", "store_unavailable"),
			Handler: in.search,
		},
		{
			Method: http.MethodPost, Path: "/v1/messages/check", Name: "checkMessage", Group: "Messages",
			Summary: "Check a message without sending it.",
			Doc:     "The same rules apply as in `POST /v1/messages`, and the same mistakes are refused with the same codes. Nothing is stored. The answer shows what Sluice would send to Meta.",
			Scope:   httpapi.ScopeSend,
			Params:  []httpapi.Param{paramKey},
			Body:    &httpapi.Body{Type: messageRequest{}, Example: exampleMessage},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The message would be accepted.", Type: checkedMessage{}}},
			Codes:   append(append([]string{}, bodyCodes...), append(slices.DeleteFunc(slices.Clone(messageCodes), storedOnly), "deadline_unreachable", "portfolio_limit_reached", "conversation_of_other_app", "service_window_closed", "recipient_suppressed", "store_unavailable")...),
			Handler: in.checkOnly,
		},
		{
			Method: http.MethodPost, Path: "/v1/media/check", Name: "checkMedia", Group: "Messages",
			Summary: "Check a link to a file before messages have it.",
			Doc: "Sluice requests the file as Meta will, and compares type and size with [Meta's limits](https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media#supported-media-types) for the kind. " +
				"The answer comes within 15 seconds. Hosts with private addresses are refused, also after a redirect. A link that breaks a rule of messages is refused with the code of [the rule](messages.md). " +
				"That the check succeeds is no promise: Meta fetches the file again for each message, and looks into it.",
			Scope:   httpapi.ScopeSend,
			Body:    &httpapi.Body{Type: mediaRequest{}, Example: `{"type":"image","link":"https://www.example.com/shoes.jpg"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "Meta can probably use the file.", Type: message.MediaFile{}}},
			Codes:   append(httpapi.BodyCodes(), "media_kind_unknown", "media_unreachable", "media_type_wrong", "media_too_large", "media_check_busy"),
			Handler: in.checkMedia,
		},
		{
			Method: http.MethodPost, Path: "/v1/messages/batch/check", Name: "checkBatch", Group: "Messages",
			Summary: "Check many messages without sending them, one JSON object per line.",
			Doc: "Each line gets the answer of `POST /v1/messages/check`, in the order of the lines, with the line number. Nothing is stored, and no line is compared with the other lines. " +
				"The limits of `POST /v1/messages/batch` apply.",
			Scope: httpapi.ScopeSend,
			Body:  &httpapi.Body{Media: batchMedia[0], Type: messageRequest{}, Example: exampleMessage + "\n"},
			Answers: []httpapi.Answer{
				{Status: 200, Doc: "A result for each line.", Media: batchMedia[0], Type: checkedLine{}},
			},
			Codes:   []string{"unsupported_media_type", "charset_not_supported", "encoding_not_supported", "idempotency_key_not_allowed"},
			Handler: in.checkBatch,
		},
		{
			Method: http.MethodGet, Path: "/v1/states", Name: "listStates", Group: "Messages",
			Summary: "List the states of messages, and what each means.",
			Doc:     aboutStates(),
			Scope:   httpapi.ScopeRead, Console: true,
			Answers: []httpapi.Answer{{Status: 200, Doc: "All states.", Type: stateList{}}},
			Handler: in.states,
		},
		{
			Method: http.MethodGet, Path: "/v1/messages/{id}/explain", Name: "explainMessage", Group: "Messages",
			Summary: "Explain what a message waits for, and until when.",
			Scope:   httpapi.ScopeRead, Console: true,
			Params:  []httpapi.Param{paramID},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The rule that the message waits for.", Type: explanation{}}},
			Codes:   []string{"not_found", "store_unavailable"},
			Handler: in.about(in.explain),
		},
		{
			Method: http.MethodPost, Path: "/v1/messages/{id}/cancel", Name: "cancelMessage", Group: "Messages",
			Summary: "Cancel a message.",
			Doc:     "A message can be cancelled while it is `queued` or `parked`. The request has no body, or an empty object. A repeated request has the same answer.",
			Scope:   httpapi.ScopeCancel,
			Params:  []httpapi.Param{paramID},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The message will not be sent.", Type: cancelled{}}},
			Codes:   []string{"body_not_allowed", "not_found", "in_flight", "already_sent", "already_final", "store_unavailable"},
			Handler: in.cancel,
		},
		in.usageRoute(), in.quotasRoute(), in.findMediaRoute(),
	}, slices.Concat(in.campaignRoutes(), in.suppressionRoutes(), in.suppressionFileRoutes(), in.o.More, httpapi.About(in.Document))...)
}

// Document describes the API.
func (in *Intake) Document() httpapi.Document {
	return httpapi.Document{
		Title:  "Sluice API",
		Doc:    aboutAPI,
		Server: "http://127.0.0.1:8080",
		Routes: append(in.routes(), in.graphRoutes()...),
		More:   "These are the values of `code` in a failure and in its `errors`. [messages.md](messages.md) has the codes of mistakes in messages.",
	}
}

const aboutAPI = "Sluice sends WhatsApp messages through Meta's Cloud API. It queues them, keeps the rate limit of each number, and sends no message twice by mistake. " +
	"Every request needs `Authorization: Bearer <API key>`, except `GET /`, `GET /docs` and `GET /openapi.json`. Bodies are JSON in UTF-8, without compression; a batch has JSON lines, and an upload of media is a form. " +
	"Sluice refuses a query parameter that is not documented, is empty, or comes twice (a few parameters may come twice, and their description says so). On Meta's paths Sluice instead passes on the parameters of a forwarded call, and ignores the others, as Meta does. " +
	"Each answer has the header `X-Request-Id`: the value of your request, or a new one if you sent none. " +
	"Errors are problem documents (RFC 9457) with a stable `code`. Their member `errors` lists the mistakes, up to 20, each with its place, the rule and the fix. On Meta's paths errors have Meta's form."

// messageRequest describes the body of a request to send. envelope reads the body.
type messageRequest struct {
	From      string        `json:"from" doc:"The sender: Meta's phone number id of your number."`
	Message   metaMessage   `json:"message" doc:"Meta's message object, as Meta documents it."`
	Class     message.Class `json:"class,omitempty" doc:"Decides the priority, the deadline and the in-doubt policy; see docs/message-life.md. Default for a template: the class that template_classes of the number has for it (see docs/configuration.md), otherwise its category at Meta, otherwise utility. Default for a Direct Send message (see docs/messages.md): its category. Default for all others: service."`
	Key       string        `json:"key,omitempty" doc:"Idempotency key, 1 to 255 printable ASCII characters, not only spaces. The same key with the same content from the same number is the same message, as long as its record is kept and 30 days more (idempotency_key_retention in the configuration)."`
	Ref       string        `json:"ref,omitempty" doc:"Your own reference, for example an order id, up to 255 characters. Records and events have it."`
	Tags      []string      `json:"tags,omitempty" doc:"Up to 10 labels of 1 to 64 characters. Holds and resends can select messages by tag."`
	Campaign  string        `json:"campaign,omitempty" doc:"The campaign of the message, 1 to 64 characters. It becomes one of the tags, so there can be 9 others. Campaigns share the slots of a number, see docs/clients.md."`
	SendAt    time.Time     `json:"send_at,omitzero" doc:"Do not send before this time, up to 90 days ahead."`
	ExpiresAt time.Time     `json:"expires_at,omitzero" doc:"Do not start an attempt after this time, up to 90 days ahead. Default: the time of acceptance, or send_at if it is later, plus the deadline of the class (see docs/configuration.md). With after: the end of the wait plus the deadline of the class."`
	After     *afterRequest `json:"after,omitempty" doc:"Send the message after another message of the same number has reached a state. Accept that message first."`

	Fallback *fallbackRequest `json:"fallback_template,omitempty" doc:"A template, in the form of the member template of Meta's message object. Of a template message: Sluice sends it in place of the message's own template if Meta does not send that one when the message is accepted, or while it waits and no attempt may have reached Meta; see docs/templates.md. Of a free-form message: Sluice sends it if the customer service window of the recipient is closed; see docs/customer-service-window.md."`
}

// storedOnly reports whether only the store finds a problem, when a message is accepted.
func storedOnly(code string) bool {
	return code == "idempotency_key_reused" || code == "after_not_found" || code == "after_too_many"
}

// metaMessage describes the members that all types of Meta's message object have. The content is in a member with
// the name of the type.
// https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages
type metaMessage struct {
	Product   string `json:"messaging_product,omitempty" doc:"whatsapp. Sluice sets it if it is missing."`
	Kind      string `json:"recipient_type,omitempty" doc:"individual or group. Default: individual."`
	To        string `json:"to,omitempty" doc:"The recipient: a phone number with its plus, or the id of a group. On Meta's path the plus may be missing."`
	Recipient string `json:"recipient,omitempty" doc:"The recipient as a business-scoped user id, instead of to."`
	Type      string `json:"type,omitempty" doc:"text, template, image and so on. It may be left out of a text. The member of that name has the content. docs/messages.md has an example of each type."`
	Callback  string `json:"biz_opaque_callback_data,omitempty" doc:"Your own data, up to 512 characters. Records and events have it as callback_data."`
}

const exampleMessage = `{"from":"106540352242922","key":"order-1001-shipped","message":{"to":"+15551234567","type":"text","text":{"body":"It has shipped."}}}`

var (
	paramKey = httpapi.Param{In: "header", Name: "Idempotency-Key", Doc: "The idempotency key, as a header. `POST /v1/messages` also has the member `key` for it.", Example: "order-1001-shipped"}
	paramID  = httpapi.Param{In: "path", Name: "id", Doc: "Sluice's id of the message.", Example: "106540352242922-ufeqxlws3bsv46lbkkufh7m55l", Postman: "Message-ID"}
)

// bodyCodes are the problem codes of JSON bodies.
var bodyCodes = []string{
	"timeout", "body_too_large", "unsupported_media_type", "charset_not_supported", "encoding_not_supported", "body_empty", "json_invalid",
	"json_trailing_data", "json_not_object", "json_duplicate_member", "json_too_deep", "utf8_invalid", "char_not_allowed",
}

// messageCodes are the problem codes of requests to send, without those of Meta's message object.
var messageCodes = []string{
	"phone_number_id_not_found", "recipient_is_sender", "message_of_other_number", "field_unknown", "type_mismatch", "from_missing", "from_invalid", "message_missing", "class_unknown",
	"idempotency_key_invalid", "idempotency_key_mismatch", "idempotency_key_reused", "ref_invalid", "tags_too_many", "campaign_cancelled",
	"tag_invalid", "time_invalid", "send_at_too_far", "send_at_after_expires_at", "expires_at_invalid", "expires_at_too_far",
	"after_invalid", "after_state_unknown", "after_other_number", "after_itself", "after_not_found", "after_too_many", "send_at_with_after", "duration_invalid", "fallback_not_allowed", "media_not_uploaded",
}
