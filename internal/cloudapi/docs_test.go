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

// docs/errors.md is the catalogue, written out for operators.
func TestErrorsPage(t *testing.T) {
	t.Parallel()
	golden.File(t, filepath.Join("..", "..", "docs", "errors.md"), []byte(errorsPage()))
}

const errorsHead = `# Error codes

<!-- Made from internal/cloudapi/codes.go by: make docs -->

What Meta answers when it does not take a message, and what it reports later in a ` + "`failed`" + ` webhook. Codes and titles are
[Meta's](https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes); the meanings are in our words. Sluice
goes by the code alone: the HTTP status misleads (throttling comes as 400, a missing permission as 500), and the texts are translated.

What Sluice does is one of these:

| | what happens to the message | did Meta take it? |
| --- | --- | --- |
| **Slows down** | Sluice sends it again later, and the number more slowly. | no |
| **Retries** | Sluice sends it again after a wait. | no |
| **Holds** | Sluice holds everything of the number or of the template, in order. After a while it tries with a few messages. Deadlines still apply. | no |
| **Rejects** | It becomes ` + "`rejected`" + `. To send it again would bring the same answer. | no |
| **Dead-letters** | It becomes ` + "`dead`" + ` and keeps its content: an operator can [replay it](console.md#dead-letters). Five such answers in a row hold the number or the template. | no |
| **Waits for a status** | It is ` + "`in_doubt`" + ` until a webhook decides. Without one Sluice sends it again after a wait. | unknown |

A wait grows from one attempt to the next and is never shorter than the time given here. If Meta reports a code by webhook after it took the message, the
message becomes ` + "`failed`" + `, with the code in its timeline. If that is the first status of the message, its content is kept, and an operator can
[send it again](console.md#send-again). With a code of **Holds**, and with the temporary codes %s, it becomes ` + "`dead`" + ` with the reason
` + "`refused_later`" + ` instead: it was not delivered, its content is kept, and an operator can [replay it](console.md#dead-letters) while it is of use.
Sluice does not replay it by itself.

The ` + "`error`" + ` of a record, of its events and of ` + "`sluice explain`" + ` has Meta's own words: ` + "`message`" + `, ` + "`details`" + `, ` + "`error_subcode`" + ` and ` + "`fbtrace_id`" + `,
cut to some hundred characters, with masked phone numbers. For an unknown code they are the only information. They are in no log.

Several lists on the internet explain codes wrongly. Where a wrong meaning is common, it is named here.

## Codes

| code | title | meaning | what Sluice does | what you do |
| --- | --- | --- | --- | --- |
`

const errorsFallbacks = `
## Answers without a code from the table

Only for these answers the HTTP status decides.

| answer | meaning | what Sluice does | what you do |
| --- | --- | --- | --- |
`

const errorsTail = `
## No answer

| what happened | reason in the log | what Sluice does |
| --- | --- | --- |
| There was no connection: the name was not found, the connection was refused, TLS failed, or none was free in time | ` + "`dns`, `dial`, `tls`, `no_connection`" + ` | **Retries**: nothing can have left |
| The request left, and no complete answer came, whatever its HTTP status | ` + "`timeout`, `reset`, `cut`, `cancelled`" + ` | **Waits for a status**; without one the class of the message decides |
| Meta took the message (2xx), and its id has another form than Meta documents | ` + "`wamid_unreadable`" + ` | Takes Meta's id from the webhooks |
| There is no usable access token for the number, or no usable base URL | ` + "`token`, `base_url`" + ` | **Holds** the number's messages; nothing was sent |
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

// passing names the codes that Meta also reports by webhook, of faults that pass.
func passing() (names []string) {
	for _, e := range cloudapi.Catalogue() {
		if e.From == cloudapi.FromBoth && cloudapi.Passes(e.Code) {
			names = append(names, e.Name())
		}
	}
	return names
}

// action says what Sluice does about an entry.
func action(e cloudapi.Entry) string {
	switch e.From {
	case cloudapi.FromWebhook:
		return "Ends the message as `failed`"
	case cloudapi.FromInbound:
		return "Passes it on in the inbound event"
	}
	wait := ""
	if e.RetryAfter > 0 {
		wait = ", after at least " + words(e.RetryAfter)
	}
	switch e.Kind {
	case message.Throttled:
		if e.Scope == cloudapi.ScopePair {
			return "**Slows down** for this recipient" + wait
		}
		return "**Slows down**" + wait
	case message.Transient:
		return "**Retries**" + wait
	case message.Held:
		return "**Holds** the " + string(e.Scope) + "'s messages" + wait
	case message.Refused:
		if e.Code == cloudapi.NoCode {
			return "**Dead-letters**"
		}
		return "**Rejects**"
	case message.NoAnswer:
		return "**Waits for a status**; without one the class of the message decides"
	}
	return "**Waits for a status**"
}

// words writes a whole number of hours, minutes or seconds.
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
