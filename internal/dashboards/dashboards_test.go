package dashboards_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/internal/dashboards"
	"sluice/internal/golden"
	"sluice/internal/ops"
)

//go:generate go test . -run TestFiles -update

// TestFiles: deploy/grafana has the dashboards that the code makes, and no others.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "deploy", "grafana")
	var names []string
	for _, d := range dashboards.All() {
		text, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		golden.File(t, filepath.Join(dir, d.UID+".json"), text)
		names = append(names, filepath.Join(dir, d.UID+".json"))
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if slices.Sort(names); err != nil || !slices.Equal(found, names) {
		t.Errorf("deploy/grafana has %q, want %q, %v", found, names, err)
	}
}

// query is an expression, and where it is.
type query struct{ place, expr, legend string }

func queries() (all []query) {
	for _, d := range dashboards.All() {
		for _, r := range d.Rows {
			for _, p := range r.Panels {
				for _, q := range p.Queries {
					all = append(all, query{d.UID + ": " + p.Title, q.Expr, q.Legend})
				}
			}
		}
	}
	return all
}

// TestPanels: each panel has what a reader needs, each variable is used, and no two panels of a row have the same title.
func TestPanels(t *testing.T) {
	t.Parallel()
	known := map[dashboards.Kind]bool{dashboards.Lines: true, dashboards.Value: true, dashboards.Bars: true}
	for _, d := range dashboards.All() {
		var expressions strings.Builder
		if d.UID == "" || d.Title == "" || d.About == "" {
			t.Errorf("%q has no uid, no title or no description", d.UID)
		}
		for _, r := range d.Rows {
			titles := map[string]bool{}
			for _, p := range r.Panels {
				place := d.UID + ": " + r.Title + ": " + p.Title
				if p.Title == "" || p.Unit == "" || len(p.Queries) == 0 || !known[p.Kind] || titles[p.Title] {
					t.Errorf("%s: no title, unit, query or known kind, or the title is there twice", place)
				}
				if len(p.About) < 15 || !strings.HasSuffix(p.About, ".") {
					t.Errorf("%s: the description %q is no sentence", place, p.About)
				}
				titles[p.Title] = true
				for _, q := range p.Queries {
					expressions.WriteString(q.Expr + "\n")
					if p.Kind != dashboards.Value && q.Legend == "" {
						t.Errorf("%s: the series of %s have no name", place, q.Expr)
					}
					if regexp.MustCompile(`\[[^$]`).MatchString(q.Expr) {
						t.Errorf("%s: %s has a fixed range: use $__rate_interval", place, q.Expr)
					}
				}
			}
		}
		for _, v := range d.Vars {
			if !strings.Contains(expressions.String(), "$"+v.Name+`"`) || v.About == "" {
				t.Errorf("%s: the variable %s is not used or has no description", d.UID, v.Name)
			}
		}
	}
}

// TestLayout: the panels have ids of their own, do not overlap, and use the data source that the reader chose.
func TestLayout(t *testing.T) {
	t.Parallel()
	for _, d := range dashboards.All() {
		text, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			UID        string
			Templating struct{ List []struct{ Name, Type string } }
			Panels     []struct {
				ID         int
				Type       string
				Datasource struct{ UID string }
				GridPos    struct{ X, Y, W, H int }
			}
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if v := got.Templating.List[0]; got.UID != d.UID || v.Name != "datasource" || v.Type != "datasource" {
			t.Errorf("%s: uid %q, first variable %v", d.UID, got.UID, v)
		}
		ids, cells := map[int]bool{}, map[[2]int]int{}
		for _, p := range got.Panels {
			if ids[p.ID] || p.Type != "row" && p.Datasource.UID != "${datasource}" || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: panel %d: id twice, another data source, or too wide", d.UID, p.ID)
			}
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := cells[[2]int{x, y}]; other != 0 {
						t.Fatalf("%s: panels %d and %d overlap", d.UID, other, p.ID)
					}
					cells[[2]int{x, y}] = p.ID
				}
			}
		}
	}
}

// TestExpressions: Prometheus can read every expression.
func TestExpressions(t *testing.T) {
	t.Parallel()
	var rules strings.Builder
	rules.WriteString("groups: [{name: dashboards, rules: [\n")
	for i, q := range queries() {
		expr, err := json.Marshal(strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$number", "1", "$job", ".+").Replace(q.expr))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&rules, "{record: 'expression:%d', expr: %s},\n", i, expr)
	}
	rules.WriteString("]}]\n")
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool (Debian: apt install prometheus): %v\n%s\n%s", err, out, &rules)
	}
}

// metric has the type and the labels of a metric.
type metric struct {
	kind   string
	labels []string
}

