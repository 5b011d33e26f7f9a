package content_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sluice/internal/content"
	"sluice/internal/golden"
)

//go:generate go test . -run "Test(Messages|Templates)Page" -update

// docs/messages.md is the examples and the rules, written out for callers.
func TestMessagesPage(t *testing.T) {
	t.Parallel()
	golden.File(t, filepath.Join("..", "..", "docs", "messages.md"), []byte(messagesPage(t)))
}

const messagesHead = `# Messages

<!-- Made from internal/content by: make docs -->

What can be in ` + "`message`" + ` of a [request to send](api.md#post-v1messages), or be the body of a request on Meta's own path:
[Meta's message objects](https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages). Each type has an example that Sluice accepts, and a table
of what it refuses. A refusal names every problem (up to 20) with the path of the member, a code for programs, the rule, and what to do. The rules are
Meta's. Where Meta's pages disagree, Sluice applies the wider limit, and Meta decides.

- Lengths count Unicode code points: an emoji is one or a few, however many bytes it has.
- Each member has the JSON type that the examples show; another type is a ` + "`type_mismatch`" + `. A member that is ` + "`null`" + ` counts as absent.
- Members that are not on this page are accepted, and go to Meta unchanged. The answer has a warning about the first one. A member that differs from one
  on this page only by capital letters is a ` + "`member_spelling`" + `: Meta would ignore it.
- A member at the top that the Graph API reads as a parameter of the call is a ` + "`member_not_allowed`" + `: ` + "`access_token`" + `, ` + "`appsecret_proof`" + `, ` + "`appsecret_time`" + `,
  ` + "`input_token`" + `, ` + "`method`" + `, ` + "`batch`" + ` and ` + "`ids`" + `, in any case. On Meta's own path an ` + "`access_token`" + ` is the API key if the request has no other.
- The values of enumerations, such as types, may be written in capitals: ` + "`TEXT`" + `, ` + "`BUTTON`" + `.
- Where a member must be an object or an array, a string with its JSON text is accepted too.
- A type or an interactive kind that is not on this page is accepted too, because Meta may have added it. The answer has a warning, because Meta
  refuses a mistyped type. With [` + "`unknown_types: refuse`" + `](configuration.md#numbers) Sluice refuses such messages of a number.
- A number can be written as a string where Meta's pages do so, in the form of a JSON number: ` + "`\"5\"`" + `, not ` + "`\"+5\"`" + `, ` + "`\"0x5\"`" + ` or ` + "`\"5_000\"`" + `.
- Only Meta can know whether a file or a quoted message exists, and what is in a file. A template message is also compared with the template, if Sluice
  has read it from Meta: [templates.md](templates.md#checks).
`

func messagesPage(t *testing.T) string {
	var page strings.Builder
	page.WriteString(messagesHead)
	for _, e := range examples(t) {
		fmt.Fprintf(&page, "\n## %s\n\n", e.Name)
		if e.About != "" {
			fmt.Fprintf(&page, "%s\n\n", e.About)
		}
		fmt.Fprintf(&page, "```json\n%s\n```\n\n", outdent(e.Message))
		page.WriteString(refusedTable(t, e))
	}
	page.WriteString("\n## All codes\n\nOn Meta's own path a problem has Meta's code instead.\n\n| code | a problem that is | on Meta's path | rule | what to do |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range content.Rules() {
		code, _ := content.MetaCode(r.Code)
		fmt.Fprintf(&page, "| `%s` | %s | %d | %s | %s |\n", r.Code, r.Breach, code, r.Detail, r.Fix)
	}
	return page.String()
}

// outdent is the message as its file has it, without the indent of its lines.
func outdent(message json.RawMessage) string {
	return strings.ReplaceAll(string(message), "\n  ", "\n")
}

var index = regexp.MustCompile(`\[\d+\]`)

// refusedTable has a row for each rule that an example breaks.
func refusedTable(t *testing.T, e example) string {
	rows := "| member | code | rule |\n| --- | --- | --- |\n"
	seen := map[string]bool{}
	for _, r := range e.Refused {
		for _, p := range parse(e.with(t, r.Set)) {
			detail, counted, _ := strings.Cut(p.Detail, "; there are ")
			if counted != "" {
				detail += "."
			}
			row := fmt.Sprintf("| `%s` | `%s` | %s |\n", index.ReplaceAllString(p.Path, "[]"), p.Code, detail)
			if p.Code != "type_mismatch" && !seen[row] {
				rows += row
			}
			seen[row] = true
		}
	}
	return rows
}
