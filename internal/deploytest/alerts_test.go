package deploytest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every alert is about metrics that there are, says what to do, and is read by Prometheus.
func TestAlertsKnowTheirMetrics(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	metric := regexp.MustCompile(`sluice_\w+`)
	found := 0
	for _, group := range list(documents(t, "deploy/prometheus/alerts.yml")[0], "groups") {
		for _, rule := range list(group, "rules") {
			name, names := text(rule, "alert"), metric.FindAllString(text(rule, "expr"), -1)
			if name == "" || len(names) == 0 || text(rule, "annotations.summary") == "" || text(rule, "annotations.action") == "" {
				t.Errorf("alert %q: %v", name, rule)
			}
			for _, m := range names {
				if found++; !strings.Contains(string(page), "| `"+m+"` |") {
					t.Errorf("alert %s asks for %s, which no program tells", name, m)
				}
			}
		}
	}
	if found == 0 {
		t.Error("there are no alerts")
	}
	if got := list(documents(t, "deploy/prometheus/prometheus.yml")[0], "rule_files"); len(got) != 1 || got[0] != "alerts.yml" {
		t.Errorf("Prometheus reads the rules %v", got)
	}
}
