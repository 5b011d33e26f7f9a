package deploytest

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const prometheusDir = "deploy/prometheus"

// rule is an alert or a recording rule of Prometheus.
type rule struct {
	Alert       string            `yaml:"alert"`
	Record      string            `yaml:"record"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// rules returns the rules of a file in deploy/prometheus.
func rules(t *testing.T, file string) (all []rule) {
	t.Helper()
	var doc struct {
		Groups []struct {
			Name     string `yaml:"name"`
			Interval string `yaml:"interval"`
			Rules    []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	d := yaml.NewDecoder(strings.NewReader(read(t, prometheusDir+"/"+file)))
	d.KnownFields(true)
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, g := range doc.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no rules", file)
	}
	return all
}

// alertNames returns the names of all alerts, in the order of alerts.yml.
func alertNames(t *testing.T) (names []string) {
	t.Helper()
	for _, r := range rules(t, "alerts.yml") {
		if !slices.Contains(names, r.Alert) {
			names = append(names, r.Alert)
		}
	}
	return names
}

// tool runs a program of Debian's packages prometheus and prometheus-alertmanager in deploy/prometheus. A missing
// program fails the test: make test installs it.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = filepath.Join(root, prometheusDir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// Each rule asks for metrics and labels that the programs have. Each alert says how urgent it is, what is broken, what to
// do first, and where its runbook is.
func TestRules(t *testing.T) {
	t.Parallel()
	tool(t, "promtool", "check", "rules", "alerts.yml", "rules.yml")
	known := metrics(t)
	var recorded []string
	for _, r := range rules(t, "rules.yml") {
		if r.Record == "" {
			t.Errorf("rules.yml has an alert, %q. Alerts belong in alerts.yml", r.Alert)
		}
		recorded = append(recorded, r.Record)
		for _, w := range known.wrong(r.Expr) {
			t.Errorf("rules.yml, %s: %s", r.Record, w)
		}
	}
	for _, r := range rules(t, "alerts.yml") {
		for _, w := range known.wrong(r.Expr) {
			t.Errorf("alert %s: %s", r.Alert, w)
		}
		for _, name := range recordedName.FindAllString(r.Expr, -1) {
			if !slices.Contains(recorded, name) {
				t.Errorf("alert %s asks for %s, which rules.yml does not record", r.Alert, name)
			}
		}
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("alert %s has the severity %q: use page or ticket", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || len(r.Annotations) != 3 {
			t.Errorf("alert %s needs the annotations summary, description and runbook_url, and no other: %v", r.Alert, r.Annotations)
		}
		if got, want := r.Annotations["runbook_url"], "docs/runbooks/"+r.Alert+".md"; got != want {
			t.Errorf("alert %s has the runbook_url %q, must be %q: make runbook-urls writes links into copies only", r.Alert, got, want)
		}
	}
}

// promtool fires each alert, and shows for each what looks alike and is not.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, prometheusDir, "tests", "*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests of alerts: %v", err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		name := "tests/" + filepath.Base(file)
		tool(t, "promtool", "test", "rules", name)
		for _, one := range list(documents(t, prometheusDir+"/"+name)[0], "tests") {
			for _, q := range list(one, "promql_expr_test") {
				alert, isAlert := strings.CutPrefix(text(q, "expr"), `ALERTS{alertname="`)
				if alert, _, _ = strings.Cut(alert, `"`); !isAlert {
					continue
				}
				fires[alert] = fires[alert] || len(list(q, "exp_samples")) > 0
				silent[alert] = silent[alert] || len(list(q, "exp_samples")) == 0
			}
		}
	}
	for _, name := range alertNames(t) {
		if !fires[name] || !silent[name] {
			t.Errorf("alert %s: tests of deploy/prometheus/tests in which it fires: %t, in which it is silent: %t. Add the missing one", name, fires[name], silent[name])
		}
		delete(fires, name)
	}
	for name := range fires {
		t.Errorf("deploy/prometheus/tests is about %s, and there is no such alert", name)
	}
}

func TestPrometheusReadsTheRules(t *testing.T) {
	t.Parallel()
	if got := words(documents(t, prometheusDir+"/prometheus.yml")[0], "rule_files"); !slices.Equal(got, []string{"alerts.yml", "rules.yml"}) {
		t.Errorf("Prometheus reads the rules %q", got)
	}
	services := compose(t)
	var mounted []string
	for _, c := range list(services["prometheus"], "configs") {
		mounted = append(mounted, text(c, "target"))
	}
	want := []string{"/etc/prometheus/prometheus.yml", "/etc/prometheus/alerts.yml", "/etc/prometheus/rules.yml"}
	if !slices.Equal(mounted, want) {
		t.Errorf("Prometheus of docker-compose.yml has the files %q, want %q", mounted, want)
	}
}
