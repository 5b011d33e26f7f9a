package cloudapi_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/golden"
	"sluice/internal/message"
)

// docs/errors.md is the catalogue for operators.
func TestErrorsPage(t *testing.T) {
	t.Parallel()
	golden.File(t, filepath.Join("..", "..", "docs", "errors.md"), []byte(errorsPage()))
}

const errorsHead = `# Error codes

<!-- Made from internal/cloudapi/codes*.go by: make docs -->

The codes with which Meta refuses a message, or reports later by webhook that it ` + "`failed`" + `. Codes and titles are
[Meta's](https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes). Only the code decides what Sluice
does. The HTTP status is misleading (400 for throttling, 500 for a missing permission), and Meta translates the texts.

Sluice does one of these:

| | what happens to the message | did Meta accept it? |
| --- | --- | --- |
| **Slows down** | Sluice retries it later, and lowers the rate of the number. | no |
| **Retries** | Sluice retries it after a wait. | no |
| **Holds** | Sluice holds all messages of the number or the template, in order. After a while it tries again with one message of the template, or with one message per second of the number. Deadlines still apply. | no |
| **Rejects** | It becomes ` + "`rejected`" + `. A retry would get the same answer. | no |
| **Gives up** | It becomes ` + "`dead`" + ` and keeps its content: an operator can [replay it](console.md#dead-letters). Five such answers in a row hold the number or the template. | no |
| **Waits for a status** | It is ` + "`in_doubt`" + ` until a webhook decides. Without one Sluice retries it after a wait. | unknown |

Meta reports some codes only by webhook: Sluice ends the message as ` + "`failed`" + `. One code is about a message that a customer sent to you: Sluice publishes it
in the inbound event.

A wait grows with each attempt. It is never shorter than the time in the table below. If Meta accepts a message and then reports a code by webhook, the
message becomes ` + "`failed`" + `, with the code in its timeline. If that is the first status of the message, Sluice still has the content, and an operator can
[send it again](console.md#send-again). Otherwise the content is removed, and you must send a new message. After a code with **Holds** in the table below, or one of the temporary codes %s, the message becomes ` + "`dead`" + ` with the reason
` + "`refused_later`" + ` instead: it was not delivered, Sluice keeps the content, and an operator can [replay it](console.md#dead-letters).
Replay is the operator's command for messages that are ` + "`dead`" + `. Sluice does not replay by itself.

The ` + "`error`" + ` of a record, of its events and of ` + "`sluice explain`" + ` has Meta's own texts: ` + "`message`" + `, ` + "`details`" + `, ` + "`error_subcode`" + ` and ` + "`fbtrace_id`" + `,
cut to some hundred characters, with masked phone numbers. They stay when Sluice retries, parks, expires or closes the message by itself, until the next
attempt begins or Meta accepts the message. For an unknown code they are the only information. Logs do not have them.

Some lists on the Internet explain codes wrongly. Where a wrong meaning is common, the meaning below says so.

## Codes

| code | title | meaning | what Sluice does | what you do |
| --- | --- | --- | --- | --- |
`

const errorsFallbacks = `
## Answers without a code from the table

For these answers the HTTP status decides.

| answer | meaning | what Sluice does | what you do |
| --- | --- | --- | --- |
`

const errorsTail = `
## No answer

| what happened | reason in the log | what Sluice does |
| --- | --- | --- |
| There was no connection: the name was not found, the connection was refused, TLS failed, or no connection was free in time | ` + "`dns`, `dial`, `tls`, `no_connection`" + ` | **Retries**: nothing was sent |
| The request was sent, and no complete answer came | ` + "`timeout`, `reset`, `cut`, `cancelled`" + ` | **Waits for a status**; without one the class of the message decides |
| Meta accepted the message (2xx), and its id has an undocumented form | ` + "`wamid_unreadable`" + ` | Gets Meta's id from the webhooks |
| The number has no usable access token, or the base URL is not valid | ` + "`token`, `base_url`" + ` | **Holds** the messages of the number; nothing was sent |
`

func errorsPage() string {
	var b strings.Builder
	fmt.Fprintf(&b, errorsHead, strings.Join(passing(), ", "))
	for _, e := range cloudapi.Catalogue() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", e.Name(), e.Title, e.Meaning, action(e), e.Advice)
	}
	b.WriteString(errorsFallbacks)
	for _, e := range cloudapi.Fallbacks() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", e.Title, e.Meaning, action(e), e.Advice)
	}
	b.WriteString(errorsTail)
	return b.String()
}

// passing returns the names of the codes of temporary faults that Meta also reports by webhook.
func passing() (names []string) {
	for _, e := range cloudapi.Catalogue() {
		if e.From == cloudapi.FromBoth && cloudapi.Passes(e.Code) {
			names = append(names, e.Name())
		}
	}
	return names
}

// action returns what Sluice does about an entry.
func action(e cloudapi.Entry) string {
	switch e.From {
	case cloudapi.FromWebhook:
		return "Ends the message as `failed`"
	case cloudapi.FromInbound:
		return "Publishes it in the inbound event"
	}
	wait := func(before string) string {
		if e.RetryAfter == 0 {
			return ""
		}
		return before + " at least " + words(e.RetryAfter)
	}
	switch e.Kind {
	case message.Throttled:
		if e.Scope == cloudapi.ScopePair {
			return "**Slows down** for this recipient" + wait(", retries after")
		}
		return "**Slows down**" + wait(", retries after")
	case message.Transient:
		return "**Retries**" + wait(" after")
	case message.Held:
		if e.Scope == cloudapi.ScopeMessage {
			return "**Retries** this message; after `retry.attempts` it is `dead`"
		}
		if e.Code == cloudapi.NoCode {
			return "**Retries**. Such answers to five messages in a row hold the messages of the " + string(e.Scope)
		}
		return "**Holds** the messages of the " + string(e.Scope) + wait(" for")
	case message.Refused:
		if e.Code == cloudapi.NoCode {
			return "**Gives up**"
		}
		return "**Rejects**"
	case message.NoAnswer:
		return "**Waits for a status**; without one the class of the message decides"
	}
	return "**Waits for a status**"
}

// words returns a duration as a whole number of hours, minutes or seconds.
func words(d time.Duration) string {
	n, unit := int(d/time.Second), "second"
	if d%time.Hour == 0 {
		n, unit = int(d/time.Hour), "hour"
	} else if d%time.Minute == 0 {
		n, unit = int(d/time.Minute), "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprint(n, " ", unit)
}
