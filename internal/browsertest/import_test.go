package browsertest

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"sluice/internal/graphsim"
	"sluice/internal/poll"
	"sluice/internal/rig"
)

// A file goes from the browser to people: its columns are chosen, it is checked and sent, its campaign is followed, and the reports have
// it. What the pages count as delivered, the simulator has delivered.
func testImport(t *testing.T, w *world) {
	const n, people = 40, "1555080"
	dir := t.TempDir()
	name := filepath.Join(dir, "customers.csv.gz")
	file, err := os.Create(name)
	check(t, err)
	text := gzip.NewWriter(file)
	fmt.Fprintln(text, "Telefon;Name")
	for i := range n {
		fmt.Fprintf(text, "+%s%04d;Ada %d\n", people, i, i)
	}
	fmt.Fprint(text, "+99999131026;Bea\n;Carl\n") // Meta cannot deliver the first one, and the second one has no recipient
	check(t, text.Close())
	check(t, file.Close())

	b := w.signIn(t, rig.APIKey)
	b.click("Import")
	b.do("choose the file", chromedp.SetUploadFiles("#import-file", []string{name}))
	b.shows("#rows", "+"+people+"0000")
	b.fill("to", "Telefon")
	b.fill("from", w.numbers[0])
	b.fill("campaign", "import")
	b.fill("template", "import_test/en")
	b.fill("param", "1=")
	b.click("Name") // the column
	b.until("the column is in the parameter", `document.getElementById("import-param").value === "1={{Name}}"`)
	b.press("import-check")
	b.shows("#report", fmt.Sprintf("Nothing was sent. %d rows would be accepted, 0 were accepted before, 1 would be refused", n+1))
	b.shows("#note", fmt.Sprintf("line %d: --to: the cell telefon is empty", n+3))
	b.do("show the top", chromedp.Evaluate[chromedp.Void](`scrollTo(0, 0)`))
	b.looks("import")
	before := w.accepted(t)

	b.press("import-submit")
	b.shows("#problem", "Give a reason")
	b.fill("reason", "customers of spring")
	b.press("import-submit")
	b.shows("#report", fmt.Sprintf("%d accepted, 0 accepted before, 1 refused", n+1))
	if results := b.download(dir, "customers-results.csv", "download"); len(results) != n+3 {
		t.Errorf("%d lines of results: %q", len(results), results)
	}
	b.click("Show the campaign")
	b.shows("#states", fmt.Sprintf("read %d", n)) // the page follows by itself
	b.shows("#states", "failed 1")
	if sent := w.accepted(t) - before; sent != n+1 {
		t.Errorf("Meta got %d messages, want %d", sent, n+1)
	}
	delivered := 0
	check(t, w.rig.Accepted(t.Context(), func(a graphsim.Accepted) {
		if strings.HasPrefix(a.To, people) && !a.Reported.IsZero() {
			delivered++
		}
	}))
	if delivered != n {
		t.Errorf("the simulator delivered %d messages, want %d", delivered, n)
	}
	poll.Until(t, "the reports have them", func() bool {
		b.open("/console/reports")
		return get(b, "the template", chromedp.Evaluate[string](`[...document.querySelectorAll("#templates tr")].find(r => r.innerText.includes("import_test/en"))?.innerText.split("\t").slice(1, 5).join() ?? ""`)) ==
			fmt.Sprintf("%d,%d,%d,1", n+1, delivered, delivered)
	})
	b.forget() // until the archive has tables, the answer is a 503
	b.open("/console/audit")
	b.shows("table", fmt.Sprintf("import of customers.csv.gz ended: %d accepted, 0 accepted before, 1 refused", n+1))
	viewer := w.signIn(t, readOnlyKey)
	viewer.hidden("nav a", "Import")
}

// press clicks a button of which no other page comes.
func (b *tab) press(id string) {
	b.t.Helper()
	b.do("press "+id, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.getElementById(%s).click()`, quote(id))))
}

// download clicks a link to a CSV file, and returns the cells of the file, which it finds in dir.
func (b *tab) download(dir, name, id string) (cells [][]string) {
	b.t.Helper()
	b.do("where files go", chromedp.Func(func(ctx context.Context, page *chromedp.Target) error {
		at, err := cdp.Call(ctx, page, target.GetTargetInfo, target.GetTargetInfoParams{})
		if err == nil {
			_, err = cdp.Call(ctx, page, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: "allow", DownloadPath: dir, BrowserContextID: at.TargetInfo.BrowserContextID})
		}
		return err
	}))
	b.press(id)
	poll.Until(b.t, "the file "+name, func() bool {
		file, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return false
		}
		defer file.Close()
		cells, err = csv.NewReader(file).ReadAll()
		return err == nil && len(cells) > 0
	})
	return cells
}
