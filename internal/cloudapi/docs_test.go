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

What Meta answers when it does not take a message, and what it reports later in a ` + "`failed`" + ` webhook. Codes, titles and
meanings are [Meta's](https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes),
in our words. Sluice goes by the code alone: the HTTP status misleads (throttling comes as 400, a missing permission as
500), and the texts are translated.

What Sluice does is one of these:

| | The message | Was it taken? |
| --- | --- | --- |
| **Slows down** | goes out again later, more slowly | no |
| **Tries again** | goes out again after a wait | no |
| **Holds** | holds everything of the number, or of the template, which waits in order; after a while a few messages try whether it is mended. Deadlines go on | no |
| **Rejects** | ends as ` + "`rejected`" + `; sending it again would bring the same answer | no |
| **Waits for evidence** | is ` + "`in_doubt`" + ` until a webhook settles it; without one it goes out again after a wait | nobody knows |

A wait grows from one attempt to the next and is never shorter than the time given here. Whatever Meta reports by
webhook after it took the message ends it as ` + "`failed`" + `, with the code in its timeline. If that is the first status of the message its content is kept, and an operator can
[send it again](console.md#send-again). With a code of **Holds**, and with %s,
which pass by themselves, it is ` + "`dead`" + ` instead, reason ` + "`refused_later`" + `: it was not delivered, its content is kept, and an operator can
[replay it](console.md#dead-letters) while it is of use. Sluice does not replay it by itself.

Meta's own words come with the code: the ` + "`error`" + ` of a record, of its events and of ` + "`sluice explain`" + ` has Meta's ` + "`message`" + `, ` + "`details`" + `,
` + "`error_subcode`" + ` and ` + "`fbtrace_id`" + `, cut to some hundred characters, with phone numbers masked. For a code that is not listed here they are
all there is to say. They are in no log.

Several lists in circulation have codes wrong; where a wrong meaning is common, it is named here.

## Codes

| Code | Title | What Meta means | What Sluice does | What you do |
| --- | --- | --- | --- | --- |
`

const errorsFallbacks = `
## Answers without a code from the table

Here, and only here, the HTTP status decides.

| Answer | What it means | What Sluice does | What you do |
| --- | --- | --- | --- |
`

const errorsTail = `
## No answer

| What happened | Reason in the log | What Sluice does |
| --- | --- | --- |
| There was no connection: the name was not found, nobody listened, TLS failed, or none was free in time | ` + "`dns`, `dial`, `tls`, `no_connection`" + ` | **Tries again**: nothing can have left |
| The request left, and no complete answer came, whatever its HTTP status | ` + "`timeout`, `reset`, `cut`, `cancelled`" + ` | **Waits for evidence**; what happens without it depends on the message's class |
| Meta took the message (2xx), and named it by an id of another form than it documents | ` + "`wamid_unreadable`" + ` | Waits for the webhooks, which bring Meta's id |
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
		wait = ", again after " + words(e.RetryAfter) + " or more"
	}
	switch e.Kind {
	case message.Throttled:
		if e.Scope == cloudapi.ScopePair {
			return "**Slows down** for this recipient" + wait
		}
		return "**Slows down**" + wait
	case message.Transient:
		return "**Tries again**" + wait
	case message.Held:
		return "**Holds** the " + string(e.Scope) + "'s messages" + wait
	case message.Refused:
		return "**Rejects**"
	case message.NoAnswer:
		return "**Waits for evidence**; what happens without it depends on the message's class"
	}
	return "**Waits for evidence**"
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
