package deploytest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The runbook has a section for each alert, and for no other, and each alert names its section.
func TestRunbookHasEachAlert(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	var shown, alerts []string
	for _, m := range regexp.MustCompile(`(?m)^## (Sluice\w+)$`).FindAllStringSubmatch(string(page), -1) {
		shown = append(shown, m[1])
	}
	for _, group := range list(documents(t, "deploy/prometheus/alerts.yml")[0], "groups") {
		for _, rule := range list(group, "rules") {
			name := text(rule, "alert")
			alerts = append(alerts, name)
			if got, want := text(rule, "annotations.runbook"), "docs/runbook.md#"+strings.ToLower(name); got != want {
				t.Errorf("alert %s names %q, its section is %s", name, got, want)
			}
		}
	}
	if !slices.Equal(shown, alerts) {
		t.Errorf("docs/runbook.md has sections for %q, in deploy/prometheus/alerts.yml are %q, in this order", shown, alerts)
	}
}
