package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"sluice/internal/message"
)

// Refusal is one or more problems of a request. The first problem decides the HTTP status.
type Refusal []message.Problem

// Refuse returns the refusal of a request as a whole.
func Refuse(code string) Refusal { return RefuseAt("", code) }

// RefuseAt returns the refusal of a request because of the part at path.
func RefuseAt(path, code string) Refusal { return Refusal{Problem(path, code)} }

// Problem returns the problem of a code, with the texts of the table.
func Problem(path, code string) message.Problem {
	a := answers[code]
	return message.Problem{Path: path, Code: code, Detail: a.detail, Fix: a.fix}
}

// answer is the status and the texts of a code.
type answer struct {
	status int // 0: 422, as for all codes of content.Parse
	detail string
	fix    string
}

// answers has the status and the texts of every code. A text says what failed and why, a fix what to do.
var answers = map[string]answer{
	// The caller.
	"unauthenticated":           {401, "The request has no valid API key.", "Send the header Authorization: Bearer <API key>."},
	"api_key_revoked":           {401, "This API key was revoked.", "Use the API key that replaced it."},
	"api_key_expired":           {401, "This API key has expired.", "Use the API key that replaced it, or ask the operator for a new one."},
	"scope_missing":             {403, "This API key does not have the scope that the request needs.", "Use an API key with the scope: messages:send, messages:read, messages:cancel, account:write, events:read, console:read or admin. The documentation of the path names it."},
	"phone_number_id_not_found": {404, "The phone number id is not configured, or this API key may not use it.", "Check the phone number id. The operator adds the number with sluice numbers add or in sluice.yaml, and adds it to phone_number_ids of the API key."},
	"not_found":                 {404, "Nothing was found at this path.", "Check the path and the id. The record of a delivered message is removed 24 hours after its last status, other final records after 7 days."},

	"in_flight":     {409, "An attempt to send the message is under way or in doubt: Meta may have the message.", "Try again when its state has changed. An operator can decide about an in-doubt message."},
	"already_sent":  {409, "Meta has accepted the message.", "It cannot be cancelled any more."},
	"already_final": {409, "The message is in a final state.", "Read its record: GET /v1/messages/{id}."},
	"not_in_doubt":  {409, "The message is neither in doubt nor parked.", "Read its record: GET /v1/messages/{id}."},

	// Orders of operators.
	"all_numbers_required":        {403, "The request concerns all numbers, and this API key is not for all numbers.", "Name a phone number id of the API key, or use an API key for all numbers."},
	"actor_missing":               {0, "actor is missing or not usable.", "Set actor to the name or the address of the person who gives the order, 1 to 64 characters without control characters."},
	"actor_reserved":              {0, "The actor begins with sluice. Such names are reserved for what Sluice does by itself.", "Set actor to the name or the address of the person who gives the order."},
	"reason_missing":              {0, "reason is missing or not usable.", "Set reason to why the order is given, 1 to 200 characters without control characters."},
	"hold_target_invalid":         {0, "The request does not say clearly what to hold or release.", "Give exactly one: all (true), phone_number_id, phone_number_id with template (as name/language), or tag, or campaign with client, with or without phone_number_id."},
	"duration_invalid":            {0, "The value is not a duration from 1 second to 90 days.", "Write it like 90s, 15m or 24h."},
	"rate_invalid":                {0, "The rate is not 1 to 10000 messages per second, or from is not lower than rate.", "Correct the value. To send nothing, set a hold."},
	"campaign_settings_missing":   {0, "The request changes no setting.", "Give rate, cap_per_day, time_zone, budget or reset."},
	"campaign_rate_invalid":       {0, "The rate of a campaign is not 0.001 to 10000 messages per second.", "Correct the value. 0 removes the rate. To send nothing, set a hold on the campaign."},
	"campaign_ramp_unclear":       {0, "ramp_from needs rate and ramp_over, is at least 0.001, and is lower than rate.", "Give rate, ramp_from and ramp_over together, or neither ramp_from nor ramp_over."},
	"cap_per_day_invalid":         {0, "cap_per_day is not 1 to 1000000000 messages.", "Correct the value. 0 removes the cap. To send nothing, set a hold on the campaign."},
	"budget_invalid":              {0, "The budget is not an amount of money with up to six digits after the point.", "Write it as text, like \"500.00\". \"0\" removes the budget."},
	"time_zone_unknown":           {0, "There is no time zone with this name.", "Use a name of the IANA database, like Europe/Berlin, or UTC."},
	"rate_unclear":                {0, "The request does not say clearly which rate limit to use.", "Give exactly one: rate, with or without both from and over; or reset (true)."},
	"relay_target_not_found":      {404, "There is no relay target with this name.", "Check the name. GET /v1/relay/targets lists the targets."},
	"relay_name_invalid":          {0, "The name is not 1 to 32 of a-z, 0-9 and -.", "Use a short name, for example crm."},
	"relay_url_invalid":           {0, "url is not an absolute URL that begins with https:// (or http://), without a user and a fragment, of up to 2000 characters.", "Write it like https://crm.example.com/webhooks/whatsapp."},
	"relay_format_unknown":        {0, "The value must be meta or sluice.", "Set it to one of them, or leave it out."},
	"relay_limit_invalid":         {0, "The value is outside of its limits.", "Set batch to 1 to 100, and concurrency to 1 to 256, or leave them out."},
	"relay_secret_invalid":        {0, "The secret must have 8 to 256 characters, without white space around it.", "Make one with openssl rand -hex 32."},
	"relay_type_unknown":          {0, "A type of event is not known.", "Use message, final, status, inbound, standby, handover, update or gap."},
	"relay_replay_unclear":        {0, "The request does not say clearly what to relay again.", "Give exactly one: since, or dead_letters (true)."},
	"secrets_key_missing":         {0, "The secret cannot be encrypted, because the producer has no key for secrets.", "The operator sets secrets_key_file or SLUICE_SECRETS_KEY for all programs. Or leave the secret out: then requests to a relay target are not signed, and a number needs token_file."},
	"account_not_found":           {404, "No known number of this API key belongs to the account.", "Check the id: GET /v1/accounts lists the accounts. Sluice learns the account of a number from Meta within a minute."},
	"entry_invalid":               {0, "The value is not valid.", "Correct the value. docs/configuration.md describes every member: the entries have the form of the configuration file."},
	"entry_not_found":             {404, "Neither the directory nor the configuration file has this entry, or no secret of it is stored that could be replaced.", "Check the name: GET /v1/numbers, /v1/apps, /v1/api-keys and /v1/clients list the entries. Store a secret with the entry before you rotate it."},
	"entry_changed":               {409, "The entry is there already, or another operator changed it: it has another revision.", "Read the entry, and repeat the change with its revision."},
	"number_has_messages":         {409, "The number was not removed: some of its messages are not final.", "Set backlog to drain, move or cancel, or wait until the messages are final."},
	"backlog_unknown":             {0, "backlog must be refuse, drain, move or cancel.", "Set it to one of them, or leave it out."},
	"secret_missing":              {0, "The new secret is missing.", "Give the secret that replaces the stored one."},
	"api_key_in_use":              {409, "The change would take the rights of an operator from the API key of this request.", "Make the change with another API key that has the scope admin for all numbers."},
	"app_missing":                 {0, "The name of the app is missing.", "Give the name of the app, as GET /v1/apps lists it."},
	"meta_id_invalid":             {0, "This is not an id of Meta's: digits only.", "Copy the id from Meta, or from the answer of the Embedded Signup. With a code, app_id is needed."},
	"pin_invalid":                 {0, "The PIN must have six digits.", "Give the PIN of the two-step verification of the number, or six new digits if it has none."},
	"callback_invalid":            {0, "A callback needs a url of at most 200 characters, and the verify_token of its handshake.", "Give both, or leave the callback out."},
	"code_missing":                {0, "The code is missing.", "Give the code that the number received."},
	"method_unknown":              {0, "method must be SMS or VOICE.", "Set it to one of them, or leave it out."},
	"registration_action_unknown": {0, "action must be register, deregister, request-code, verify-code or set-pin.", "Set action to one of them."},
	"resolution_unknown":          {0, "resolution must be sent, not-sent or cancel.", "Set resolution to one of them."},
	"target_missing":              {0, "target must have 1 to 200 characters and no control characters.", "Say what was done, and to what."},
	"ids_invalid":                 {0, "ids must have 1 to 100 ids of messages.", "Give 1 to 100 ids. For more, send further requests."},
	"not_ended":                   {409, "The message cannot be sent again: it is in none of the states failed, rejected, expired and dead.", "Read its record. If it waits, it is sent in its turn."},
	"maybe_delivered":             {409, "The message cannot be sent again: Meta may have delivered it.", "Ask the recipient, or send a new message with another key."},
	"content_dropped":             {409, "The message cannot be sent again: Sluice does not have its content any more.", "Send it as a new message, with another key."},
	"deadline_passed":             {409, "The deadline of the message has passed.", "Give it a new one with extend, for example 2h."},
	"state_unknown":               {0, "Only messages in the states failed, rejected, expired and dead can be sent again.", "Set state to one of them, or to several separated by commas."},
	"phone_number_id_missing":     {0, "phone_number_id is missing.", "Set phone_number_id to Meta's id of the sending number."},
	"phone_number_id_invalid":     {0, "The value is not a phone number id: up to 32 digits.", "Give Meta's phone number id, not the phone number."},
	"query_invalid":               {0, "The value of this parameter is not valid.", "Give each parameter once, with a value: digits for numbers and codes, times like 2026-01-31T15:04:05Z, limits and rates within the range in /openapi.json."},
	"query_unknown":               {0, "The path has no such query parameter.", "Check the spelling. /openapi.json lists the parameters."},
	"filter_unclear":              {0, "The query does not say clearly which messages to list.", "Give ids only, or phone_number_id with ref, or state, tag, campaign or code. With these you can also give phone_number_id, since, until, limit and cursor, and with campaign also client."},
	"search_unclear":              {0, "The search does not say clearly which messages to find.", "Give exactly one of id, key, ref, wamid and recipient, with or without phone_number_id. Or give state, tag, campaign or code. With these you can also give phone_number_id, since, until, limit and cursor, and with campaign also client."},
	"person_invalid":              {0, "recipient is neither a phone number with its country code nor a business-scoped user id.", "Write a phone number like +491701234567, and a user id as Meta's webhooks have it, like DE.1234."},
	"waiting_unknown":             {0, "waiting must be refuse or cancel.", "Set it to one of them, or leave it out."},
	"person_has_messages":         {409, "Nothing was deleted: messages to the person have not ended.", "Wait until they have ended, or set waiting to cancel. A message that is being sent or in doubt cannot be cancelled: an operator can decide about one in doubt."},
	"recipient_index_missing":     {0, "Messages cannot be found by recipient: there is no index of recipients.", "The operator sets secrets_key_file or SLUICE_SECRETS_KEY at the producers, and does not set recipient_index to false. Messages that are accepted after that are found."},
	"cursor_invalid":              {0, "The cursor is not from this query and this API key.", "Give next_cursor of the last page, with the same query and API key, or start again without a cursor."},
	"event_type_unknown":          {0, "There is no such type of events.", "Set type to message, final, status, inbound, standby, handover, update or gap."},
	"from_unclear":                {0, "from must be now, oldest or a time in the form of RFC 3339.", "Set from to one of them, for example 2026-01-31T15:04:05Z."},
	"cursor_name_invalid":         {0, "The name of a cursor has 1 to 32 of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit.", "Use a short name, for example crm."},
	"cursor_name_taken":           {409, "Another API key created the cursor with this name, for phone number ids that this API key does not have.", "Use another name."},
	"cursor_name_not_found":       {404, "There is no cursor with this name.", "Check the name: GET /v1/events/cursors lists the cursors."},
	"cursor_names_too_many":       {0, "There are 1,000 named cursors.", "Delete cursors that are not used, or keep the cursor in your own program."},
	"cursor_too_old":              {410, "Events after this cursor were dropped before they were read. They are no longer available.", "Go on with first_cursor: it begins with the oldest available events. Read the states of the messages that you may have missed with GET /v1/messages."},
	"value_empty":                 {0, "The value is empty.", "Give a value, or leave the member out."},

	// The form of the request.
	"method_not_allowed":          {405, "The path does not support this method.", "Use a method from the Allow header."},
	"timeout":                     {408, "The body did not arrive in time.", "Send the request again. With the same idempotency key the message is accepted once."},
	"body_too_large":              {413, "The body is larger than 256 KiB, or 64 KiB on the console and for a schedule, or 4 MiB for an import of the directory.", "Send media by id or link, not in the request."},
	"unsupported_media_type":      {415, "The body is not declared as JSON.", "Send the header Content-Type: application/json. A batch needs application/x-ndjson."},
	"charset_not_supported":       {415, "The body is not declared as UTF-8.", "Send UTF-8, and the header Content-Type without charset or with charset=utf-8."},
	"encoding_not_supported":      {415, "The body is compressed.", "Send the body without compression and without the header Content-Encoding."},
	"header_duplicate":            {400, "The request has a header twice that may be there once.", "Send the header once."},
	"header_unknown":              {400, "Sluice has no header with this name.", "Check the spelling: the headers are Sluice-Class, Sluice-Ref, Sluice-Tags, Sluice-Send-At and Sluice-Expires-At."},
	"body_empty":                  {400, "The body is empty.", "Send a JSON object; for a message with from and message."},
	"body_not_allowed":            {400, "The request has a body, and the path takes none.", "Send no body, or an empty JSON object."},
	"json_invalid":                {400, "The body is not valid JSON.", "Send one JSON object."},
	"json_trailing_data":          {400, "There is data after the JSON object.", "Send one JSON object and nothing after it."},
	"json_not_object":             {400, "The body is not a JSON object.", "Send a JSON object; for a message with from and message."},
	"json_duplicate_member":       {400, "An object has a member twice.", "Send the member once."},
	"idempotency_key_not_allowed": {400, "A batch cannot have an idempotency key.", "Give each line a key."},
	"json_too_deep":               {400, "The JSON is nested more than 64 levels deep.", "Send Meta's message object as Meta documents it."},
	"utf8_invalid":                {400, "The text is not valid Unicode.", "Send UTF-8. A surrogate in an escape (\\uD83D) needs its partner (\\uDE00); or send the character without an escape."},

	// The content of the request.
	"char_not_allowed":          {0, "The character U+0000 is not allowed.", "Remove it."},
	"field_unknown":             {0, "The request has a member that is not known.", "/openapi.json lists the members. Those of a message are from, message, class, key, ref, tags, send_at, expires_at, after and fallback_template. Meta's own members belong in message."},
	"type_mismatch":             {0, "The member has another JSON type.", "/openapi.json lists the types. Of a message, tags is an array of strings, message, after and fallback_template are objects, the others are strings."},
	"from_missing":              {0, "from is missing.", "Set from to Meta's phone number id of the sender."},
	"from_invalid":              {0, "from is not a phone number id: up to 32 digits.", "Give Meta's phone number id, not the phone number."},
	"recipient_is_sender":       {0, "The recipient is the sender. Meta does not accept that.", "Set to to another phone number."},
	"media_not_uploaded":        {404, "No file with this hash was uploaded from the number in the last 22 days.", "Upload it, for example with sluice media upload. Each number needs an upload of its own."},
	"message_of_other_number":   {0, "The message names another message by Sluice's id, and that message is of another number. Meta knows messages only at the number that sent them.", "Name a message of the same number, or send this one from the other number."},
	"message_missing":           {0, "message is missing.", "Set message to Meta's message object."},
	"class_unknown":             {0, "class must be authentication, service, utility or marketing.", "Set class to one of them, or leave it out."},
	"idempotency_key_invalid":   {0, "An idempotency key has 1 to 255 printable ASCII characters, and not only spaces.", "Use an order id or a UUID, or leave the key out."},
	"idempotency_key_mismatch":  {0, "The header Idempotency-Key and the member key are different.", "Send one of them, or the same value in both."},
	"idempotency_key_reused":    {0, "An earlier message with other content has this idempotency key.", "Use a new key for a new message."},
	"ref_invalid":               {0, "ref must have 1 to 255 characters and no control characters.", "Use an order id, for example."},
	"tags_too_many":             {0, "There are more than 10 tags.", "Remove tags."},
	"tag_invalid":               {0, "A tag must have 1 to 64 characters and no control characters. A campaign must not be . or .. either.", "Use a short word, for example the name of a campaign."},
	"time_invalid":              {0, "The value is not a time in the form of RFC 3339, after 1970, with at most 9 digits after the second and an offset of at most 14 hours.", "Write it like 2026-01-31T15:04:05Z."},
	"send_at_too_far":           {0, "send_at is more than 90 days ahead.", "Set an earlier send_at, or send the message later."},
	"send_at_after_expires_at":  {0, "send_at is not before expires_at.", "Set expires_at to a time after send_at."},
	"wait_invalid":              {0, "wait must be submitted.", "Write ?wait=submitted, or leave it out."},
	"messaging_product_missing": {0, "messaging_product is missing. Meta's own path needs it.", "Set messaging_product to whatsapp."},
	"expires_at_too_far":        {0, "expires_at is more than 90 days ahead.", "Set an earlier expires_at, or leave it out."},
	"after_invalid":             {0, "after does not say which message to wait for.", "Set after to an object with either id or key, and with state. within is optional."},
	"after_state_unknown":       {0, "after.state must be submitted, sent, delivered or read.", "Set after.state to one of them."},
	"after_other_number":        {0, "after.id is not the id of a message of the same phone number id.", "Wait for a message of the same number, and give Sluice's id of it."},
	"fallback_not_allowed":      {0, "The message is to a group or of Direct Send, or the fallback template is the template of the message.", "Leave fallback_template out, or name another template or language in it."},
	"after_itself":              {0, "The message cannot wait for itself.", "Give the id or the key of another message in after."},
	"after_not_found":           {0, "There is no record of the message in after.", "Send that message first, and give its id or its key. A record is kept for at least 24 hours after its message has ended."},
	"after_too_many":            {0, "20 messages wait for that message already.", "Let this message wait for one of them, or send it when that message has reached the state."},
	"send_at_with_after":        {0, "A message cannot have both send_at and after.", "Remove one of them."},
	"expires_at_invalid":        {0, "expires_at is not in the future.", "Set a later expires_at, or leave it out."},

	// Schedules.
	"schedule_name_invalid":       {0, "The name of a schedule has 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit.", "Use a short name, for example weekly-report."},
	"schedule_name_taken":         {409, "The schedule with this name sends from a number that this API key may not use.", "Use another name."},
	"schedule_not_found":          {404, "There is no schedule with this name in reach of the API key.", "Check the name: GET /v1/schedules lists the schedules."},
	"schedules_too_many":          {0, "There are 10,000 schedules.", "Delete schedules that are not used."},
	"schedules_need_key":          {0, "Schedules cannot be used: the producer has no key for secrets, with which they are encrypted.", "The operator sets secrets_key_file or SLUICE_SECRETS_KEY for all programs, the same for all."},
	"schedule_time_invalid":       {0, "at must have 1 to 24 times of a day.", "Write a time like 09:00, from 00:00 to 23:59."},
	"schedule_day_invalid":        {0, "The value is not a day, or both days and dates are given.", "Give either days (mon, tue, wed, thu, fri, sat, sun) or dates (1 to 31, or -1 to -31 from the end of the month). Write first_day and last_day like 2026-01-31."},
	"schedule_over":               {0, "The schedule would never send: no time comes before the end of its last day.", "Set a later last_day, or leave it out."},
	"schedule_member_not_allowed": {0, "The message of a schedule cannot have this member: the schedule sets it, or it would fit one message only.", "Remove key, send_at, expires_at and after from request."},

	// The state of the server.
	"deadline_unreachable":      {429, "The message would expire before it can be sent: other messages of the number wait.", "Try again later, set a later expires_at, or use another number. Retry-After says how long the waiting messages will take."},
	"portfolio_limit_reached":   {429, "The message would expire before Meta's messaging limit lets the business write to another person.", "Try again later, or set a later expires_at. Retry-After says when there is capacity."},
	"conversation_of_other_app": {409, "Another app owns the conversation with this recipient. Meta does not accept service messages from you until then.", "Send a template, or send the message after the time in Retry-After. With other_app_conversations: wait for the number, Sluice accepts such messages and sends them when the conversation has no other owner. If your app may take conversations, set send."},
	"service_window_closed":     {0, "The recipient has not written to the number or called it for 24 hours. Until then Meta takes only templates.", "Send a template. Or name one in fallback_template: Sluice then sends it in place of the message. When the recipient has written again, free-form messages are accepted."},
	"recipient_suppressed":      {409, "The recipient opted out of messages of this class, or of the category that the template has at Meta.", "Send the recipient none. If the person opted in again in another way: POST /v1/suppressions/remove, or sluice suppressions remove."},
	"media_kind_unknown":        {0, "type must be image, video, audio, document or sticker.", "Set it to one of them."},
	"media_unreachable":         {0, "The file cannot be fetched.", "Give a public link that needs no login, and open it from outside of your network."},
	"media_type_wrong":          {0, "Meta takes no file of this type for this kind.", "Convert the file, or let the server send the right Content-Type."},
	"media_too_large":           {0, "The file is larger than Meta takes for this kind.", "Make the file smaller."},
	"media_check_busy":          {429, "Too many links are being checked at the same time.", "Send the request again after some seconds."},
	"suppression_not_found":     {404, "The recipient is not in the suppression list.", "Check recipient and client."},
	"csv_invalid":               {0, "The file is not a CSV whose first line names a column recipient.", "Separate the columns by commas, put a cell with a comma or a quote in quotes, and send UTF-8."},
	"suppressions_need_key":     {0, "Suppression lists cannot be used: the producer has no key for secrets.", "The operator sets secrets_key_file or SLUICE_SECRETS_KEY for all programs, the same for all."},
	"forwarding_not_configured": {503, "The API cannot forward this request to Meta: it has no access token of the number.", "Ask the operator to set token_file of the number in the producer's configuration, or call Meta directly."},
	"stopping":                  {503, "The server is stopping. This line and those after it were not read.", "Send them again."},
	"feed_busy":                 {429, "Too many callers read events at the same time, of all API keys or of this one.", "Use one stream for all events, and end those that are not used."},
	"events_unavailable":        {503, "Storage is temporarily unavailable. Events cannot be read.", "Send the request again with the same cursor."},
	"archive_not_configured":    {503, "There is no archive, so there are no reports.", "Set archive.database_url_file for the producers and workers: see docs/archive.md."},
	"archive_unavailable":       {503, "The archive did not answer in time.", "Ask for fewer days, or use sluice report, which waits longer. The log of the producer says what failed."},
	"client_not_found":          {0, "There is no such client, or the API key belongs to another one.", "Check the name: sluice clients list. With the API key of a client, leave client out."},
	"campaign_cancelled":        {409, "The campaign is cancelled: further messages of it are refused.", "Send the message in another campaign, or let an operator open this one: sluice campaigns open."},
	"campaign_not_found":        {404, "There is no campaign of this name in reach of the API key, or its counters were removed 400 days after its last message.", "Check campaign and client. GET /v1/campaigns lists campaigns."},
	"day_invalid":               {0, "from and to must be days like 2026-01-31, up to 93 of them, and from must not be after to.", "Give days in this form. For more days, send further requests."},
	"quota_exceeded":            {429, "The client has used up a quota of messages.", "Send the request again after the time in Retry-After. An operator sets the quotas: sluice clients set."},
	"overloaded":                {503, "Storage is nearly full. No messages are accepted until waiting messages have been sent.", "Send the request again after the time in Retry-After."},
	"store_unavailable":         {503, "Storage is temporarily unavailable. What the request changes may or may not be stored.", "Send a message again with the same key: it is accepted once. Read what is there before you repeat another change."},
}

