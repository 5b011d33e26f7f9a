package feed

import (
	"net/http"

	"sluice/internal/httpapi"
)

const aboutEvents = "Without `wait` the answer comes at once, with up to `limit` events after the cursor. With `wait` it waits for the first event. Then ask again with the `cursor` of the answer. " +
	"With the header `Accept: text/event-stream` the answer is a stream of [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html) that does not end: `data` is an event, `id` is a cursor. " +
	"The last event of each group has an `id`, and continues all events up to it. A stream without events gets a comment every 15 s. An event of the name `problem` has a problem document, and the stream ends.\n\n" +
	"The position is the first of these that the request has: the header `Last-Event-ID`, `cursor`, the stored cursor of `cursor_name`, `from`. " +
	"A cursor works after restarts of Sluice, with every API key and with another filter. If events after it were dropped (see [events.md](events.md#guarantees-and-limits)), the answer is 410 `cursor_too_old` with `first_cursor`.\n\n" +
	"With `cursor_name` the server keeps the cursor. A new name begins at `from`. To acknowledge events, send their `cursor` with the name in the next request, or with `PUT /v1/events/cursors/{name}`. " +
	"A request with the name and without `cursor` begins after the last acknowledged event.\n\n" +
	"`phone_number_id`, `waba_id`, `tag` and `type` can each come several times: an event needs one of the values of each. The API key gets the events of its phone number ids; events without one, such as updates about an account, need a key for all numbers (`\"*\"`)."

var (
	paramsEvents = []httpapi.Param{
		{In: "query", Name: "cursor", Doc: "`cursor` of the last page, or the last `id` of a stream.", Example: "AdKX9qvP0GYA"},
		{In: "query", Name: "cursor_name", Doc: "The name of a cursor that the server keeps: 1 to 32 of a-z, 0-9, `.`, `_` and `-`. One name is for one consumer.", Example: "crm"},
		{In: "query", Name: "from", Doc: "Where to begin without a cursor: `now` (the default), `oldest`, or a time. Where the events of that time are no longer kept, it begins with the oldest one.", Example: "2026-01-31T08:00:00Z"},
		{In: "query", Name: "limit", Doc: "Maximum number of events in the answer, 1 to 1000. Default: 100. A stream ignores it.", Example: "500", Type: 0},
		{In: "query", Name: "wait", Doc: "How long to wait for an event if there is none, up to 30s. Default: 0s. A stream ignores it.", Example: "30s"},
		{In: "query", Name: "phone_number_id", Doc: "Only events of this number: Meta's phone number id.", Example: "106540352242922", Type: []string{}},
		{In: "query", Name: "waba_id", Doc: "Only events of this WhatsApp Business Account. An event without `waba_id` belongs to the account of its number, if Sluice knows it.", Example: "102290129340398", Type: []string{}},
		{In: "query", Name: "tag", Doc: "Only events about messages that were accepted with this tag: `message` and `final` events, and `status` events of messages whose records are kept.", Example: "spring", Type: []string{}},
		{In: "query", Name: "type", Doc: "Only events of this type.", Example: "status", Type: []string{}},
		{In: "header", Name: "Accept", Doc: "`text/event-stream`: a stream.", Example: "text/event-stream"},
		{In: "header", Name: "Last-Event-ID", Doc: "The last `id` of a stream. Clients of server-sent events send it by themselves when they connect again.", Example: "AdKX9qvP0GYA"},
	}
	paramName = httpapi.Param{In: "path", Name: "name", Doc: "The name of the cursor.", Example: "crm"}
)

// Routes returns the routes of the feed.
func (f *Feed) Routes() []httpapi.Route {
	const group = "Events"
	return []httpapi.Route{
		{
			Method: http.MethodGet, Path: "/v1/events", Name: "listEvents", Group: group,
			Summary: "Read events: in pages, with a long poll, or as a stream.",
			Doc:     aboutEvents,
			Scope:   httpapi.ScopeEvents,
			Params:  paramsEvents,
			Answers: []httpapi.Answer{
				{Status: 200, Doc: "A page of events.", Type: page{}},
				{Status: 200, Doc: "A stream of events.", Media: "text/event-stream"},
			},
			Codes: []string{
				"from_unclear", "event_type_unknown", "cursor_invalid", "cursor_too_old", "cursor_name_invalid", "cursor_name_taken", "cursor_names_too_many",
				"phone_number_id_invalid", "phone_number_id_not_found", "feed_busy", "events_unavailable",
			},
			Handler: f.events,
		},
		{
			Method: http.MethodGet, Path: "/v1/events/cursors", Name: "listEventCursors", Group: group,
			Summary: "List the named cursors.",
			Scope:   httpapi.ScopeEvents,
			Answers: []httpapi.Answer{{Status: 200, Doc: "The named cursors.", Type: namedCursors{}}},
			Codes:   []string{"events_unavailable"},
			Handler: f.list,
		},
		{
			Method: http.MethodPut, Path: "/v1/events/cursors/{name}", Name: "setEventCursor", Group: group,
			Summary: "Acknowledge events: store a named cursor.",
			Doc:     "For consumers of a stream. It also sets a cursor back, to read events again.",
			Scope:   httpapi.ScopeEvents,
			Params:  []httpapi.Param{paramName},
			Body:    &httpapi.Body{Type: acknowledgement{}, Example: `{"cursor":"AdKX9qvP0GYA"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The cursor is stored.", Type: namedCursor{}}},
			Codes:   append(httpapi.BodyCodes(), "cursor_invalid", "cursor_name_invalid", "cursor_name_taken", "cursor_names_too_many", "events_unavailable"),
			Handler: f.put,
		},
		{
			Method: http.MethodDelete, Path: "/v1/events/cursors/{name}", Name: "deleteEventCursor", Group: group,
			Summary: "Delete a named cursor.",
			Scope:   httpapi.ScopeEvents,
			Params:  []httpapi.Param{paramName},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The cursor is deleted.", Type: namedCursor{}}},
			Codes:   []string{"cursor_name_invalid", "cursor_name_taken", "cursor_name_not_found", "events_unavailable"},
			Handler: f.remove,
		},
	}
}
