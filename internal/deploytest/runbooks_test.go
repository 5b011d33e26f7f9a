package deploytest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runbookParts are the headings of each runbook, in this order.
var runbookParts = []string{"Symptom", "First command", "Decision", "Command", "Roll back"}

// Each alert has a runbook, each runbook an alert, and each runbook has all parts: the first command is one that can be
// copied.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	alerts := alertNames(t)
	files, err := os.ReadDir(filepath.Join(root, "docs", "runbooks"))
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".md")
		there = append(there, name)
		if !slices.Contains(alerts, name) {
			t.Errorf("docs/runbooks/%s: there is no such alert", f.Name())
		}
		page := read(t, "docs/runbooks/"+f.Name())
		if !strings.HasPrefix(page, "# "+name+"\n") {
			t.Errorf("docs/runbooks/%s does not begin with its name", f.Name())
		}
		var parts []string
		for _, m := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(page, -1) {
			parts = append(parts, m[1])
		}
		if !slices.Equal(parts, runbookParts) {
			t.Errorf("docs/runbooks/%s has the parts %q, want %q", f.Name(), parts, runbookParts)
			continue
		}
		if !regexp.MustCompile("(?s)\n## First command\n\n```sh\n[^\n]+\n```\n.*\n## Decision\n").MatchString(page) {
			t.Errorf("docs/runbooks/%s: the first command is not one line of code", f.Name())
		}
	}
	for _, name := range alerts {
		if !slices.Contains(there, name) {
			t.Errorf("alert %s has no docs/runbooks/%s.md", name, name)
		}
	}
}

// The table of docs/alerts.md has each alert with its severities and its runbook, in the order of alerts.yml.
func TestAlertsPageHasEachAlert(t *testing.T) {
	t.Parallel()
	severities := map[string][]string{}
	for _, r := range rules(t, "alerts.yml") {
		if s := r.Labels["severity"]; !slices.Contains(severities[r.Alert], s) {
			severities[r.Alert] = append(severities[r.Alert], s)
		}
	}
	var want, got []string
	for _, name := range alertNames(t) {
		want = append(want, name+": "+strings.Join(severities[name], ", "))
	}
	row := regexp.MustCompile(`(?m)^\| \[(Sluice\w+)\]\(runbooks/(Sluice\w+)\.md\) \| ([a-z, ]+) \| [^|]+ \|$`)
	for _, m := range row.FindAllStringSubmatch(read(t, "docs/alerts.md"), -1) {
		if m[1] != m[2] {
			t.Errorf("docs/alerts.md: the row of %s leads to the runbook of %s", m[1], m[2])
		}
		got = append(got, m[1]+": "+m[3])
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/alerts.md has the rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
