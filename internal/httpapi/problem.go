package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"

	"sluice/internal/message"
)

// Refusal is an answer other than success: one problem or several, the first of which
// decides the status.
type Refusal []message.Problem

// Refuse makes the refusal of a request as a whole.
func Refuse(code string) Refusal { return RefuseAt("", code) }

// RefuseAt makes the refusal of a part of a request.
func RefuseAt(path, code string) Refusal { return Refusal{Problem(path, code)} }

// Problem fills in what the table has for a code.
func Problem(path, code string) message.Problem {
	a := answers[code]
	return message.Problem{Path: path, Code: code, Detail: a.detail, Fix: a.fix}
}

// answer is what the API says with a code.
type answer struct {
	status int // 0: 422, as for all codes of content.Parse
	detail string
	fix    string
}

// answers is the one place that turns codes into statuses and words.
var answers = map[string]answer{
	// Who calls.
	"unauthenticated": {401, "The request carries no API key that is known here.", "Send the header Authorization: Bearer <key>."},
	"key_revoked":     {401, "This API key was revoked.", "Use the key that replaced it."},
	"key_expired":     {401, "This API key has expired.", "Use the key that replaced it, or ask the operator for a new one."},
	"scope_missing":   {403, "This API key may not do that.", "Use a key with the scope for it: messages:send, messages:read, messages:cancel or admin."},
	"phone_not_found": {404, "This API key knows no such sender.", "Give a phone number id that is configured and within the key's numbers."},
	"not_found":       {404, "There is nothing here under that name.", "Check the path and the id; a record goes some days after its message is final."},

	"in_flight":     {409, "An attempt to send it is under way or in doubt: it may be with Meta.", "Ask again when its state has changed; an operator can settle a doubt."},
	"already_sent":  {409, "Meta has taken the message.", "It cannot be taken back."},
	"already_ended": {409, "The message has ended.", "Its record says how."},
	"not_in_doubt":  {409, "The message is neither parked nor in doubt.", "Its record says where it is."},

	// What an operator orders.
	"key_too_narrow": {403, "This concerns all numbers, and the API key does not reach them all.", "Name a number that it reaches, or use a key for all numbers."},
	"actor_missing":  {0, "Who orders it is not said.", "Give actor: 1 to 64 characters, a name or an address."},
	"reason_missing": {0, "Why is not said.", "Give reason: 1 to 200 characters, for those who wonder later."},
	"hold_unclear":   {0, "It is not clear what is meant.", "Name one: all (true), number, number with template (as name/language), or tag, with a number or for all."},
	"for_invalid":    {0, "This is no time from 1 second to 90 days.", "Write it like 90s, 15m or 24h."},
	"as_unknown":     {0, "A doubt is resolved as sent, not-sent or cancel.", "Give one of them."},
	"state_unknown":  {0, "Messages are sent again from the states failed, rejected, expired and dead.", "Give one of them, or several with commas between them."},
	"number_missing": {0, "No number is named.", "Give Meta's phone number id in number."},
	"query_invalid":  {0, "This value cannot be right here.", "Numbers and codes are digits, times are written like 2026-01-31T15:04:05Z, limits and rates are in the range that the description at /openapi.json names. Give each parameter once, with a value."},
	"query_unknown":  {0, "The path takes no such query parameter.", "Check its spelling; the description at /openapi.json names those that there are."},
	"filter_unclear": {0, "The query does not say clearly which messages it asks for.", "Give ids alone; or phone_number_id and ref; or state or tag, with phone_number_id, since, until, limit and cursor as you need them."},
	"cursor_invalid": {0, "This cursor was not made for this query and this API key.", "Give next_cursor of the page before, with the same query and API key, or start again without a cursor."},
	"value_blank":    {0, "The value is empty.", "Give one, or leave the member out."},

	// How it is said.
	"method_not_allowed":     {405, "This path does not take that method.", "Use a method of the Allow header."},
	"timeout":                {408, "The body did not arrive in time.", "Send it again; with the same key it is accepted once."},
	"body_too_large":         {413, "The body has more than 256 KiB, or 64 KiB on the console.", "Send media by id or link, not in the request."},
	"unsupported_media_type": {415, "The body must be JSON.", "Send the header Content-Type: application/json."},
	"charset_not_supported":  {415, "The body must be UTF-8.", "Send UTF-8, and the header Content-Type without charset or with charset=utf-8."},
	"encoding_not_supported": {415, "The body must not be compressed.", "Leave out the header Content-Encoding."},
	"header_duplicate":       {400, "A header that may come once came more than once.", "Send it once."},
	"body_empty":             {400, "The body is empty.", "Send a JSON object; for a message with from and message."},
	"json_invalid":           {400, "The body is not valid JSON.", "Send one JSON object."},
	"json_trailing_data":     {400, "Something follows the JSON object.", "Send one JSON object and nothing after it."},
	"json_not_object":        {400, "The body is not a JSON object.", "Send a JSON object; for a message with from and message."},
	"json_duplicate_member":  {400, "A member comes twice in the same object.", "Send it once."},
	"key_of_batch":           {400, "A batch has no idempotency key of its own.", "Give each line its key."},
	"json_too_deep":          {400, "The JSON is nested more than 64 deep.", "Send Meta's message object as Meta describes it."},
	"utf8_invalid":           {400, "The text is not valid Unicode.", "Send UTF-8, and escape surrogates in pairs or not at all."},

	// What it says.
	"char_not_allowed":          {0, "The character U+0000 is not allowed.", "Remove it."},
	"field_unknown":             {0, "The request has no such member.", "/openapi.json tells the members. Those of a message are from, message, class, key, ref, tags, send_at and expires_at; Meta's own belong in message."},
	"type_mismatch":             {0, "This member has another JSON type.", "/openapi.json tells its type. Of a message, tags is an array of strings, message an object, the others are strings."},
	"from_missing":              {0, "The request names no sender.", "Give Meta's phone number id in from."},
	"from_invalid":              {0, "A sender is Meta's phone number id: up to 32 digits.", "Give the phone number id, not the phone number."},
	"recipient_is_sender":       {0, "The recipient is the sender itself; Meta does not take that.", "Give another phone number in to."},
	"message_missing":           {0, "The request has no message.", "Give Meta's message object in message."},
	"class_unknown":             {0, "A class is authentication, service, utility or marketing.", "Give one of them, or leave it out."},
	"idempotency_key_invalid":   {0, "An idempotency key has 1 to 255 printable ASCII characters, not all of them spaces.", "Use an order id or a UUID, or leave the key out."},
	"idempotency_key_mismatch":  {0, "The header Idempotency-Key and the member key differ.", "Send one of them, or the same in both."},
	"idempotency_key_reused":    {0, "This key belongs to an earlier message with other content.", "Use a new key for a new message."},
	"ref_invalid":               {0, "A reference has 1 to 255 characters and no control characters.", "Use an order id or the like."},
	"tags_too_many":             {0, "At most 10 tags are allowed.", "Remove some."},
	"tag_invalid":               {0, "A tag has 1 to 64 characters and no control characters.", "Use a short word, a campaign's name say."},
	"time_invalid":              {0, "A time is written as RFC 3339 has it, with at most 9 digits after the second and an offset of at most 14 hours, and lies after 1970.", "Write it like 2026-01-31T15:04:05Z."},
	"schedule_too_far":          {0, "A message may be scheduled up to 90 days ahead.", "Send it later."},
	"schedule_after_ttl":        {0, "A message must be due before it expires.", "Set expires_at after send_at."},
	"wait_invalid":              {0, "A request to send can wait for one thing: submitted.", "Write ?wait=submitted, or leave it out."},
	"messaging_product_missing": {0, "Meta's own path needs messaging_product.", "Set it to whatsapp."},
	"ttl_too_far":               {0, "A message expires at most 90 days ahead.", "Set expires_at earlier, or leave it out."},
	"ttl_invalid":               {0, "A message must expire in the future.", "Set expires_at later, or leave it out."},

	// Whether it can be sent in time, and kept.
	"deadline_unreachable": {429, "The message would expire before its turn.", "Try again later, with a later expires_at, or from another number. Retry-After tells how long what waits now will take."},
	"not_passed_on":        {503, "No calls are passed on to Meta for this number: the API has no access token of it.", "Ask who runs this Sluice, or call Meta itself."},
	"stopping":             {503, "The server is about to stop. This line and those after it were not read.", "Send them again."},
	"overloaded":           {503, "The store is nearly full; nothing more is accepted until what waits has been sent.", "Repeat the request after the time in Retry-After."},
	"store_unavailable":    {503, "The store cannot be relied upon just now; whether it kept a message is not known.", "Repeat the request. With the same key a message is accepted once."},
}