// metrics returns the metrics of the programs: those of docs/metrics.md, which is made from their registries, and those of Go.
func metrics(t *testing.T) map[string]metric {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]metric{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(sluice_\\w+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(page), -1) {
		all[m[1]] = metric{m[2], strings.FieldsFunc(m[3], func(r rune) bool { return strings.ContainsRune("`, ", r) })}
	}
	families, err := ops.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if name := f.GetName(); !strings.HasPrefix(name, "sluice_") {
			all[name] = metric{kind: strings.ToLower(f.GetType().String())}
		}
	}
	return all
}

// ofPrometheus are the labels that Prometheus adds.
var ofPrometheus = []string{"job", "instance"}

// mistakes returns the metrics and labels of an expression that do not exist, and wrong uses of a metric.
func mistakes(q query, known map[string]metric) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var labels []string
	for _, m := range regexp.MustCompile(`\b((?:sluice|go|process)_\w+)(?:\{([^}]*)\})?(\[)?`).FindAllStringSubmatch(q.expr, -1) {
		name, of := m[1], slices.Clone(ofPrometheus)
		one, ok := known[name]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(name, suffix); !ok && cut && (known[base].kind == "histogram" || known[base].kind == "summary") {
				one, ok = metric{"counter", known[base].labels}, true
				if suffix == "_bucket" {
					of = append(of, "le")
				}
			}
		}
		if !ok {
			say("there is no metric %s", name)
			continue
		}
		counts, average := one.kind == "counter", strings.Contains(q.expr, "_over_time("+name)
		if ranged := m[3] != ""; counts != ranged && !average {
			say("%s is a %s: a counter needs rate or increase, and nothing else may have it", name, one.kind)
		}
		of = append(of, one.labels...)
		labels = append(labels, of...)
		for _, label := range regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`).FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(of, label[1]) {
				say("%s has no label %s", name, label[1])
			}
		}
	}
	by := labels // what the series have when the expression does not say it
	for i, m := range regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`).FindAllStringSubmatch(q.expr, -1) {
		list := strings.Split(m[1], ", ")
		if i == 0 {
			by = list
		}
		for _, label := range list {
			if !slices.Contains(labels, label) {
				say("no metric of it has the label %s", label)
			}
		}
	}
	for _, m := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(q.legend, -1) {
		if !slices.Contains(by, m[1]) {
			say("its series have no label %s for their names", m[1])
		}
	}
	return wrong
}

// TestMetricsAndLabels: the programs have each metric, with each label.
func TestMetricsAndLabels(t *testing.T) {
	t.Parallel()
	known := metrics(t)
	if len(known) < 80 {
		t.Fatalf("only %d metrics were found", len(known))
	}
	for _, q := range queries() {
		for _, wrong := range mistakes(q, known) {
			t.Errorf("%s: %s: %s", q.place, q.expr, wrong)
		}
	}
	for _, d := range dashboards.All() {
		for _, v := range d.Vars {
			if m, ok := known[v.Metric]; !ok || !slices.Contains(append(m.labels, ofPrometheus...), v.Of) {
				t.Errorf("%s: variable %s: there is no %s with the label %s", d.UID, v.Name, v.Metric, v.Of)
			}
		}
	}
}

// TestMistakesAreFound breaks each rule of mistakes once.
func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	known := map[string]metric{"sluice_a_total": {"counter", []string{"x"}}, "sluice_b_seconds": {"histogram", nil}, "sluice_c": {"gauge", []string{"y"}}}
	for expr, want := range map[string]string{
		`sum by (x) (rate(sluice_a_total{x="1",job=~"$job"}[5m]))`:                 "",
		`histogram_quantile(0.5, sum by (le) (rate(sluice_b_seconds_bucket[5m])))`: "",
		`sum(avg_over_time(sluice_c[5m]))`:                                         "",
		`max(sluice_d)`:                                                            "there is no metric sluice_d",
		`sluice_c_count`:                                                           "there is no metric sluice_c_count",
		`max(sluice_c{x="1"})`:                                                     "sluice_c has no label x",
		`rate(sluice_b_seconds_count{le="1"}[5m])`:                                 "sluice_b_seconds_count has no label le",
		`max by (x) (sluice_c)`:                                                    "no metric of it has the label x",
		`max(sluice_a_total)`:                                                      "sluice_a_total is a counter",
		`rate(sluice_c[5m])`:                                                       "sluice_c is a gauge",
	} {
		if wrong := strings.Join(mistakes(query{expr: expr}, known), "; "); (wrong == "") != (want == "") || !strings.Contains(wrong, want) {
			t.Errorf("%s: found %q, want %q", expr, wrong, want)
		}
	}
	if wrong := mistakes(query{expr: "max by (y) (sluice_c)", legend: "{{x}}"}, known); len(wrong) != 1 {
		t.Errorf("a name with a label that is gone: found %q", wrong)
	}
}
