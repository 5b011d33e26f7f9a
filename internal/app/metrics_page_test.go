package app

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/golden"
	"sluice/internal/redistest"
)

//go:generate go test . -run TestMetricsPage -update

const metricsHead = `# Metrics

<!-- Made from the programs' registries by: make docs -->

Each program serves these metrics at ` + "`/metrics`" + ` of its ops listener (producer: port 9101, worker: 9102, webhook: 9103), in the Prometheus format, with the metrics of the Go
runtime and the process (` + "`go_`, `process_`" + `). No label holds a recipient or a message id. The label ` + "`phone_number_id`" + ` is
Meta's id of a sending number. Histograms have classic buckets, and native ones for a Prometheus that asks for them.

All workers report the same values of ` + "`sluice_queue_*`, `sluice_number_*` (but not `sluice_number_inflight_requests`), `sluice_messages_*` and `sluice_dead_letters`" + `:
take the maximum over the workers, not the sum.

| metric | type | labels | programs | meaning |
| --- | --- | --- | --- | --- |
`

// TestMetricsPage: docs/metrics.md lists the metrics of the programs' registries.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	canary := `canary: [{phone_number_id: "106540352242922", to: "+15551234567", text: canary}]`
	if err := os.WriteFile(file, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(name string) string {
		return map[string]string{
			"SLUICE_CONFIG": file, "SLUICE_REDIS_URL": url, "SLUICE_REDIS_DURABILITY": "relaxed", "PHONE_NUMBER_ID": "106540352242922", "ACCESS_TOKEN": "token",
			"APP_SECRET": "app-secret", "VERIFY_TOKEN": "0123456789abcdef", "SLUICE_API_KEY": "0123456789abcdef", "SLUICE_MARKER_KEY": "0123456789abcdef",
			"SLUICE_LISTEN_OPS": "127.0.0.1:0", "SLUICE_LISTEN_API": "127.0.0.1:0", "SLUICE_LISTEN_WEBHOOK": "127.0.0.1:0",
			"SLUICE_LISTEN_CONSOLE": "127.0.0.1:0", "SLUICE_LOG_LEVEL": "error",
			"SLUICE_OUTBOX_DATABASE_URL": "postgres://127.0.0.1:1/shop", "SLUICE_OUTBOX_API_KEY": "environment",
			"SLUICE_ARCHIVE_DATABASE_URL": "postgres://127.0.0.1:1/archive", "SLUICE_SECRETS_KEY": "0123456789abcdef",
		}[name]
	}
	all := map[string]*metric{}
	for _, program := range []string{"producer", "worker", "webhook"} {
		p, err := map[string]Start{"producer": Producer, "worker": Worker, "webhook": Webhook}[program](t.Context(), nil, env)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := p.Run(ctx); err != nil { // also registers the metrics of what runs in the background
			t.Errorf("%s: %v", program, err)
		}
		linted(t, p)
		described(t, p.Registry, func(name string, m metric) {
			if known := all[name]; known != nil {
				m = *known
			}
			m.programs = append(m.programs, program)
			all[name] = &m
		})
	}
	var b strings.Builder
	b.WriteString(metricsHead)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", name, m.kind, m.labels, strings.Join(m.programs, ", "), m.help)
	}
	golden.File(t, filepath.Join("..", "..", "docs", "metrics.md"), []byte(b.String()))
}

// linted checks the names, types and texts of a program's metrics, also by Prometheus's own tool.
func linted(t *testing.T, p *Program) {
	t.Helper()
	problems, err := testutil.GatherAndLint(p.Registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
	check := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	check.Stdin = strings.NewReader(scrape(t, p))
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

type metric struct {
	kind, labels, help string
	programs           []string
}

var description = regexp.MustCompile(`^Desc\{fqName: "(.*?)", help: (".*"), unit: ".*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// described calls f with every metric of ours in a registry.
func described(t *testing.T, reg *prometheus.Registry, f func(name string, m metric)) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for _, family := range families {
		kinds[family.GetName()] = strings.ToLower(family.GetType().String())
	}
	ch := make(chan *prometheus.Desc, 1000)
	reg.Describe(ch)
	close(ch)
	for d := range ch {
		parts := description.FindStringSubmatch(d.String())
		if parts == nil {
			t.Fatalf("not understood: %s", d)
		}
		name := parts[1]
		if !strings.HasPrefix(name, "sluice_") {
			continue
		}
		kind := "gauge" // one that has no series yet
		if strings.HasSuffix(name, "_total") {
			kind = "counter"
		}
		var labels []string
		for label := range strings.SplitSeq(parts[3]+","+parts[4], ",") {
			if label, _, _ = strings.Cut(label, "="); label != "" {
				labels = append(labels, "`"+label+"`")
			}
		}
		help, err := strconv.Unquote(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		f(name, metric{kind: cmp.Or(kinds[name], kind), labels: strings.Join(labels, ", "), help: help})
	}
}
