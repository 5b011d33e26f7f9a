package sdktest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/internal/golden"
)

// What a cell of the table says.
const (
	absent  = "–"
	works   = "works"
	refused = "refused"
	asMeta  = "Meta refuses"
	later   = "refused later"
)

// owner is why Sluice refuses calls that only the owner of a number makes.
const owner = "The owner of the number makes this call with a token of Meta: it can stop all messages of the number."

// reasons has why Sluice refuses calls that Meta would accept, by their names.
var reasons = map[string]string{
	"number: register":        owner,
	"number: deregister":      owner,
	"number: request code":    owner,
	"number: verify code":     owner,
	"number: set PIN":         owner,
	"number: change its name": "The owner of the number makes this call with a token of Meta, as all calls that change the number itself.",
}

// leniencies has why Sluice accepts calls that Meta refuses, by their names. The messages are rejected when Meta has refused them.
var leniencies = map[string]string{
	"send: URL button of type cta": "Sluice does not know this kind of interactive message, and Meta could know it. So Sluice accepts it, with a warning. Meta refuses it, and the message is `rejected`.",
}

// metas has why Meta refuses a call.
var metas = map[string]string{
	"number: read the path qr_code":         "Meta has no such path.",
	"number: read the path insights":        "Meta has no such path.",
	"account: read commerce settings":       "Meta has these settings at the number, not at the account.",
	"account: change commerce settings":     "Meta has these settings at the number, not at the account.",
	"templates: read one below the account": "Meta has templates at `/{template}`.",
	"mark several as read":                  "Meta marks one message, and all before it, as read: `message_id`.",
}

// table is the table of calls. A row is a call, a column is an SDK.
type table struct {
	rows  []string
	cells map[string][]string
}

func newTable() *table { return &table{cells: map[string][]string{}} }

// add adds what came of a call of an SDK, directly at Meta and through Sluice.
func (p *table) add(t *testing.T, sdk int, meta, through call) {
	t.Helper()
	if p.cells[meta.Name] == nil {
		p.rows = append(p.rows, meta.Name)
		p.cells[meta.Name] = slices.Repeat([]string{absent}, len(sdks))
	}
	cell := &p.cells[meta.Name][sdk]
	where := sdks[sdk].name + ": " + meta.Name
	switch {
	case meta.works() && through.works():
		*cell = works
	case meta.works():
		*cell = refused
		if reasons[meta.Name] == "" {
			t.Errorf("%s: Meta accepts it; through Sluice: %s", where, through)
		}
	case through.works() && leniencies[meta.Name] != "":
		*cell = later
	case through.works():
		t.Errorf("%s: at Meta: %s; Sluice accepts it", where, meta)
	default:
		*cell = asMeta
		a, b := meta.refusal(), through.refusal()
		if a == nil || b == nil || a.Code != b.Code || a.Status != b.Status {
			t.Errorf("%s: at Meta: %s; through Sluice: %s", where, meta, through)
		}
	}
}

// check compares the table with docs/drop-in.md.
func (p *table) check(t *testing.T) {
	t.Helper()
	slices.SortStableFunc(p.rows, func(a, b string) int { return strings.Compare(group(a), group(b)) })
	var b strings.Builder
	count := map[string]int{}
	for _, cells := range p.cells {
		for _, cell := range cells {
			count[cell]++
		}
	}
	b.WriteString("\n## Calls that were tested\n\nA test makes the calls of these SDKs, as they are published, to the simulator and through Sluice. It fails if a call works at one and not at the other, if an SDK\n" +
		"cannot read an answer, or if Meta receives another message than the SDK sent.\n\n| SDK | version | base URL |\n| --- | --- | --- |\n")
	versions := versions(t)
	for i, sdk := range sdks {
		fmt.Fprintf(&b, "| %d: `%s` | %s | %s |\n", i+1, sdk.name, versions[sdk.name], sdk.base)
	}
	fmt.Fprintf(&b, "\nOf %d calls %d work. Sluice refuses %d. It refuses %d as Meta does. It accepts %d that Meta refuses later. A dash: the SDK has no such call.\n", count[works]+count[refused]+count[asMeta]+count[later], count[works], count[refused], count[asMeta], count[later])
	b.WriteString("\n| call |")
	for i := range sdks {
		fmt.Fprintf(&b, " %d |", i+1)
	}
	b.WriteString(" why it is refused |\n| --- |" + strings.Repeat(" --- |", len(sdks)) + " --- |\n")
	for _, row := range p.rows {
		fmt.Fprintf(&b, "| %s |", row)
		why := ""
		for _, cell := range p.cells[row] {
			b.WriteString(" " + cell + " |")
			switch cell {
			case refused:
				why = reasons[row]
			case later:
				why = leniencies[row]
			case asMeta:
				why = metas[row]
				if why == "" {
					t.Errorf("%s: Meta refuses it; the table does not say why", row)
				}
			}
		}
		b.WriteString(" " + why + " |\n")
	}
	b.WriteString("\n**Webhooks.** A second test lets the [relay](relay.md) send webhooks to the handlers of these SDKs: the statuses of a message that was sent through Sluice,\n" +
		"with the id that the answer had (`message_ids: sluice`), and a message of a customer. 1, 2, 4 and 5 check the signature and accept it. 3 has a schema of webhooks,\n" +
		"which fits, and no check of signatures. 5 ignores statuses. Those of 6 and 7 are not tested.\n")
	path := filepath.Join("..", "..", "docs", "drop-in.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(page), "\n## Calls that were tested\n")
	golden.File(t, path, []byte(strings.ReplaceAll(before+b.String(), "|  |", "| |")))
}

// group returns the key by which a row is sorted: messages first, then what is about messages, then the rest.
func group(row string) string {
	name, _, _ := strings.Cut(row, ":")
	for i, g := range []string{"send", "mark as read", "mark several as read", "typing indicator", "media", "templates", "number", "QR codes", "blocked users", "calls", "account", "flows"} {
		if g == name {
			return string(rune('a' + i))
		}
	}
	return "z"
}
