package intake

import (
	"net/http"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// routes is all that the API serves beside the drop-in.
func (in *Intake) routes() []httpapi.Route {
	return append([]httpapi.Route{
		{
			Method: http.MethodPost, Path: "/v1/messages", Name: "sendMessage", Group: "Messages",
			Summary: "Send a message.",
			Doc: "The answer comes when the message is durable. The same `key` is one message: a repeat is answered with 200 and where the message is, " +
				"and its header `Idempotent-Replayed` is true. After a 503, or without an answer, repeat the request with the same key.",
			Scope:  httpapi.ScopeSend,
			Params: []httpapi.Param{paramKey, paramWait},
			Body:   &httpapi.Body{Type: order{}, Example: exampleOrder},
			Answers: []httpapi.Answer{
				{Status: 202, Doc: "Accepted: it is kept, and will be sent.", Type: acceptance{}},
				{Status: 200, Doc: "Accepted before, under the same key.", Type: acceptance{}},
			},
			Codes:   append(append([]string{}, bodyCodes...), append(orderCodes, "wait_invalid", "deadline_unreachable", "overloaded", "store_unavailable")...),
			Handler: in.post,
		},
		{
			Method: http.MethodPost, Path: "/v1/messages/batch", Name: "sendBatch", Group: "Messages",
			Summary: "Send many messages, one JSON object a line.",
			Doc: "Each line is what `POST /v1/messages` takes, up to 256 KiB, and is answered by a line: in the order of the lines, with its number, and as soon as it " +
				"and those before it are durable, while the body is still being read. A bad line does not concern the others. There is no limit to the number of lines; " +
				"a batch may take 10 minutes, and 30 s without a byte end it. When it ends before its last line, a verdict for the line where it stopped says why " +
				"(`timeout`, or `stopping` when the server is to stop). Give each line a `key` and send what was not answered again.",
			Scope: httpapi.ScopeSend,
			Body:  &httpapi.Body{Media: batchMedia[0], Type: order{}, Example: exampleOrder + "\n"},
			Answers: []httpapi.Answer{
				{Status: 200, Doc: "A verdict for each line.", Media: batchMedia[0], Type: verdict{}},
			},
			Codes:   []string{"unsupported_media_type", "charset_not_supported", "encoding_not_supported", "key_of_batch"},
			Handler: in.batch,
		},
		{
			Method: http.MethodGet, Path: "/v1/messages/{id}", Name: "getMessage", Group: "Messages",
			Summary: "What became of a message, with its timeline.",
			Doc: "A record lives until the message ends, then 24 hours after `delivered`, `read` or `played`, and 7 days after another end. " +
				"Of a message with a key its last state and times are answered for 30 days more, with `key_until`; of one without, 404.",
			Scope:   httpapi.ScopeRead,
			Params:  []httpapi.Param{paramID},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The message's record.", Type: record{}}},
			Codes:   []string{"not_found", "store_unavailable"},
			Handler: in.about(in.get),
		},
		{
			Method: http.MethodGet, Path: "/v1/messages", Name: "listMessages", Group: "Messages",
			Summary: "Messages by their ids, by a reference, by state or by tag.",
			Doc:     aboutList,
			Scope:   httpapi.ScopeRead,
			Params:  paramsList,
			Answers: []httpapi.Answer{{Status: 200, Doc: "Their records.", Type: found{}}},
			Codes:   []string{"filter_unclear", "number_missing", "phone_not_found", "ref_invalid", "tag_invalid", "time_invalid", "cursor_invalid", "store_unavailable"},
			Handler: in.list,
		},
		{
			Method: http.MethodGet, Path: "/v1/states", Name: "listStates", Group: "Messages",
			Summary: "The states that a message may be in, and what each means.",
			Doc:     aboutStates(),
			Scope:   httpapi.ScopeRead,
			Answers: []httpapi.Answer{{Status: 200, Doc: "All states.", Type: stateList{}}},
			Handler: in.states,
		},
		{
			Method: http.MethodGet, Path: "/v1/messages/{id}/explain", Name: "explainMessage", Group: "Messages",
			Summary: "What a message waits for, and until when.",
			Scope:   httpapi.ScopeRead,
			Params:  []httpapi.Param{paramID},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The rule that keeps it.", Type: explanation{}}},
			Codes:   []string{"not_found", "store_unavailable"},
			Handler: in.about(in.explain),
		},
		{
			Method: http.MethodPost, Path: "/v1/messages/{id}/cancel", Name: "cancelMessage", Group: "Messages",
			Summary: "Take a message back.",
			Doc:     "Possible while it is `queued` or `parked`. A repeat is answered the same. It takes no body.",
			Scope:   httpapi.ScopeCancel,
			Params:  []httpapi.Param{paramID},
			Answers: []httpapi.Answer{{Status: 200, Doc: "It will not be sent.", Type: cancelled{}}},
			Codes:   []string{"not_found", "in_flight", "already_sent", "already_ended", "store_unavailable"},
			Handler: in.cancel,
		},
	}, httpapi.About(in.Document)...)
}

// Document describes the API.
func (in *Intake) Document() httpapi.Document {
	return httpapi.Document{
		Title:  "Sluice",
		Doc:    aboutAPI,
		Server: "http://127.0.0.1:8080",
		Routes: append(in.routes(), in.graphRoutes()...),
		Beside: "Beside these, [what may be wrong with a message](messages.md).",
	}
}

const aboutAPI = "Sends WhatsApp messages through the Cloud API of Meta: queued, paced, never knowingly twice. " +
	"Every request needs `Authorization: Bearer <API key>`. Bodies are JSON in UTF-8, not compressed. " +
	"A query parameter that a path does not take, that comes twice or that is empty is refused. " +
	"An `X-Request-Id` of the caller's own comes back with the answer; else it is given one. " +
	"Errors are problem documents (RFC 9457) with a stable `code`, and in `errors` every place that is wrong, with its rule and its fix."

// order is the body of a request to send, as it is described; envelope reads it.
type order struct {
	From      string        `json:"from" doc:"The sender: Meta's phone number id."`
	Message   metaMessage   `json:"message" doc:"Meta's message object, unchanged."`
	Class     message.Class `json:"class,omitempty" doc:"Decides priority, deadline and what is done in doubt; docs/message-life.md tells how. Without it: what the number's template_classes say of the template's name; of a Direct Send message its category; else utility for templates and service for all else."`
	Key       string        `json:"key,omitempty" doc:"Idempotency key, 1 to 255 printable ASCII characters, not all spaces: the same key from the same number is one message, for as long as its record lives and 30 days more, or what key_retention says. Then it may name another message."`
	Ref       string        `json:"ref,omitempty" doc:"Your own reference, an order id say; comes back in records and events. Up to 255 characters."`
	Tags      []string      `json:"tags,omitempty" doc:"Up to 10 labels of 1 to 64 characters."`
	SendAt    time.Time     `json:"send_at,omitzero" doc:"Not before; up to 90 days ahead."`
	ExpiresAt time.Time     `json:"expires_at,omitzero" doc:"No attempt starts after this; up to 90 days ahead. Without it, by the class."`
}

// metaMessage is Meta's message object as far as all types have it in common; each has its
// content in a member that is named like its type.
// https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages
type metaMessage struct {
	Product   string `json:"messaging_product,omitempty" doc:"whatsapp; is filled in."`
	Kind      string `json:"recipient_type,omitempty" doc:"individual (the default) or group."`
	To        string `json:"to,omitempty" doc:"The recipient's phone number with its plus, or the id of a group."`
	Recipient string `json:"recipient,omitempty" doc:"A business-scoped user id instead of to."`
	Type      string `json:"type" doc:"text, template, image, ...: the member of that name holds the content. docs/messages.md shows each."`
	Callback  string `json:"biz_opaque_callback_data,omitempty" doc:"Up to 512 characters; comes back in the record and the events."`
}

const exampleOrder = `{"from":"106540352242922","key":"order-1001-shipped","message":{"to":"+15551234567","type":"text","text":{"body":"It has shipped."}}}`

var (
	paramKey = httpapi.Param{In: "header", Name: "Idempotency-Key", Doc: "The idempotency key, instead of the member `key`.", Example: "order-1001-shipped"}
	paramID  = httpapi.Param{In: "path", Name: "id", Doc: "The message's id, as it was answered.", Example: "106540352242922-ufeqxlws3bsv46lbkkufh7m55l", Postman: "Message-ID"}
)

// bodyCodes are the problems of a body that is JSON.
var bodyCodes = []string{
	"timeout", "body_too_large", "unsupported_media_type", "charset_not_supported", "encoding_not_supported", "body_empty", "json_invalid",
	"json_trailing_data", "json_not_object", "json_duplicate_member", "json_too_deep", "utf8_invalid", "char_not_allowed",
}

// orderCodes are the problems of an order, beside those of Meta's object.
var orderCodes = []string{
	"phone_not_found", "recipient_is_sender", "field_unknown", "type_mismatch", "from_missing", "from_invalid", "message_missing", "class_unknown",
	"idempotency_key_invalid", "idempotency_key_mismatch", "idempotency_key_reused", "ref_invalid", "tags_too_many",
	"tag_invalid", "time_invalid", "schedule_too_far", "schedule_after_ttl", "ttl_invalid", "ttl_too_far",
}