// What a caller is told to wait, in seconds: when the store is away, and when it must drain.
const (
	RetryAfter     = 2
	retryAfterFull = 10
)

// Status is the HTTP status of the answer.
func (r Refusal) Status() int {
	if a := answers[r[0].Code]; a.status != 0 {
		return a.status
	}
	return http.StatusUnprocessableEntity
}

// Write answers with the refusal in the form of RFC 9457.
func (r Refusal) Write(w http.ResponseWriter) {
	status := r.Status()
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		after := RetryAfter
		if r[0].Code == "overloaded" {
			after = retryAfterFull
		}
		w.Header().Set("Retry-After", strconv.Itoa(after))
	}
	f := r.Document()
	f.RequestID = w.Header().Get("X-Request-Id")
	WriteJSON(w, problemMedia, f.Status, f)
}

const problemMedia = "application/problem+json"

// Failure is a refusal as it is written, in the form of RFC 9457.
type Failure struct {
	Type      string            `json:"type" doc:"Always about:blank."`
	Title     string            `json:"title" doc:"The name of the HTTP status."`
	Status    int               `json:"status" doc:"The HTTP status."`
	Detail    string            `json:"detail" doc:"What is wrong, for people."`
	Code      string            `json:"code" doc:"What is wrong, for programs: it stays the same from version to version."`
	Errors    []message.Problem `json:"errors" doc:"All that is wrong, at most 20; the other members tell of the first."`
	RequestID string            `json:"request_id,omitempty" doc:"What the header X-Request-Id says too."`
}

// Document returns the refusal as it is written.
func (r Refusal) Document() Failure {
	status := r.Status()
	return Failure{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: r[0].Detail, Code: r[0].Code, Errors: r,
	}
}

// WriteBytes answers with a body that is ready. An error means that the caller is gone, which
// concerns nobody.
func WriteBytes(w http.ResponseWriter, mediaType string, status int, body []byte) {
	w.Header()["Content-Type"] = []string{mediaType}
	w.WriteHeader(status)
	w.Write(body)
}

// WriteJSON answers with v. An error means that the caller is gone, which concerns nobody.
func WriteJSON(w http.ResponseWriter, mediaType string, status int, v any) {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
