package console

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// auditLog is the answer of GET /v1/audit.
type auditLog struct {
	Entries []auditEntry `json:"entries" doc:"The latest entry comes first."`
}

// auditEntry is one order in the audit log.
type auditEntry struct {
	At         time.Time `json:"at,omitzero" doc:"When the order was carried out, by the clock of Redis."`
	Action     string    `json:"action" doc:"hold, release, sent, not-sent, cancel, replay, resend, rate, note, relay-set, relay-remove, relay-drop, number-set, app-set, key-set, client-set, the same with -remove, number-drain, number-cancel, number-move, reencrypt, onboard, registration, template-sync, person-export, person-delete, campaign-cancel, campaign-open, campaign-set or schedule-remove. sent, not-sent and cancel are decisions about messages. note: something that was done elsewhere, for example a message sent by hand. unreadable: the entry in Redis, which target names, cannot be read."`
	Target     string    `json:"target" doc:"A message id, what is held, the number whose rate limit was set, the relay target, or the entry of the directory."`
	Actor      string    `json:"actor" doc:"The person who gave the order, as the request said. sluice: Sluice did it by itself."`
	APIKeyName string    `json:"api_key_name,omitempty" doc:"The name of the API key of the request."`
	Reason     string    `json:"reason" doc:"Why the order was given."`
}

func (c *Console) audit(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	limit, refused := limitOf(r)
	if !key.CoversAll() {
		refused = httpapi.Refuse("all_numbers_required")
	}
	if refused != nil {
		return nil, refused
	}
	entries, err := c.o.Audit.Latest(ctx, limit)
	if err != nil {
		return nil, c.unavailable("read audit log", err)
	}
	shown := auditLog{Entries: []auditEntry{}}
	for _, d := range entries {
		shown.Entries = append(shown.Entries, auditEntry{d.At, d.Verb, d.On, d.Actor, d.Key, d.Reason})
	}
	return shown, nil
}

var (
	paramNumber  = httpapi.Param{In: "query", Name: "phone_number_id", Doc: "Only messages from this phone number id.", Example: "106540352242922"}
	paramMessage = httpapi.Param{In: "path", Name: "id", Doc: "The id of the message.", Example: "106540352242922-ufeqxlws3bsv46lbkkufh7m55l"}
	paramLimit   = httpapi.Param{In: "query", Name: "limit", Doc: "Maximum number of entries in the answer, 1 to 1000. Default: 100.", Example: strconv.Itoa(100), Type: 0}
)

// orderCodes are those of an order.
func orderCodes(more ...string) []string {
	return append(append(httpapi.BodyCodes(), "actor_missing", "actor_reserved", "reason_missing", "store_unavailable"), more...)
}

