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

// trail is the answer of GET /v1/audit.
type trail struct {
	Deeds []message.Deed `json:"deeds" doc:"The latest first."`
}

func (c *Console) audit(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	limit, refused := limitOf(r)
	if !key.CoversAll() {
		refused = httpapi.Refuse("key_too_narrow")
	}
	if refused != nil {
		return nil, refused
	}
	deeds, err := c.o.Audit.Latest(ctx, limit)
	if err != nil {
		return nil, c.unavailable("read the trail", err)
	}
	return trail{append([]message.Deed{}, deeds...)}, nil
}

var (
	paramNumber = httpapi.Param{In: "query", Name: "number", Doc: "Of this phone number id alone.", Example: "106540352242922"}
	paramLimit  = httpapi.Param{In: "query", Name: "limit", Doc: "How many are shown, 1 to 1000; 100 without it.", Example: strconv.Itoa(100), Type: 0}
)

// orderCodes are those of an order.
func orderCodes(more ...string) []string {
	return append(append(httpapi.BodyCodes(), "actor_missing", "reason_missing", "store_unavailable"), more...)
}

// routes is all that the console serves.
func (c *Console) routes() []httpapi.Route {
	get := func(path, name, group, summary string, answer any, params []httpapi.Param, f http.HandlerFunc) httpapi.Route {
		codes := []string{"store_unavailable"}
		if slices.Contains(params, paramNumber) {
			codes = append(codes, "phone_not_found")
		}
		return httpapi.Route{
			Method: http.MethodGet, Path: path, Name: name, Group: group, Summary: summary, Scope: httpapi.ScopeAdmin,
			Params: params, Answers: []httpapi.Answer{{Status: 200, Doc: "The list.", Type: answer}}, Codes: codes, Handler: f,
		}
	}
	audit := get("/v1/audit", "listDeeds", "Audit", "What was ordered: who, what, when and why.", trail{}, []httpapi.Param{paramLimit}, c.handle(c.audit))
	audit.Doc = "Holds that Sluice ordered by itself are among it, by `sluice`. Each part of the store keeps about the last thousand. The key must reach all numbers."
	audit.Codes = append(audit.Codes, "key_too_narrow")
	return append([]httpapi.Route{
		get("/v1/holds", "listHolds", "Holds", "What is held, and why.", held{}, nil, c.handle(c.listHolds)),
		{
			Method: http.MethodPost, Path: "/v1/holds", Name: "hold", Group: "Holds", Scope: httpapi.ScopeAdmin,
			Summary: "Keep messages from being sent.",
			Doc:     "They wait in their order, without using slots; their deadlines go on. A hold that is there already stays if it lasts as long: the answer is the one in force.",
			Body:    &httpapi.Body{Type: holding{}, Example: `{"number":"106540352242922","template":"spring_sale/en_US","for":"2h","actor":"anna","reason":"wrong price in it"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The hold in force.", Type: message.Hold{}}},
			Codes:   orderCodes("hold_unclear", "tag_invalid", "for_invalid", "key_too_narrow", "phone_not_found"), Handler: c.handle(c.hold),
		},
		{
			Method: http.MethodPost, Path: "/v1/holds/release", Name: "release", Group: "Holds", Scope: httpapi.ScopeAdmin,
			Summary: "End a hold: what it kept goes on in its order.",
			Body:    &httpapi.Body{Type: release{}, Example: `{"tag":"spring","actor":"anna","reason":"price corrected"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "Done.", Type: released{}}},
			Codes:   orderCodes("hold_unclear", "tag_invalid", "key_too_narrow", "phone_not_found"), Handler: c.handle(c.release),
		},
		get("/v1/doubts", "listDoubts", "Doubts", "Messages that are parked or in doubt, those that wait longest first.", doubtList{},
			[]httpapi.Param{paramNumber, paramLimit}, c.handle(c.listDoubts)),
		{
			Method: http.MethodPost, Path: "/v1/doubts/{id}/resolve", Name: "resolveDoubt", Group: "Doubts", Scope: httpapi.ScopeAdmin,
			Summary: "Settle a doubt by a person's word.",
			Doc:     "Late evidence from Meta still wins over it.",
			Params:  []httpapi.Param{{In: "path", Name: "id", Doc: "The message's id.", Example: "106540352242922-ufeqxlws3bsv46lbkkufh7m55l"}},
			Body:    &httpapi.Body{Type: resolution{}, Example: `{"as":"not-sent","actor":"anna","reason":"she says that nothing came"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "It is settled.", Type: resolved{}}},
			Codes:   orderCodes("as_unknown", "not_found", "not_in_doubt"), Handler: c.handle(c.resolve),
		},
		get("/v1/unreported", "listUnreported", "Messages without a status",
			"Messages that Meta took more than 15 minutes ago and reported nothing of since, those that wait longest first.", unreportedList{},
			[]httpapi.Param{paramNumber, paramLimit}, c.handle(c.listUnreported)),
		get("/v1/dead", "listDead", "Dead messages", "Messages that were given up, counted and listed.", dead{},
			[]httpapi.Param{
				paramNumber,
				{In: "query", Name: "code", Doc: "With this last error code of Meta's; 0: with none.", Example: "131000", Type: 0},
				{In: "query", Name: "cause", Doc: "With this reason.", Example: message.ReasonAttempts},
				{In: "query", Name: "since", Doc: "They died then or later.", Example: "2026-01-31T08:00:00Z", Type: time.Time{}},
				{In: "query", Name: "until", Doc: "They died then or before.", Example: "2026-01-31T20:00:00Z", Type: time.Time{}},
				paramLimit,
			}, c.handle(c.listDead)),
		{
			Method: http.MethodPost, Path: "/v1/dead/replay", Name: "replayDead", Group: "Dead messages", Scope: httpapi.ScopeAdmin,
			Summary: "Send dead messages of a number again.",
			Doc:     "The same messages, with their ids and histories, and all attempts before them. They go to the ends of their queues. GET /v1/dead with the same filter tells how many there are.",
			Body:    &httpapi.Body{Type: replay{}, Example: `{"number":"106540352242922","code":131000,"limit":50,"extend":"2h","actor":"anna","reason":"Meta is back"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "What was done.", Type: replayed{}}},
			Codes:   orderCodes("number_missing", "phone_not_found", "for_invalid"), Handler: c.handle(c.replay),
		},
		{
			Method: http.MethodGet, Path: "/v1/ended", Name: "countEnded", Group: "Messages that ended", Scope: httpapi.ScopeAdmin,
			Summary: "How many messages of a number ended undelivered, and how many of them can be sent again.",
			Doc:     aboutEnded,
			Params: []httpapi.Param{
				{In: "query", Name: "number", Doc: "Of this phone number id.", Example: "106540352242922", Needed: true},
				{In: "query", Name: "state", Doc: "How they ended: `failed`, `rejected`, `expired` or `dead`, or several with commas between them.", Example: "expired,dead"},
				{In: "query", Name: "code", Doc: "With this last error code of Meta's; 0: with none.", Example: "131000", Type: 0},
				{In: "query", Name: "template", Doc: "Of this template, as name/language.", Example: "order_shipped/en_US"},
				{In: "query", Name: "tag", Doc: "Accepted with this tag.", Example: "spring"},
				{In: "query", Name: "since", Doc: "They ended then or later.", Example: "2026-01-31T08:00:00Z", Type: time.Time{}},
				{In: "query", Name: "until", Doc: "They ended then or before.", Example: "2026-01-31T20:00:00Z", Type: time.Time{}},
			},
			Answers: []httpapi.Answer{{Status: 200, Doc: "The counts.", Type: ended{}}},
			Codes:   []string{"number_missing", "phone_not_found", "state_unknown", "store_unavailable"}, Handler: c.handle(c.listEnded),
		},
		{
			Method: http.MethodPost, Path: "/v1/ended/resend", Name: "resendEnded", Group: "Messages that ended", Scope: httpapi.ScopeAdmin,
			Summary: "Send messages that ended undelivered again.",
			Doc: "The same messages, with their ids and histories, in the order in which they ended. They become due one after the other at the rate of the order. " +
				"The audit log gets one entry for the whole order. GET /v1/ended with the same filter tells how many there are.",
			Body:    &httpapi.Body{Type: resend{}, Example: `{"number":"106540352242922","state":"expired","tag":"spring","rate":20,"extend":"2h","actor":"anna","reason":"the number was held over night"}`},
			Answers: []httpapi.Answer{{Status: 200, Doc: "What was done.", Type: resent{}}},
			Codes:   orderCodes("number_missing", "phone_not_found", "state_unknown", "for_invalid"), Handler: c.handle(c.resendEnded),
		},
		audit,
	}, httpapi.About(c.Document)...)
}

const aboutEnded = "A message can be sent again when it is proven that Meta did not deliver it and when its content is kept: " +
	"one that is `rejected`, `expired` or `dead` keeps its content as long as its record lives, and so does one that is `failed` if Meta reported no success before. Without its content the caller must send it as a new message. " +
	"A closed doubt (`failed`, `undetermined`) is never sent again. Records of messages that ended live 7 days."

// Document describes the console.
func (c *Console) Document() httpapi.Document {
	return httpapi.Document{
		Title: "Sluice's console",
		Doc: "For operators, not for the world. Every request needs `Authorization: Bearer <API key>` of a key with the scope `admin`. " +
			"Every order says who gives it and why, and is noted. Errors are problem documents (RFC 9457) with a stable `code`.",
		Server: "http://127.0.0.1:8081",
		Routes: c.routes(),
	}
}