// Values of Retry-After, in seconds: when storage is unavailable, and when it is nearly full.
const (
	RetryAfter     = 2
	retryAfterFull = 10
)

// Status returns the HTTP status of the answer.
func (r Refusal) Status() int {
	if a := answers[r[0].Code]; a.status != 0 {
		return a.status
	}
	return http.StatusUnprocessableEntity
}

// Write answers with the refusal as a problem document (RFC 9457).
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
	r.Document().Write(w)
}

const problemMedia = "application/problem+json"

// Failure is a problem document (RFC 9457).
type Failure struct {
	Type      string            `json:"type" doc:"Always about:blank."`
	Title     string            `json:"title" doc:"The name of the HTTP status."`
	Status    int               `json:"status" doc:"The HTTP status."`
	Detail    string            `json:"detail" doc:"What failed and why, for people."`
	Code      string            `json:"code" doc:"Sluice's code of the first mistake, for programs. It does not change between versions."`
	Errors    []message.Problem `json:"errors" doc:"All mistakes, up to 20. The other members are about the first one."`
	RequestID string            `json:"request_id,omitempty" doc:"The same value as the header X-Request-Id."`

	FirstCursor string    `json:"first_cursor,omitempty" doc:"With cursor_too_old: the first available cursor."`
	FirstAt     time.Time `json:"first_at,omitzero" doc:"With cursor_too_old: the time of the first available event that the cursor did not reach. Absent: no event is available."`
}

// Document returns the problem document of the refusal, without the request id.
func (r Refusal) Document() Failure {
	status := r.Status()
	return Failure{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: r[0].Detail, Code: r[0].Code, Errors: r,
	}
}

// Write answers with the document, and adds the request id.
func (f Failure) Write(w http.ResponseWriter) {
	f.RequestID = w.Header().Get("X-Request-Id")
	if f.Status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", strconv.Itoa(RetryAfter))
	}
	WriteJSON(w, problemMedia, f.Status, f)
}

// WriteBytes answers with a complete body. It ignores errors: they mean that the caller has disconnected.
func WriteBytes(w http.ResponseWriter, mediaType string, status int, body []byte) {
	w.Header()["Content-Type"] = []string{mediaType}
	w.WriteHeader(status)
	w.Write(body)
}

// WriteJSON answers with v. It ignores errors: they mean that the caller has disconnected.
func WriteJSON(w http.ResponseWriter, mediaType string, status int, v any) {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