// routes is all that the console serves.
func (c *Console) routes() []httpapi.Route {
	get := func(path, name, group, summary string, answer any, params []httpapi.Param, f http.HandlerFunc) httpapi.Route {
		codes := []string{"store_unavailable"}
		if slices.Contains(params, paramNumber) {
			codes = append(codes, "phone_number_id_not_found")
		}
		return httpapi.Route{
			Method: http.MethodGet, Path: path, Name: name, Group: group, Summary: summary, Scope: httpapi.ScopeConsole,
			Params: params, Answers: []httpapi.Answer{{Status: 200, Doc: "The list.", Type: answer}}, Codes: codes, Handler: f,
		}
	}
	audit := get("/v1/audit", "listAuditLog", "Audit log", "List the orders of operators: who, what, when and why.", auditLog{}, []httpapi.Param{paramLimit}, c.handle(c.audit))
	audit.Doc = "Holds that Sluice set by itself are in the list too, with the actor `sluice`. Each shard keeps about the last 1,000 entries. The API key must be for all numbers."
	audit.Codes = append(audit.Codes, "all_numbers_required")
	return append(append([]httpapi.Route{
		get("/v1/holds", "listHolds", "Holds", "List the holds.", holdList{}, nil, c.handle(c.listHolds)),
		{
			Method: http.MethodPost, Path: "/v1/holds", Name: "hold", Group: "Holds", Scope: httpapi.ScopeAdmin,
			Summary: "Hold messages: they are not sent until the hold ends.",
			Doc:     "Held messages keep their order and use no send slots. Their deadlines do not move. If there is a hold on the same target that lasts as long, it stays, and the answer shows it.",
			Body:    &httpapi.Body{Type: holdRequest{}, Example: `{"phone_number_id":"106540352242922","template":"spring_sale/en_US","for":"2h","actor":"anna","reason":"wrong price in it"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The hold that is in force.", Type: hold{}}},
			Codes:   orderCodes("hold_target_invalid", "tag_invalid", "client_not_found", "duration_invalid", "all_numbers_required", "phone_number_id_not_found"), Handler: c.handle(c.hold),
		},
		{
			Method: http.MethodPost, Path: "/v1/holds/release", Name: "release", Group: "Holds", Scope: httpapi.ScopeAdmin,
			Summary: "Release a hold: its messages are sent in their order.",
			Body:    &httpapi.Body{Type: releaseRequest{}, Example: `{"campaign":"spring","client":"acme","actor":"anna","reason":"price corrected"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The hold is released.", Type: releaseResult{}}},
			Codes:   orderCodes("hold_target_invalid", "tag_invalid", "client_not_found", "all_numbers_required", "phone_number_id_not_found"), Handler: c.handle(c.release),
		},
		get("/v1/in-doubt", "listInDoubt", "In-doubt messages", "List messages of which it is unknown whether Meta accepted them: those in doubt and those parked.", inDoubtList{},
			[]httpapi.Param{paramNumber, paramLimit}, c.handle(c.listInDoubt)),
		{
			Method: http.MethodPost, Path: "/v1/in-doubt/{id}/resolve", Name: "resolveInDoubt", Group: "In-doubt messages", Scope: httpapi.ScopeAdmin,
			Summary: "Decide about an in-doubt or parked message.",
			Doc:     "A status from Meta that arrives later still overrides the decision.",
			Params:  []httpapi.Param{paramMessage},
			Body:    &httpapi.Body{Type: resolveRequest{}, Example: `{"resolution":"not-sent","actor":"anna","reason":"the recipient got no message"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The decision is applied.", Type: resolveResult{}}},
			Codes:   orderCodes("resolution_unknown", "not_found", "not_in_doubt"), Handler: c.handle(c.resolve),
		},
		{
			Method: http.MethodPost, Path: "/v1/in-doubt/resolve", Name: "resolveManyInDoubt", Group: "In-doubt messages", Scope: httpapi.ScopeAdmin,
			Summary: "Decide about several in-doubt or parked messages alike.",
			Doc:     "Each message has its own entry in the audit log. With `dry_run` nothing changes.",
			Body:    &httpapi.Body{Type: resolveManyRequest{}, Example: `{"ids":["106540352242922-ufeqxlws3bsv46lbkkufh7m55l"],"resolution":"not-sent","dry_run":true}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The decision is applied, or on a dry run what it would do.", Type: resolveManyResult{}}},
			Codes:   orderCodes("resolution_unknown", "ids_invalid"), Handler: c.handle(c.resolveMany),
		},
		{
			Method: http.MethodPost, Path: "/v1/messages/{id}/cancel", Name: "cancelMessageAsOperator", Group: "Messages", Scope: httpapi.ScopeAdmin,
			Summary: "Cancel a message that is queued or parked.",
			Doc:     "The API of callers can do the same, without the entry in the audit log.",
			Params:  []httpapi.Param{paramMessage},
			Body:    &httpapi.Body{Type: cancelRequest{}, Example: `{"actor":"anna","reason":"the order was returned"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The message will not be sent.", Type: cancelResult{}}},
			Codes:   orderCodes("not_found", "in_flight", "already_sent", "already_final"), Handler: c.handle(c.cancel),
		},
		{
			Method: http.MethodPost, Path: "/v1/messages/{id}/resend", Name: "resendMessage", Group: "Messages", Scope: httpapi.ScopeAdmin,
			Summary: "Send one message again that ended undelivered.",
			Doc:     aboutUndelivered,
			Params:  []httpapi.Param{paramMessage},
			Body:    &httpapi.Body{Type: resendOneRequest{}, Example: `{"extend":"2h","actor":"anna","reason":"the customer asked for it"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The message is queued again.", Type: resendOneResult{}}},
			Codes:   orderCodes("not_found", "not_ended", "maybe_delivered", "content_dropped", "deadline_passed", "duration_invalid"), Handler: c.handle(c.resendOne),
		},
		get("/v1/awaiting-status", "listAwaitingStatus", "Messages awaiting a status",
			"List messages that Meta accepted more than 15 minutes ago and sent no status for.", awaitingStatusList{},
			[]httpapi.Param{paramNumber, paramLimit}, c.handle(c.listAwaitingStatus)),
		get("/v1/dead-letters", "listDeadLetters", "Dead letters", "Count and list dead letters: messages that were given up after all attempts.", deadLetterList{},
			[]httpapi.Param{
				paramNumber,
				{In: "query", Name: "code", Doc: "With this last error code from Meta. 0: without a code.", Example: "131000", Type: 0},
				{In: "query", Name: "message_reason", Doc: "With this reason in their records.", Example: message.ReasonAttempts},
				{In: "query", Name: "since", Doc: "Given up at this time or later.", Example: "2026-01-31T08:00:00Z", Type: time.Time{}},
				{In: "query", Name: "until", Doc: "Given up at this time or earlier.", Example: "2026-01-31T20:00:00Z", Type: time.Time{}},
				paramLimit,
			}, c.handle(c.listDeadLetters)),
		{
			Method: http.MethodPost, Path: "/v1/dead-letters/replay", Name: "replayDeadLetters", Group: "Dead letters", Scope: httpapi.ScopeAdmin,
			Summary: "Replay dead letters of a number: send them again.",
			Doc:     "The messages keep their ids and timelines, and have all attempts again. They go to the ends of their queues. With `dry_run` nothing changes, and the answer says how many would be queued.",
			Body:    &httpapi.Body{Type: replayRequest{}, Example: `{"phone_number_id":"106540352242922","code":131000,"limit":50,"extend":"2h","actor":"anna","reason":"Meta is back"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "How many messages were queued.", Type: replayResult{}}},
			Codes:   orderCodes("phone_number_id_missing", "phone_number_id_not_found", "duration_invalid"), Handler: c.handle(c.replay),
		},
		{
			Method: http.MethodGet, Path: "/v1/undelivered", Name: "countUndelivered", Group: "Undelivered messages", Scope: httpapi.ScopeConsole,
			Summary: "Count the messages of a number that ended undelivered, and those that can be sent again.",
			Doc:     aboutUndelivered,
			Params: []httpapi.Param{
				{In: "query", Name: "phone_number_id", Doc: "From this phone number id.", Example: "106540352242922", Needed: true},
				{In: "query", Name: "state", Doc: "Ended in this state: `failed`, `rejected`, `expired` or `dead`, or several of them, separated by commas.", Example: "expired,dead"},
				{In: "query", Name: "code", Doc: "With this last error code from Meta. 0: without a code.", Example: "131000", Type: 0},
				{In: "query", Name: "message_reason", Doc: "With this reason in their records.", Example: message.ReasonAttempts},
				{In: "query", Name: "template", Doc: "Of this template, as name/language.", Example: "order_shipped/en_US"},
				{In: "query", Name: "tag", Doc: "Accepted with this tag.", Example: "spring"},
				{In: "query", Name: "campaign", Doc: "Of this campaign.", Example: "spring"},
				{In: "query", Name: "client", Doc: "With `campaign`: of this client. Default: the client of the API key.", Example: "acme"},
				{In: "query", Name: "since", Doc: "Ended at this time or later.", Example: "2026-01-31T08:00:00Z", Type: time.Time{}},
				{In: "query", Name: "until", Doc: "Ended at this time or earlier.", Example: "2026-01-31T20:00:00Z", Type: time.Time{}},
			},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The counts.", Type: undeliveredCounts{}}},
			Codes:   []string{"phone_number_id_missing", "phone_number_id_not_found", "state_unknown", "filter_unclear", "store_unavailable"}, Handler: c.handle(c.countUndelivered),
		},
		{
			Method: http.MethodPost, Path: "/v1/undelivered/resend", Name: "resendUndelivered", Group: "Undelivered messages", Scope: httpapi.ScopeAdmin,
			Summary: "Send messages again that ended undelivered.",
			Doc: "The messages keep their ids and timelines. They become due one after the other, in the order in which they ended, at the given rate. " +
				"The audit log gets one entry for the whole order. With `dry_run` nothing changes, and the answer says how many would be queued.",
			Body:    &httpapi.Body{Type: resendRequest{}, Example: `{"phone_number_id":"106540352242922","state":"expired","tag":"spring","rate":20,"extend":"2h","actor":"anna","reason":"the number was held over night"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "How many messages were queued.", Type: resendResult{}}},
			Codes:   orderCodes("phone_number_id_missing", "phone_number_id_not_found", "state_unknown", "filter_unclear", "duration_invalid"), Handler: c.handle(c.resendUndelivered),
		},
		audit,
		{
			Method: http.MethodPost, Path: "/v1/audit", Name: "addAuditEntry", Group: "Audit log", Scope: httpapi.ScopeAdmin,
			Summary: "Add an entry about something that was done elsewhere.",
			Doc:     "For example a message that was sent by hand. The entry has the action `note`.",
			Body:    &httpapi.Body{Type: noteRequest{}, Example: `{"target":"send text from number 106540352242922","actor":"anna","reason":"test of the new number"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The entry is written.", Type: auditEntry{}}},
			Codes:   orderCodes("target_missing"), Handler: c.handle(c.note),
		},
	}, append(slices.Concat(c.relayRoutes(), c.numberRoutes(), c.directoryRoutes(), c.onboardingRoutes(), c.peopleRoutes(), c.templateRoutes(), c.campaignRoutes(), c.scheduleRoutes()), c.reportRoute())...), httpapi.About(c.Document)...)
}

const aboutUndelivered = "A message can be sent again if it is proven that Meta did not deliver it and if Sluice still has its content. " +
	"A message that is `rejected`, `expired` or `dead` keeps its content as long as its record, and so does a `failed` message if Meta reported no success before. Without its content the caller must send it as a new message. " +
	"A message that is `failed` with the reason `undetermined` is never sent again. Records of these messages live 7 days."

// Document describes the console.
func (c *Console) Document() httpapi.Document {
	return httpapi.Document{
		Title: "Sluice console API",
		Doc: "For operators. Do not expose it to the internet. Every request needs `Authorization: Bearer <API key>` with a key that has the scope `admin`. " +
			"Every order needs an `actor` and a `reason`, which go into the audit log. Errors are problem documents (RFC 9457) with a stable `code`.",
		Server: "http://127.0.0.1:8081",
		Routes: c.routes(),
	}
}
